# SPDX-License-Identifier: Apache-2.0
"""The keys of a site as the signer process uses them: what a role may sign, and nothing else.

Guards: roles of statements sign nothing but statements of their types; the image key signs digests, the log's key
checkpoints, the device CA's key certificates, and nothing else; each signature is verified before it is handed out.
Leaves to others: where keys are (`key_folder`), opening them (drivers of the group `assay.signers`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assay.backends.entry_points import installed_driver
from assay.backends.signers.key_folder import KeyFolder
from assay.backends.signers.signed_forms import is_repository_metadata, may_sign_bytes
from assay.errors import InfrastructureError, Refused
from assay.formats import dsse, sigstore_bundle
from assay.formats.key_uri import scheme_of
from assay.formats.public_key import signature_is_good, trusted_key
from assay.formats.statement_verifier import read_statement, signers_of
from assay.interfaces.signer import Announce, KeyPlace, KeySigner, announce_nothing
from assay.model.keys import RoleKey
from assay.model.statement import PAYLOAD_TYPE
from assay.model.trust import Role, TrustedKey


class RoleKeys:
    """Signs with the keys of one folder; a signer is opened when it is first used, and kept."""

    def __init__(
        self, folder: Path, locks: Path, secrets: Mapping[str, str], announce: Announce = announce_nothing
    ) -> None:
        self.folder = KeyFolder(folder)
        self._around = {"folder": folder, "locks": locks, "secrets": secrets, "announce": announce}
        self._signers: dict[Role, KeySigner] = {}

    def public(self, role: Role) -> dict[str, Any]:
        """The public key of `role` as plain JSON, and the URI of the private one."""
        key = self.folder.trusted(role).model_dump(mode="json")
        return {"key": key, "uri": self.folder.role_key(role).uri}

    def roles(self) -> dict[str, Any]:
        """The roles that have a key, or get one when they are asked for it."""
        table = self.folder.table()
        return {"roles": [role.value for role in Role if table.development or role in table.roles]}

    def sign_bytes(self, role: Role, data: bytes) -> bytes:
        """A raw signature over what the key of `role` is for; anything else is refused."""
        if not may_sign_bytes(role, data):
            remedy = (
                "image keys sign digests, log keys checkpoints, device CAs certificates, RAUC keys manifests, "
                "all others statements"
            )
            raise Refused(f"the {role} key does not sign these bytes", remedy=remedy)
        return self._sign(role, data)

    def sign_statement(self, role: Role, payload: bytes) -> bytes:
        """A bundle around `payload`, which is an in-toto statement of a type that `role` may sign."""
        statement = read_statement(payload)
        if role not in signers_of(statement.predicateType):
            raise Refused(f"a {role} key may not sign {statement.predicateType}", remedy="use the role that may")
        signature = self._sign(role, dsse.pae(PAYLOAD_TYPE, payload))
        return sigstore_bundle.encode(dsse.Envelope(payload, signature), self.folder.trusted(role).keyid)

    def sign_metadata(self, key: RoleKey, data: bytes) -> bytes:
        """A raw signature by `key`, which is a key of a TUF repository, over the metadata in `data`."""
        if not is_repository_metadata(data):
            raise Refused("a key of a repository signs TUF metadata only", remedy="use the role that may sign this")
        self.folder.check_private(key)
        signer = open_signer(self.place(key))
        try:
            signature = signer.sign(data)
        finally:
            signer.close()
        public = trusted_key(key.public, Role.BUILDER, name=key.name, development=key.development)
        return _checked(public, signature, data, f"repository key '{key.name}'")

    def place(self, key: RoleKey, *, again: bool = False) -> KeyPlace:
        """Where `key` is, for a driver. `again`: a person has asked to give a PIN that was wrong again."""
        table = self.folder.table()
        known = {"uri": key.uri, "public": key.public, "development": key.development, "tokens": table.tokens}
        return KeyPlace(**known, **self._around, again=again)  # type: ignore[arg-type]  # each by its name

    def forget(self, role: Role) -> None:
        """`role` has another key now."""
        if signer := self._signers.pop(role, None):
            signer.close()

    def _sign(self, role: Role, data: bytes) -> bytes:
        key = self.folder.role_key(role)
        if role not in self._signers:
            self._signers[role] = open_signer(self.place(key))
        signature = self._signers[role].sign(data)
        return _checked(self.folder.trusted(role), signature, data, f"{role} key")


def _checked(public: TrustedKey, signature: bytes, data: bytes, what: str) -> bytes:
    """`signature` when it verifies. Raises `InfrastructureError`."""
    if not signature_is_good(public, signature, data):
        raise InfrastructureError(
            f"the signature of the {what} does not verify with its public key",
            remedy="its URI and its public key belong to different keys, or the device is faulty",
        )
    return signature


def open_signer(place: KeyPlace) -> KeySigner:
    """The signer of the driver that the URI's scheme names. Raises `UsageFault` for a scheme that nobody offers."""
    signer: KeySigner = installed_driver("signers", scheme_of(place.uri))(place)
    return signer
