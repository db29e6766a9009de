# SPDX-License-Identifier: Apache-2.0
"""Keyless signing for the role `builder`; everything else goes to the signer process.

Guards: a signature takes no longer than its deadline, whatever the services do (the client itself waits for ever); what
is refused is not tried again; a bundle is verified, with the services' trusted root and our own verifier, before it is
handed out. With `when_away = "queue"` a statement is signed by key instead and durably kept for the log, when the
services do not answer; not when what they give is wrong, when the token comes too late, or when this host fails.
Leaves to others: tokens and the client (`keyless_process`), the queue (`log_queue`), logging later
(`pipeline.log_submit`).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from assay.backends.durable_file import exclusive, write_durably
from assay.backends.named_file import read_kept
from assay.backends.signers import messages
from assay.backends.signers.log_queue import LogQueue
from assay.errors import InfrastructureError, NotVerified, Refused, ServiceAway, StorageError, ToolMissing, UsageFault
from assay.formats import keyless_proof, sigstore_bundle
from assay.formats.dsse import decode_base64, encode_base64
from assay.formats.signer_choice import names_fit
from assay.formats.statement_verifier import read_statement, verify_statement
from assay.interfaces.clock import Clock
from assay.interfaces.signer import SignerService
from assay.model.keyless import KeylessSettings
from assay.model.signer_limits import TrustedServices
from assay.model.trust import BUILDER_IDS, Role, TrustedIdentity, TrustedKey, TrustFile

FIRST_PAUSE_S, PAUSE_MAX_S = 0.5, 8.0
"""Seconds between attempts: doubled each time, up to the most."""

TRUST_CONFIG_BYTES_MAX = 1024 * 1024
OWN_SERVICES = "own"
ROOT_FILE = "keyless_root.json"
LAB_MARK = "UNSAFE-DEVELOPMENT"
"""In the root of a Sigstore lab."""


class KeylessSigners:
    """Implements `interfaces.signer.SignerService` over another one, `keys`, for the site in `folder`."""

    def __init__(self, keys: SignerService, settings: KeylessSettings, folder: Path, clock: Clock) -> None:
        self.queue = LogQueue(folder / "log-queue")
        self._keys = keys
        self._settings = settings
        self._folder = folder
        self._clock = clock

    def public_key(self, role: Role) -> TrustedKey:
        """The public key of `role`; a builder has one too, for what is logged later."""
        return self._keys.public_key(role)

    def roles(self) -> tuple[Role, ...]:
        """As the service below."""
        return self._keys.roles()

    def sign(self, role: Role, data: bytes) -> bytes:
        """As the service below: bytes are never signed keyless."""
        return self._keys.sign(role, data)

    def sign_statement(self, role: Role, payload: bytes) -> bytes:
        """A bundle: with a certificate for the builder, with a key for everybody else."""
        if role is not Role.BUILDER:
            return self._keys.sign_statement(role, payload)
        try:
            return self._keyless(payload)
        except ServiceAway:
            if self._settings.when_away != "queue":
                raise
            bundle = self._keys.sign_statement(role, payload)
            self.queue.put(bundle, self._keys.public_key(role).public)
            return bundle

    def _keyless(self, payload: bytes) -> bytes:
        """Attempts until one succeeds, one is refused, or the deadline is over."""
        request = self._request(payload)
        begin, pause = self._clock.monotonic_s(), FIRST_PAUSE_S
        while True:
            left = self._settings.deadline_s - (self._clock.monotonic_s() - begin)
            try:
                return self._checked(_exchange(request, min(left, self._settings.attempt_s)), payload)
            except ToolMissing:
                raise
            except InfrastructureError as error:
                left = self._settings.deadline_s - (self._clock.monotonic_s() - begin)
                if left <= pause:
                    text = f"no keyless signature within {self._settings.deadline_s} s: {error.message}"
                    kind = ServiceAway if isinstance(error, ServiceAway) else InfrastructureError
                    raise kind(text, remedy=error.remedy) from error
                self._clock.sleep(pause)
                pause = min(2 * pause, PAUSE_MAX_S)

    def _request(self, payload: bytes) -> dict[str, Any]:
        settings = self._settings
        file = str(self._folder / settings.token_file) if settings.token_file else None
        return {
            "payload": encode_base64(payload),
            "trust_config": read_trust_config(self._folder, settings),
            "token_file": file,
            "token_command": list(settings.token_command),
        }

    def _checked(self, answer: dict[str, Any], payload: bytes) -> bytes:
        """The client signs what does not verify (a bad checkpoint, a bad time stamp) without a word."""
        bundle, root = decode_base64(answer.get("bundle"), "the bundle"), str(answer.get("trusted_root"))
        try:
            verify_own(bundle, payload, own_identity(self._settings), own_services(root))
        except NotVerified as error:
            text = f"what the Sigstore services gave does not verify: {error.message}"
            raise InfrastructureError(text, remedy="tell who runs them; try again") from error
        keep_root(self._folder, root)
        return bundle


def own_identity(settings: KeylessSettings) -> TrustedIdentity:
    """Whom a certificate of this site has to name."""
    pattern = "*" in settings.identity
    return TrustedIdentity(
        role=Role.BUILDER,
        name="keyless",
        issuer=settings.issuer,
        san=None if pattern else settings.identity,
        san_pattern=settings.identity if pattern else None,
        sigstore=OWN_SERVICES,
        builder_ids=tuple(sorted(BUILDER_IDS.values())),
    )


def own_services(root_text: str) -> TrustedServices:
    """The services that this site signs with, by their trusted root."""
    return TrustedServices(name=OWN_SERVICES, trusted_root=root_text, development=LAB_MARK in root_text)


def verify_own(bundle: bytes, payload: bytes, identity: TrustedIdentity, services: TrustedServices) -> None:
    """`NotVerified` unless `bundle` is a keyless one over `payload`, by `services`; `Refused` when it names somebody
    else than `identity`.
    """
    opened = sigstore_bundle.decode(bundle)
    if opened.envelope.payload != payload or not isinstance(opened.material, sigstore_bundle.CertificateMaterial):
        raise NotVerified("the bundle is about another statement", remedy="try again")
    issuer, san = keyless_proof.names_of(opened.material.certificates[0])
    if issuer != identity.issuer or not names_fit(identity, san):
        text = f"the token is of {san} (by {issuer}); keyless.toml says {identity.san or identity.san_pattern}"
        raise Refused(text, remedy="give a token of the identity that keyless.toml names, or correct it")
    trust = TrustFile(
        schema="assay.trust/1",
        name="self-check",
        allow_development=True,
        sigstore=(services,),
        identities=(identity,),
    )
    verify_statement(bundle, trust, role=Role.BUILDER, predicate_types={read_statement(payload).predicateType})


def keep_root(folder: Path, root_text: str) -> None:
    """Keep the root that the last signature verified with: this site's own checks ask no network for it."""
    path = folder / ROOT_FILE
    try:
        with exclusive(folder):
            if not _says(path, root_text):
                write_durably(path, root_text.encode())
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}", remedy="make it writable") from error


def _says(path: Path, text: str) -> bool:
    try:
        return read_kept(path) == text.encode()
    except FileNotFoundError:
        return False


def own_trust(folder: Path, settings: KeylessSettings) -> tuple[TrustedServices, TrustedIdentity] | None:
    """What a site trusts of its own keyless signatures; None before the first one."""
    try:
        root = read_kept(folder / ROOT_FILE).decode()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StorageError(f"{folder / ROOT_FILE} cannot be read", remedy="sign again: it is written anew") from error
    return own_services(root), own_identity(settings)


def read_trust_config(folder: Path, settings: KeylessSettings) -> str | None:
    """The text of the site's ClientTrustConfig; None for the public Sigstore. Raises `UsageFault`."""
    if settings.trust_config is None:
        return None
    path = folder / settings.trust_config
    try:
        return read_kept(path, TRUST_CONFIG_BYTES_MAX).decode()
    except (OSError, ValueError) as error:
        raise UsageFault(f"the trust config {path} cannot be read", remedy="correct keyless.toml") from error


def _exchange(request: dict[str, Any], limit_s: float) -> dict[str, Any]:
    """One attempt of `limit_s` seconds, in a process that is ended when they are over, with what it has started."""
    words = [sys.executable, "-P", "-m", "assay.backends.signers.keyless_process"]
    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(words, stdin=pipe, stdout=pipe, start_new_session=True)
    except OSError as error:
        raise InfrastructureError(f"no process can be started: {error.strerror}", remedy="free memory") from error
    try:
        told, _ = process.communicate(messages.encode(request), timeout=max(limit_s, 0.1))
    except subprocess.TimeoutExpired as error:
        raise _too_late(error.output or b"", limit_s) from error
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    *_, last = told.splitlines() or [b""]
    if not last or messages.TOKEN_STEP in (answer := messages.decode(last)):
        raise InfrastructureError("the keyless signer ended before it answered", remedy="try again")
    if (error_told := messages.to_error(answer)) is not None:
        raise error_told
    return answer


def _too_late(told: bytes, limit_s: float) -> InfrastructureError:
    """Services are away when they had half of the time at the least; before the token was there nobody asked them."""
    line = told.partition(b"\n")[0]
    token_s = messages.decode(line).get(messages.TOKEN_STEP) if line else None
    if isinstance(token_s, float) and token_s <= limit_s / 2:
        text = f"the Sigstore services did not answer within {limit_s:.0f} s"
        return ServiceAway(text, remedy='try again later; keyless.toml may say when_away = "queue"')
    took = f"took {token_s:.0f} s" if isinstance(token_s, float) else "took all"
    return InfrastructureError(
        f"of the {limit_s:.0f} s of an attempt, the identity token {took}",
        remedy="see why its command or the CI system is slow, or raise attempt_s in keyless.toml",
    )


def queue_of(signers: SignerService) -> LogQueue | None:
    """The queue of a service that signs keyless."""
    return signers.queue if isinstance(signers, KeylessSigners) else None


def settings_text(settings: KeylessSettings) -> bytes:
    """`keyless.toml`."""
    said = settings.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    said = {"schema": settings.schema_, **said}
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in said.items()]
    return ("# The builder of this site signs keyless (docs/how-to/keyless).\n" + "\n".join(lines) + "\n").encode()
