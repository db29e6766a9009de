# SPDX-License-Identifier: Apache-2.0
"""Give a role its key: look at it where it is, decide whether it is a development key, and write it to `keys.toml`.

Guards: no role gets a key of a kind that it cannot use; a key that can be copied, or is in a token that is not
hardware, is UNSAFE-DEVELOPMENT, unless a person says otherwise of the second (ADR 0202).
Leaves to others: whether a role may get another key (`pipeline`), signing (`role_keys`).
"""

from __future__ import annotations

from typing import Any

from assay.backends.signers import pkcs11_key
from assay.backends.signers.key_folder import check_private_file, public_pem
from assay.backends.signers.role_keys import RoleKeys
from assay.errors import Refused, StorageError, UsageFault
from assay.formats.key_uri import TOKEN_SCHEMES, scheme_of
from assay.formats.public_key import parse_public_key
from assay.model.keys import DEVELOPMENT, RoleKey, algorithm_of
from assay.model.trust import Role


class KeySetup:
    """Changes the keys of a site."""

    def __init__(self, keys: RoleKeys) -> None:
        self._keys = keys

    def use(self, role: Role, uri: str, *, public: str | None, name: str | None, make: bool, production: bool) -> None:
        """The key at `uri` signs for `role`. `public`: its public part (PEM), where it cannot be asked for; `make`:
        make it in its token first; `production`: it is no development key although its token does not say so.

        Raises `UsageFault`, `Refused`, and what the token raises.
        """
        if make and scheme_of(uri) not in TOKEN_SCHEMES:
            raise UsageFault("--make makes keys in tokens", remedy="give the URI of a key in a token")
        if make:
            pkcs11_key.make_token_key(self._keys.place(_unknown(uri)), algorithm_of(role), role.value)
        found, development = self._look(uri, public, production)
        algorithm = parse_public_key(found)[1]
        if algorithm != algorithm_of(role):
            raise Refused(
                f"a {role} key has to be {algorithm_of(role)}, this one is {algorithm}", remedy="use another key"
            )
        name = name or role.value
        name = f"{name}-{DEVELOPMENT}" if development and DEVELOPMENT not in name else name
        self._keys.folder.set_role(role, RoleKey(uri=uri, public=found, name=name, development=development))
        self._keys.forget(role)

    def repository_key(self, uri: str, name: str, *, production: bool) -> RoleKey:
        """The key at `uri`, for a repository: its public part, and whether it is a development key."""
        public, development = self._look(uri, None, production)
        parse_public_key(public)
        name = f"{name}-{DEVELOPMENT}" if development and DEVELOPMENT not in name else name
        return RoleKey(uri=uri, public=public, name=name, development=development)

    def login(self, label: str) -> dict[str, Any]:
        """Give the token `label` its PIN once, also if it was wrong before."""
        hardware = pkcs11_key.login(label, self._keys.place(_unknown("hsm:"), again=True))
        return {"token": label, "hardware": hardware}

    def _look(self, uri: str, public: str | None, production: bool) -> tuple[str, bool]:
        """The public part of the key, and whether it is a development key."""
        scheme = scheme_of(uri)
        if scheme == "file2":
            path = self._keys.folder.folder / uri.partition(":")[2]
            try:
                check_private_file(path)
                found = public_pem(path)
            except OSError as error:
                raise StorageError(f"{path} cannot be read: {error.strerror}", remedy="make it your own") from error
            return _same(found, public), not production
        if scheme in TOKEN_SCHEMES:
            key = pkcs11_key.find_token_key(self._keys.place(_unknown(uri, public)))
            if key.extractable and production:
                told = "the key can be copied out of its token, so it is a development key"
                raise Refused(told, remedy="make it there with EXTRACTABLE=false, or leave out --production")
            return _same(key.public, public), key.extractable or not (key.hardware or production)
        if public is None:
            raise UsageFault(f"the public part of a {scheme}: key is not known", remedy="give it with --public FILE")
        return public, False


def _unknown(uri: str, public: str | None = None) -> RoleKey:
    """A key whose public part is not known yet, or what somebody says that it is."""
    return RoleKey(uri=uri, public=public or "", name="", development=True)


def _same(found: str, given: str | None) -> str:
    if given is not None and given.strip() != found.strip():
        raise Refused("the public key that was given is not that of the key", remedy="leave it out, or check the URI")
    return found
