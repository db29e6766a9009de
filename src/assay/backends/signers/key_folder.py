# SPDX-License-Identifier: Apache-2.0
"""The folder of keys: `keys.toml` says which key signs for which role, as a URI of securesystemslib.

Guards: development keys are made once, whichever of several processes comes first; they and `keys.toml` appear whole
or not at all, readable by their owner only, and say UNSAFE-DEVELOPMENT in their names; a folder that was not made for
development gets no such keys.
Leaves to others: signing (`process`). Only the signer process uses this module.
"""

from __future__ import annotations

import os
import stat
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from assay.backends.durable_file import exclusive, make_folder, sync_folder, write_durably
from assay.errors import Refused, StorageError
from assay.formats.public_key import parse_public_key, trusted_key
from assay.model.trust import Role, TrustedKey
from assay.model.value import Value

DEVELOPMENT = "UNSAFE-DEVELOPMENT"
"""In the name of every key that anybody could have made: it proves nothing."""

ED25519_ROLES = frozenset({Role.IMAGE, Role.LOG})
"""Image signatures must be deterministic, checkpoints are Ed25519 by C2SP; the others are P-256, which Rekor v2
takes.
"""

OTHERS = stat.S_IRWXG | stat.S_IRWXO

_HEADER = "# Which key signs for which role. A URI is one of securesystemslib's (file2:, hsm:, awskms:, ...).\n"


class RoleKey(Value):
    """Where the private key of a role is, and its public part in PEM. `file2:` paths are relative to the folder."""

    uri: str
    public: str
    name: str
    development: bool = False


class KeyTable(Value):
    """`keys.toml`. With `development` roles without a key get one when they are first asked for."""

    schema_: Literal["assay.keys/1"] = Field(default="assay.keys/1", alias="schema")
    development: bool = False
    roles: dict[Annotated[Role, Field(strict=False)], RoleKey] = Field(default={})


class KeyFolder:
    """The keys in `folder`. Raises `StorageError` when it cannot be read or written, `Refused` for a role without a
    key.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def role_key(self, role: Role) -> RoleKey:
        """The key of `role`; made now if this is a development folder and there is none."""
        try:
            found = self._table().roles.get(role) if self._toml.exists() else None
            found = found or self._make(role)
            self._check_private(found)
        except OSError as error:
            raise StorageError(
                f"the key folder {self.folder} cannot be used: {error.strerror}",
                remedy="make it readable and writable for you alone (chmod 700), or free disk space",
            ) from error
        return found

    def trusted(self, role: Role) -> TrustedKey:
        """The public key of `role`."""
        key = self.role_key(role)
        return trusted_key(key.public, role, name=key.name, development=key.development)

    @property
    def _toml(self) -> Path:
        return self.folder / "keys.toml"

    def _table(self) -> KeyTable:
        try:
            document = tomllib.loads(self._toml.read_text(encoding="utf-8"))
            return KeyTable.model_validate(document)
        except (ValueError, ValidationError) as error:
            raise StorageError(
                f"{self._toml} is damaged: {_first_line(error)}", remedy="restore it from a backup, or correct it"
            ) from error

    def _make(self, role: Role) -> RoleKey:
        make_folder(self.folder, mode=0o700)
        with exclusive(self.folder / ".lock"):
            table = self._table() if self._toml.exists() else KeyTable(development=True)
            if found := table.roles.get(role):
                return found
            if not table.development:
                raise Refused(f"no key for the role '{role}' in {self._toml}", remedy=f"add [roles.{role}] to it")
            made = self._development_key(role)
            grown = table.model_copy(update={"roles": {**table.roles, role: made}})
            write_durably(self._toml, _toml_text(grown), mode=0o600)
            return made

    def _development_key(self, role: Role) -> RoleKey:
        """A key that an earlier process made and did not come to list is taken up: it was never used."""
        from securesystemslib.signer import CryptoSigner  # type: ignore[attr-defined]  # no __all__ there

        name = f"{role}-{DEVELOPMENT}"
        path = self.folder / f"{name}.pem"
        if not path.exists():
            signer = CryptoSigner.generate_ed25519() if role in ED25519_ROLES else CryptoSigner.generate_ecdsa()
            write_durably(path, signer.private_bytes, mode=0o600)
        sync_folder(self.folder)
        return RoleKey(uri=f"file2:{path.name}", public=_public_pem(path), name=name, development=True)

    def _check_private(self, key: RoleKey) -> None:
        """A private key in a file is its owner's alone, as ssh asks for it."""
        scheme, _, name = key.uri.partition(":")
        if scheme != "file2":
            return
        path = self.folder / name
        if not path.is_file():
            raise StorageError(f"the key file {path} is missing", remedy="restore it from a backup")
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & OTHERS and os.name == "posix":
            raise Refused(f"the key file {path} can be read by others (mode {mode:04o})", remedy=f"chmod 600 {path}")


def _public_pem(path: Path) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError) as error:
        raise StorageError(
            f"the key file {path} is damaged", remedy="restore it from a backup, or move it away to have a new one made"
        ) from error
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")


def _toml_text(table: KeyTable) -> bytes:
    """Our own values only: names and URIs without quotes or backslashes, and PEM."""
    lines = [_HEADER, f'schema = "{table.schema_}"', f"development = {str(table.development).lower()}"]
    for role, key in sorted(table.roles.items()):
        parse_public_key(key.public)
        lines += ["", f"[roles.{role}]", f'uri = "{key.uri}"', f'name = "{key.name}"']
        lines += [f"development = {str(key.development).lower()}", f"public = '''\n{key.public}'''"]
    return ("\n".join(lines) + "\n").encode("utf-8")


def _first_line(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    return str(error).splitlines()[0]
