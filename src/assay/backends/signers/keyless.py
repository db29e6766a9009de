# SPDX-License-Identifier: Apache-2.0
"""Keyless signing for the role `builder`; everything else goes to the signer process.

Guards: a signature takes no longer than its deadline, whatever the services do (the client itself waits for ever); what
is refused is not tried again; a bundle is verified, with the services' trusted root and our own verifier, before it is
handed out. With `when_away = "queue"` a statement is signed by key instead and durably kept for the log.
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

from assay.backends.signers import messages
from assay.backends.signers.log_queue import LogQueue
from assay.errors import InfrastructureError, NotVerified, ToolMissing, UsageFault
from assay.formats import keyless_proof, sigstore_bundle
from assay.formats.dsse import decode_base64, encode_base64
from assay.formats.statement_verifier import read_statement, signers_of, verify_statement
from assay.interfaces.clock import Clock
from assay.interfaces.signer import SignerService
from assay.model.keyless import KeylessSettings
from assay.model.signer_limits import TrustedServices
from assay.model.trust import Role, TrustedIdentity, TrustedKey, TrustFile

FIRST_PAUSE_S, PAUSE_MAX_S = 0.5, 8.0
"""Seconds between attempts: doubled each time, up to the most."""

TRUST_CONFIG_BYTES_MAX = 1024 * 1024
_SERVICES = "used"


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
        except ToolMissing:
            raise
        except InfrastructureError:
            if self._settings.when_away != "queue":
                raise
            bundle = self._keys.sign_statement(role, payload)
            self.queue.put(bundle)
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
                    raise InfrastructureError(text, remedy=error.remedy) from error
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
        bundle = decode_base64(answer.get("bundle"), "the bundle")
        try:
            verify_own(bundle, payload, str(answer.get("trusted_root")))
        except NotVerified as error:
            text = f"what the Sigstore services gave does not verify: {error.message}"
            raise InfrastructureError(text, remedy="tell who runs them; try again") from error
        return bundle


def verify_own(bundle: bytes, payload: bytes, root_text: str) -> None:
    """`NotVerified` unless `bundle` is a keyless one over `payload`, by the services of `root_text`."""
    opened = sigstore_bundle.decode(bundle)
    if opened.envelope.payload != payload or not isinstance(opened.material, sigstore_bundle.CertificateMaterial):
        raise NotVerified("the bundle is about another statement", remedy="try again")
    issuer, san = keyless_proof.names_of(opened.material.certificates[0])
    kind = read_statement(payload).predicateType
    role = next(iter(sorted(signers_of(kind))))
    services = TrustedServices(name=_SERVICES, trusted_root=root_text)
    identity = TrustedIdentity(role=role, name="self-check", issuer=issuer, san=san, sigstore=_SERVICES)
    trust = TrustFile(schema="assay.trust/1", name="self-check", sigstore=(services,), identities=(identity,))
    verify_statement(bundle, trust, role=role, predicate_types={kind})


def read_trust_config(folder: Path, settings: KeylessSettings) -> str | None:
    """The text of the site's ClientTrustConfig; None for the public Sigstore. Raises `UsageFault`."""
    if settings.trust_config is None:
        return None
    path = folder / settings.trust_config
    try:
        return path.read_bytes()[:TRUST_CONFIG_BYTES_MAX].decode("utf-8")
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
        text = f"the Sigstore services did not answer within {limit_s:.0f} s"
        raise InfrastructureError(text, remedy="try again later") from error
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if not told:
        raise InfrastructureError("the keyless signer ended before it answered", remedy="try again")
    answer = messages.decode(told)
    if (error_told := messages.to_error(answer)) is not None:
        raise error_told
    return answer


def queue_of(signers: SignerService) -> LogQueue | None:
    """The queue of a service that signs keyless."""
    return signers.queue if isinstance(signers, KeylessSigners) else None


def settings_text(settings: KeylessSettings) -> bytes:
    """`keyless.toml`."""
    said = settings.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    said = {"schema": settings.schema_, **said}
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in said.items()]
    return ("# The builder of this site signs keyless (docs/how-to/keyless).\n" + "\n".join(lines) + "\n").encode()
