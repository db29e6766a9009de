# SPDX-License-Identifier: Apache-2.0
"""The keys that we log in with: a key file, with its certificate if there is one, or what the agent has.

Guards: no passwords; a pass phrase is asked on a terminal only; a private key that others can read is not used.
"""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import paramiko
from paramiko.agent import AgentKey
from paramiko.pkey import PublicBlob

from assay.errors import InfrastructureError, UsageFault
from assay.formats import openssh_key
from assay.model.ssh import SshHop

AGENT_KEYS_MAX = 5
"""sshd hangs up after six wrong keys (MaxAuthTries)."""


@contextmanager
def login_keys(hop: SshHop) -> Iterator[list[paramiko.PKey]]:
    """The keys to try on `hop`, while the agent listens. Raises UsageFault, InfrastructureError."""
    identity = Path(hop.identity).expanduser() if hop.identity else None
    if identity is not None and identity.suffix != ".pub":
        yield [_with_certificate(hop, _of_file(identity))]
        return
    agent = paramiko.Agent()
    try:
        held = [_presented(key) for key in agent.get_keys()]
        if identity is not None:
            yield [_with_certificate(hop, _held(held, identity))]
            return
        yield _few(hop, held)
    finally:
        agent.close()


def _few(hop: SshHop, held: list[AgentKey]) -> list[paramiko.PKey]:
    if not held:
        raise InfrastructureError(
            f"there is no key to log in with at {hop}: the agent has none, and the place names no identity",
            remedy='ssh-add a key, or write identity = "~/.ssh/id_ed25519" into the place\'s ssh',
        )
    if len(held) > AGENT_KEYS_MAX:
        raise InfrastructureError(
            f"the agent has {len(held)} keys, and a host hangs up after {AGENT_KEYS_MAX} wrong ones",
            remedy='name one of them: identity = "~/.ssh/id_ed25519.pub" in the place\'s ssh',
        )
    return list(held)


def _of_file(path: Path) -> paramiko.PKey:
    try:
        readable = path.stat().st_mode & 0o077
        if readable:
            raise UsageFault(f"the private key {path} can be read by others", remedy=f"chmod 600 {path}")
        return _loaded(path)
    except OSError as error:
        raise UsageFault(f"cannot read the key {path}: {error.strerror}", remedy="correct `identity`") from error
    except (ValueError, paramiko.SSHException) as error:
        raise UsageFault(f"{path} is no private key that can be used: {error}", remedy="correct `identity`") from error


def _loaded(path: Path) -> paramiko.PKey:
    with suppress(TypeError, paramiko.PasswordRequiredException):  # the first by cryptography: it is encrypted
        return paramiko.PKey.from_path(path)
    if not sys.stdin.isatty():
        raise UsageFault(f"the key {path} has a pass phrase", remedy=f"ssh-add {path}, or use it on a terminal")
    phrase = getpass.getpass(f"Pass phrase of {path}: ", stream=sys.stderr).encode()
    return paramiko.PKey.from_path(path, phrase)  # type: ignore[arg-type]  # bytes, and no text, whatever its types say


def _held(held: list[AgentKey], public: Path) -> AgentKey:
    try:
        blob = openssh_key.blob_of(public.read_text())
    except OSError as error:
        raise UsageFault(f"cannot read the key {public}: {error.strerror}", remedy="correct `identity`") from error
    except (ValueError, IndexError) as error:
        raise UsageFault(f"{public} is no public key: {error}", remedy="correct `identity`") from error
    for key in held:
        if key.blob == blob:
            return key
    raise InfrastructureError(
        f"the agent does not have the key {openssh_key.fingerprint(blob)} ({public})",
        remedy=f"ssh-add {public.with_suffix('')}",
    )


def _presented(key: AgentKey) -> AgentKey:
    """An agent's certificate is shown as such: paramiko would show its bare key."""
    if key.get_name().endswith(openssh_key.CERTIFICATE_SUFFIX):
        key.public_blob = PublicBlob.from_message(paramiko.Message(key.blob))  # type: ignore[assignment]
    return key


def _with_certificate(hop: SshHop, key: paramiko.PKey) -> paramiko.PKey:
    if hop.certificate is None:
        return key
    path = Path(hop.certificate).expanduser()
    if not path.is_file():
        raise UsageFault(f"there is no certificate {path}", remedy="correct `certificate`")
    try:
        key.load_certificate(str(path))
    except ValueError as error:
        raise UsageFault(
            f"{path} is no certificate of the identity: {error}", remedy="correct `certificate`"
        ) from error
    return key
