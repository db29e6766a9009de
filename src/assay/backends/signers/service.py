# SPDX-License-Identifier: Apache-2.0
"""The signer service as a verb sees it: a process of its own, started at the first signature.

Guards: no private key comes into this process; the signer process ends with this one, however it ends; a signer that
died is started again once, since to ask for a signature again does no harm. Leaves to others: keys and signatures
(`process`).
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from assay.backends.signers import messages
from assay.errors import InfrastructureError
from assay.formats.dsse import decode_base64, encode_base64
from assay.model.trust import Role, TrustedKey

ANSWER_TIMEOUT_S = 60.0
"""Seconds for one signature; an HSM or a KMS behind a slow link takes some, a file key takes milliseconds."""

END_TIMEOUT_S = 2.0
"""Seconds that a signer gets to end after its input was closed; then it is killed."""

_READ_BYTES = 65536


class _SignerGone(Exception):
    """The process ended, or its pipe broke, in the middle of a request."""


class SignerProcess:
    """Implements `interfaces.signer.SignerService` with one child process. Safe to use from several threads."""

    def __init__(self, keys_dir: Path) -> None:
        self._keys_dir = keys_dir.absolute()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner_pid = 0
        self._end: weakref.finalize[Any, Any] | None = None
        self._public: dict[Role, TrustedKey] = {}

    def public_key(self, role: Role) -> TrustedKey:
        """The public key of `role`; a development key is made on first use."""
        if role not in self._public:
            answer = self._ask({"op": "public", "role": role.value})
            try:
                self._public[role] = TrustedKey.model_validate_json(json.dumps(answer.get("key")))
            except ValidationError as error:
                raise InfrastructureError("the signer process gave no key", remedy="try again") from error
        return self._public[role]

    def sign(self, role: Role, data: bytes) -> bytes:
        """Raw signature over `data` by the key of `role`."""
        answer = self._ask({"op": "sign", "role": role.value, "data": encode_base64(data)})
        return decode_base64(answer.get("signature"), "the signature")

    def sign_statement(self, role: Role, payload: bytes) -> bytes:
        """A Sigstore bundle around the in-toto statement in `payload`."""
        answer = self._ask({"op": "statement", "role": role.value, "data": encode_base64(payload)})
        return decode_base64(answer.get("bundle"), "the bundle")

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
                    reply = _exchange(process, request)
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
            self._owner_pid = os.getpid()
            self._end = weakref.finalize(self, _stop, self._process, self._owner_pid)
            told = messages.to_error(_exchange(self._process, {"op": "open", "keys_dir": str(self._keys_dir)}))
            if told:
                raise told
        return self._process

    def _drop(self) -> None:
        if self._end is not None:
            self._end()
        self._process, self._end = None, None


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


def _exchange(process: subprocess.Popen[bytes], request: dict[str, Any]) -> dict[str, Any]:
    if process.stdin is None or process.stdout is None:
        raise _SignerGone
    try:
        _write_all(process.stdin.fileno(), messages.encode(request))
    except OSError as error:
        raise _SignerGone from error
    return messages.decode(_read_line(process.stdout.fileno()))


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _read_line(descriptor: int) -> bytes:
    line, deadline = bytearray(), time.monotonic() + ANSWER_TIMEOUT_S
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise InfrastructureError(
                f"the signer process did not answer within {ANSWER_TIMEOUT_S:.0f} s", remedy="check the HSM or the KMS"
            )
        part = os.read(descriptor, _READ_BYTES)
        if not part or len(line) > messages.MESSAGE_BYTES_MAX:
            raise _SignerGone
        line += part
    return bytes(line)
