# SPDX-License-Identifier: Apache-2.0
"""The folder of keys: `keys.toml` says which key signs for which role, as a URI (docs: how-to/sign-with-an-hsm).

Guards: development keys are made once, whichever of several processes comes first; they and `keys.toml` appear whole
or not at all, readable by their owner only, and say UNSAFE-DEVELOPMENT in their names; a folder that was not made for
development gets no such keys.
Leaves to others: the keys themselves (`role_keys`), the text (`key_table_text`). Only the signer process uses this
module.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from assay.backends.durable_file import exclusive, make_folder, sync_folder, write_durably
from assay.backends.named_file import read_kept
from assay.backends.signers import key_table_text
from assay.errors import Refused, StorageError
from assay.formats.public_key import trusted_key
from assay.model.keys import DEVELOPMENT, ED25519_ROLES, KeyTable, RoleKey, Token
from assay.model.trust import Role, TrustedKey

OTHERS = stat.S_IRWXG | stat.S_IRWXO


class KeyFolder:
    """The keys in `folder`. Raises `StorageError` when it cannot be read or written, `UsageFault` with the line for a
    `keys.toml` that is wrong, `Refused` for a role without a key.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def role_key(self, role: Role) -> RoleKey:
        """The key of `role`; made now if this is a development folder and there is none."""
        try:
            found = self._table().roles.get(role) if self._toml.exists() else None
            found = found or self._make(role)
            self.check_private(found)
        except OSError as error:
            raise self._unusable(error) from error
        return found

    def trusted(self, role: Role) -> TrustedKey:
        """The public key of `role`."""
        key = self.role_key(role)
        return trusted_key(key.public, role, name=key.name, development=key.development)

    def table(self) -> KeyTable:
        """What `keys.toml` says; that of a development folder when it is not there yet."""
        try:
            return self._table() if self._toml.exists() else KeyTable(development=True)
        except OSError as error:
            raise self._unusable(error) from error

    def set_role(self, role: Role, key: RoleKey) -> None:
        """From now on `key` signs for `role`."""
        self._change(lambda table: {"roles": {**table.roles, role: key}})

    def set_token(self, label: str, token: Token) -> None:
        """From now on the token `label` is reached so."""
        self._change(lambda table: {"tokens": {**table.tokens, label: token}})

    def named_development_key(self, name: str) -> RoleKey:
        """The Ed25519 development key called `name`, made now if there is none. `Refused` in another folder."""
        try:
            make_folder(self.folder, mode=0o700)
            with exclusive(self.folder / ".lock"):
                if not (self._table().development if self._toml.exists() else True):
                    remedy = "name the keys: --key ROLE=file2:FILE (openssl genpkey -algorithm ed25519 makes one)"
                    raise Refused(f"{self.folder} is no folder of development keys", remedy=remedy)
                return self._named(name, ed25519=True)
        except OSError as error:
            raise self._unusable(error) from error

    @property
    def _toml(self) -> Path:
        return self.folder / "keys.toml"

    def _table(self) -> KeyTable:
        return key_table_text.read(read_kept(self._toml), str(self._toml))

    def _change(self, change: Callable[[KeyTable], dict[str, object]]) -> None:
        """A folder that a person gives keys to gets no others by itself, unless it has development keys already."""
        try:
            make_folder(self.folder, mode=0o700)
            with exclusive(self.folder / ".lock"):
                table = self._table() if self._toml.exists() else KeyTable()
                self._write(table.model_copy(update=change(table)))
        except OSError as error:
            raise self._unusable(error) from error

    def _write(self, table: KeyTable) -> None:
        write_durably(self._toml, key_table_text.encode(table), mode=0o600)

    def _unusable(self, error: OSError) -> StorageError:
        return StorageError(
            f"the key folder {self.folder} cannot be used: {error.strerror}",
            remedy="make it readable and writable for you alone (chmod 700), or free disk space",
        )

    def _make(self, role: Role) -> RoleKey:
        make_folder(self.folder, mode=0o700)
        with exclusive(self.folder / ".lock"):
            table = self._table() if self._toml.exists() else KeyTable(development=True)
            if found := table.roles.get(role):
                return found
            if not table.development:
                remedy = f"`assay keys use {role} URI` adds [roles.{role}] to it"
                raise Refused(f"no key for the role '{role}' in {self._toml}", remedy=remedy)
            made = self._development_key(role)
            self._write(table.model_copy(update={"roles": {**table.roles, role: made}}))
            return made

    def _development_key(self, role: Role) -> RoleKey:
        """A key that an earlier process made and did not come to list is taken up: it was never used."""
        return self._named(role.value, ed25519=role in ED25519_ROLES)

    def _named(self, name: str, *, ed25519: bool) -> RoleKey:
        from securesystemslib.signer import CryptoSigner  # type: ignore[attr-defined]  # no __all__ there

        name = f"{name}-{DEVELOPMENT}"
        path = self.folder / f"{name}.pem"
        if not path.exists():
            signer = CryptoSigner.generate_ed25519() if ed25519 else CryptoSigner.generate_ecdsa()
            write_durably(path, signer.private_bytes, mode=0o600)
        sync_folder(self.folder)
        return RoleKey(uri=f"file2:{path.name}", public=public_pem(path), name=name, development=True)

    def check_private(self, key: RoleKey) -> None:
        """A private key in a file is its owner's alone, as ssh asks for it."""
        scheme, _, name = key.uri.partition(":")
        if scheme == "file2":
            check_private_file(self.folder / name)


def check_private_file(path: Path) -> None:
    """Raises `StorageError` when there is none, `Refused` when others can read it."""
    if not path.is_file():
        raise StorageError(f"the key file {path} is missing", remedy="restore it from a backup")
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & OTHERS and os.name == "posix":
        raise Refused(f"the key file {path} can be read by others (mode {mode:04o})", remedy=f"chmod 600 {path}")


def public_pem(path: Path) -> str:
    """The public part of the private key in the file. Raises `StorageError`, `OSError`."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    try:
        key = load_pem_private_key(read_kept(path), None)
    except (ValueError, TypeError) as error:
        raise StorageError(
            f"the key file {path} is damaged", remedy="restore it from a backup, or move it away to have a new one made"
        ) from error
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")
