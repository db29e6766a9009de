# SPDX-License-Identifier: Apache-2.0
"""The signer service as a verb sees it: a process of its own, started at the first signature.

Guards: no private key comes into this process; the signer process ends with this one, however it ends; a signer that
died is started again once, since to ask for a signature again does no harm. Leaves to others: keys and signatures
(`process`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from assay.backends.signers import messages
from assay.backends.signers.withheld import withheld, withhold
from assay.errors import InfrastructureError
from assay.formats.dsse import decode_base64, encode_base64
from assay.interfaces.readiness import readable
from assay.model.keys import RoleKey, Token
from assay.model.trust import Role, TrustedKey

ANSWER_TIMEOUT_S = 60.0
"""Seconds for what was not announced; a file key takes milliseconds. A token or a service says its own time."""

NOTICE_MARGIN_S = 0.5
"""Seconds beyond what was announced."""

END_TIMEOUT_S = 2.0
"""Seconds that a signer gets to end after its input was closed; then it is killed."""

_READ_BYTES = 65536


class _SignerGone(Exception):
    """The process ended, or its pipe broke, in the middle of a request."""


class SignerProcess:
    """Implements `interfaces.signer.SignerService` with one child process. Safe to use from several threads."""

    def __init__(self, keys_dir: Path, locks_dir: Path | None = None) -> None:
        """`locks_dir`: a folder that all processes share which use the same tokens [default: the folder of keys]."""
        self._keys_dir = keys_dir.absolute()
        self._locks_dir = (locks_dir or keys_dir).absolute()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner_pid = 0
        self._knows_keys = False
        self._end: weakref.finalize[Any, Any] | None = None
        self._public: dict[Role, TrustedKey] = {}
        withhold()

    def public_key(self, role: Role) -> TrustedKey:
        """The public key of `role`; a development key is made on first use."""
        if role not in self._public:
            self._public[role] = _key_of(self._ask({"op": "public", "role": role.value}))
        return self._public[role]

    def roles(self) -> tuple[Role, ...]:
        """The roles that have a key, or get one when they are asked for it."""
        return tuple(Role(name) for name in self._ask({"op": "roles"})["roles"])

    def uri(self, role: Role) -> str:
        """Where the private key of `role` is."""
        return str(self._ask({"op": "public", "role": role.value})["uri"])

    def sign(self, role: Role, data: bytes) -> bytes:
        """Raw signature over `data` by the key of `role`."""
        answer = self._ask({"op": "sign", "role": role.value, "data": encode_base64(data)})
        return decode_base64(answer.get("signature"), "the signature")

    def sign_statement(self, role: Role, payload: bytes) -> bytes:
        """A Sigstore bundle around the in-toto statement in `payload`."""
        answer = self._ask({"op": "statement", "role": role.value, "data": encode_base64(payload)})
        return decode_base64(answer.get("bundle"), "the bundle")

    def use_key(
        self, role: Role, uri: str, *, public: str | None, name: str | None, make: bool, production: bool
    ) -> TrustedKey:
        """From now on the key at `uri` signs for `role` (`key_setup`)."""
        options = {"public": public, "name": name, "make": make, "production": production}
        self._public.pop(role, None)
        self._public[role] = _key_of(self._ask({"op": "use", "role": role.value, "uri": uri, **options}))
        return self._public[role]

    def repository_key(self, name: str, uri: str | None = None, *, production: bool = False) -> RoleKey:
        """A key for a TUF repository: the one at `uri`, or a development key called `name`, made on first use."""
        asked = {"op": "repository-key", "name": name, "uri": uri, "production": production}
        return RoleKey.model_validate_json(json.dumps(self._ask(asked).get("key")))

    def sign_metadata(self, key: RoleKey, data: bytes) -> bytes:
        """Raw signature over TUF metadata by a key of a repository. Raises `StorageError` for one that is away."""
        asked = {"op": "metadata", "key": key.model_dump_json(), "data": encode_base64(data)}
        return decode_base64(self._ask(asked).get("signature"), "the signature")

    def set_token(self, label: str, token: Token) -> None:
        """From now on the token `label` is reached so."""
        self._ask({"op": "token", "label": label, "token": token.model_dump_json()})

    def login(self, label: str) -> bool:
        """Give the token `label` its PIN once, also if it was wrong before; True if it says that it is hardware."""
        return bool(self._ask({"op": "login", "label": label})["hardware"])

    def start_ahead(self) -> None:
        """Let the signer process begin while the caller does something else; what is wrong is told when it is asked."""
        with self._lock:
            try:
                self._begun()
            except (InfrastructureError, _SignerGone):
                pass
            except BaseException:
                self._drop()  # Ctrl-C: it may have half a message
                raise

    def close(self) -> None:
        """End the signer process; the next request starts another."""
        with self._lock:
            self._drop()

    @property
    def pid(self) -> int | None:
        """The signer's process id; None while there is none."""
        return self._process.pid if self._process and self._owner_pid == os.getpid() else None

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            for attempt in (1, 2):
                try:
                    process = self._running()
                    _request(process, request)
                    reply = _reply(process)
                    break
                except _SignerGone as error:
                    self._drop()
                    if attempt == 2:
                        raise InfrastructureError(
                            "the signer process ends before it answers", remedy="run `assay doctor`, and try again"
                        ) from error
                except BaseException:
                    self._drop()  # Ctrl-C or a timeout: the answer comes late, and must not be taken for the next one
                    raise
        if error_told := messages.to_error(reply):
            raise error_told
        return reply

    def _running(self) -> subprocess.Popen[bytes]:
        process = self._begun()
        if not self._knows_keys:
            if told := messages.to_error(_reply(process)):
                raise told
            self._knows_keys = True
        return process

    def _begun(self) -> subprocess.Popen[bytes]:
        # After a fork the child must not write into its parent's pipe.
        if self._process is None or self._owner_pid != os.getpid():
            if self._end is not None:
                self._end.detach()
            try:
                self._process = _start()
            except OSError as error:
                raise InfrastructureError(
                    f"the signer process cannot be started: {error.strerror}", remedy="free memory or processes"
                ) from error
            self._owner_pid, self._knows_keys = os.getpid(), False
            self._end = weakref.finalize(self, _stop, self._process, self._owner_pid)
            _request(self._process, self._first_message())
        return self._process

    def _first_message(self) -> dict[str, Any]:
        folders = {"keys_dir": str(self._keys_dir), "locks_dir": str(self._locks_dir)}
        return {"op": "open", **folders, "secrets": withheld()}

    def _drop(self) -> None:
        end, self._process, self._end = self._end, None, None  # first: a signal may come while it ends
        if end is not None:
            end()


def _start() -> subprocess.Popen[bytes]:
    # -P: a folder named `assay` where the verb was called must not be taken for this package.
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "assay.backends.signers.process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
    )


def _stop(process: subprocess.Popen[bytes], owner_pid: int) -> None:
    if os.getpid() != owner_pid:
        return
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    try:
        process.wait(END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _request(process: subprocess.Popen[bytes], request: dict[str, Any]) -> None:
    if process.stdin is None:
        raise _SignerGone
    try:
        _write_all(process.stdin.fileno(), messages.encode(request))
    except OSError as error:
        raise _SignerGone from error


def _reply(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    if process.stdout is None:
        raise _SignerGone
    return _answer(process.stdout.fileno())


def _answer(descriptor: int) -> dict[str, Any]:
    """The answer; each notice of what may hang sets the time that is left, and what the error names."""
    buffer = bytearray()
    message = messages.decode(_read_line(descriptor, buffer, ANSWER_TIMEOUT_S, "the signer process"))
    while "waiting" in message:
        within_s = float(message.get("within_s", ANSWER_TIMEOUT_S)) + NOTICE_MARGIN_S
        message = messages.decode(_read_line(descriptor, buffer, within_s, str(message["waiting"])))
    return message


def _key_of(answer: dict[str, Any]) -> TrustedKey:
    try:
        return TrustedKey.model_validate_json(json.dumps(answer.get("key")))
    except ValidationError as error:
        raise InfrastructureError("the signer process gave no key", remedy="try again") from error


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _read_line(descriptor: int, buffer: bytearray, within_s: float, what: str) -> bytes:
    """The next line; `buffer` holds what was read beyond it."""
    deadline = time.monotonic() + within_s
    while b"\n" not in buffer:
        if not readable(descriptor, deadline - time.monotonic()):
            raise InfrastructureError(
                f"{what} did not answer within {within_s:.0f} s; the signer process was ended",
                remedy="check the device or the service, then try again",
            )
        part = os.read(descriptor, _READ_BYTES)
        if not part or len(buffer) > messages.MESSAGE_BYTES_MAX:
            raise _SignerGone
        buffer += part
    line, _, rest = bytes(buffer).partition(b"\n")
    buffer[:] = rest
    return line
