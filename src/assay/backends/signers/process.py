# SPDX-License-Identifier: Apache-2.0
"""The signer process: the only process that ever opens a private key. Started by `service`, one for each verb.

Guards: the key folder comes in the first message and never in arguments or environment; the process dies with its
parent; its memory cannot be read or traced by others of the same user, and it leaves no core file; roles of
statements sign nothing but statements of their types; the image key signs digests, the log's key checkpoints, the
device CA's key certificates, and nothing else; each signature is verified before it is handed out.
Leaves to others: where keys are (`key_folder`), and who may ask (whoever may read the key folder).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.backends.signers import messages
from assay.backends.signers.key_folder import KeyFolder
from assay.backends.signers.signed_forms import may_sign_bytes
from assay.errors import InfrastructureError, Refused, StorageError
from assay.formats import dsse, sigstore_bundle
from assay.formats.public_key import signature_is_good
from assay.formats.statement_verifier import read_statement, signers_of
from assay.model.statement import PAYLOAD_TYPE
from assay.model.trust import Role

if TYPE_CHECKING:
    from securesystemslib.signer import Signer  # type: ignore[attr-defined]  # no __all__ there

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
"""prctl(2), Linux."""

PATH_PREFIX = "CRYPTO_SIGNER_PATH_PREFIX"
"""securesystemslib would look for key files there instead of in the key folder."""


class Keys:
    """Signs with the keys of one folder; a signer is opened when it is first used and kept (one HSM session)."""

    def __init__(self, folder: Path) -> None:
        self._folder = KeyFolder(folder)
        self._signers: dict[Role, Signer] = {}

    def public(self, role: Role) -> dict[str, Any]:
        """The public key of `role` as plain JSON."""
        return {"key": self._folder.trusted(role).model_dump(mode="json")}

    def sign_bytes(self, role: Role, data: bytes) -> dict[str, Any]:
        """A raw signature over what the key of `role` is for; anything else is refused."""
        if not may_sign_bytes(role, data):
            remedy = "image keys sign digests, log keys checkpoints, device CAs certificates, all others statements"
            raise Refused(f"the {role} key does not sign these bytes", remedy=remedy)
        return {"signature": dsse.encode_base64(self._sign(role, data))}

    def sign_statement(self, role: Role, payload: bytes) -> dict[str, Any]:
        """A bundle around `payload`, which is an in-toto statement of a type that `role` may sign."""
        statement = read_statement(payload)
        if role not in signers_of(statement.predicateType):
            raise Refused(f"a {role} key may not sign {statement.predicateType}", remedy="use the role that may")
        signature = self._sign(role, dsse.pae(PAYLOAD_TYPE, payload))
        bundle = sigstore_bundle.encode(dsse.Envelope(payload, signature), self._folder.trusted(role).keyid)
        return {"bundle": dsse.encode_base64(bundle)}

    def _sign(self, role: Role, data: bytes) -> bytes:
        if role not in self._signers:
            self._signers[role] = self._open(role)
        signature = bytes.fromhex(self._signers[role].sign(data).signature)
        if not signature_is_good(self._folder.trusted(role), signature, data):
            raise InfrastructureError(
                f"the signature of the {role} key does not verify with its public key",
                remedy="the URI and the public key in keys.toml belong to different keys, or the device is faulty",
            )
        return signature

    def _open(self, role: Role) -> Signer:
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
        from securesystemslib.signer import Signer, SSlibKey  # type: ignore[attr-defined]

        key = self._folder.role_key(role)
        os.chdir(self._folder.folder)  # a `file2:` URI is a mere file name: the folder's path may hold '#' or '?'
        public = SSlibKey.from_crypto(load_pem_public_key(key.public.encode("ascii")))
        try:
            return Signer.from_priv_key_uri(key.uri, public)
        except OSError as error:
            raise StorageError(f"the {role} key cannot be read: {error.strerror}", remedy="check its folder") from error
        except Exception as error:
            raise StorageError(
                f"the {role} key ({key.uri.partition(':')[0]}:) cannot be used ({type(error).__name__})",
                remedy="the key is damaged, or is not the one that keys.toml names; restore it from a backup",
            ) from error


def answer(keys: Keys, request: dict[str, Any]) -> dict[str, Any]:
    """The answer to one request."""
    role = Role(request["role"])
    if request["op"] == "public":
        return keys.public(role)
    data = dsse.decode_base64(request["data"], "the data to sign")
    if request["op"] == "sign":
        return keys.sign_bytes(role, data)
    if request["op"] == "statement":
        return keys.sign_statement(role, data)
    raise InfrastructureError(f"the signer process does not know {request['op']!r}", remedy="use one version of assay")


def shield() -> None:
    """Die with the parent, cannot be read or traced, leaves no core; Ctrl-C is for the parent to handle."""
    libc = ctypes.CDLL(None, use_errno=True)
    for option, value in ((PR_SET_PDEATHSIG, signal.SIGKILL), (PR_SET_DUMPABLE, 0)):
        if libc.prctl(option, value, 0, 0, 0) != 0:
            raise InfrastructureError("the signer process cannot shield itself", remedy="use Linux 2.6 or newer")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.pop(PATH_PREFIX, None)


def serve() -> None:
    """Answer requests on standard input until it ends, which it does when the parent is gone."""
    shield()
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    keys: Keys | None = None
    while line := requests.readline(messages.MESSAGE_BYTES_MAX):
        try:
            request = messages.decode(line)
            if request.get("op") == "open":
                keys, reply = Keys(Path(request["keys_dir"])), {"pid": os.getpid()}
            elif keys is None:
                raise InfrastructureError("the signer process knows no key folder", remedy="use one version of assay")
            else:
                reply = answer(keys, request)
        except Exception as error:
            reply = messages.of_error(error)
        answers.write(messages.encode(reply))
        answers.flush()


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        serve()
