# SPDX-License-Identifier: Apache-2.0
"""The signer process's work in this process, for tests that sign much and are about something else."""

from __future__ import annotations

import json
from pathlib import Path

from assay.backends.signers.key_setup import KeySetup
from assay.backends.signers.role_keys import RoleKeys
from assay.model.keys import RoleKey
from assay.model.trust import Role, TrustedKey


class KeysInProcess:
    """What a site's repository and recorder ask of `SignerProcess`."""

    def __init__(self, folder: Path) -> None:
        self._keys = RoleKeys(folder, folder, {})

    def public_key(self, role: Role) -> TrustedKey:
        return TrustedKey.model_validate_json(json.dumps(self._keys.public(role)["key"]))

    def roles(self) -> tuple[Role, ...]:
        return tuple(Role(name) for name in self._keys.roles()["roles"])

    def sign(self, role: Role, data: bytes) -> bytes:
        return self._keys.sign_bytes(role, data)

    def sign_statement(self, role: Role, payload: bytes) -> bytes:
        return self._keys.sign_statement(role, payload)

    def repository_key(self, name: str, uri: str | None = None, *, production: bool = False) -> RoleKey:
        if uri is None:
            return self._keys.folder.named_development_key(name)
        return KeySetup(self._keys).repository_key(uri, name, production=production)

    def sign_metadata(self, key: RoleKey, data: bytes) -> bytes:
        return self._keys.sign_metadata(key, data)
