# SPDX-License-Identifier: Apache-2.0
"""Bundles that were signed by key while the transparency log was away, kept until they are logged.

Guards: what was put is there after a power cut, whole, with the public key that it verifies with: the site may have
another one when it is logged. It goes away only when its logged form is durable; killed in between, it is logged again,
which does no harm. Leaves to others: logging (`pipeline.log_submit`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from assay.backends.durable_file import exclusive, make_folder, remove_unfinished, sync_folder, write_durably
from assay.backends.named_file import read_kept
from assay.errors import NotVerified, StorageError
from assay.formats import sigstore_bundle
from assay.formats.sigstore_bundle import KeyHint

SUFFIX = ".sigstore.json"
LOGGED, KEYS = "logged", "keys"

_KEYID = re.compile(r"[0-9a-f]{64}")


class LogQueue:
    """The queue in `folder`; what is logged lies in `logged` below it, by the SHA-256 of the payload."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, bundle: bytes, public: str) -> None:
        """Keep `bundle` and the public key (PEM) that it is by, durably. Raises `StorageError`."""
        hint = sigstore_bundle.decode(bundle).material
        assert isinstance(hint, KeyHint)
        key = self._key_path(hint.hint)
        try:
            make_folder(key.parent)
            with exclusive(self.folder / ".lock"):
                write_durably(key, public.encode("ascii"))
                write_durably(self.folder / name_of(bundle), bundle)
        except OSError as error:
            raise _cannot_write(self.folder, error) from error

    def public_key(self, keyid: str) -> str | None:
        """The public key (PEM) with that id, which whoever uses it compares; None when none was kept."""
        try:
            return read_kept(self._key_path(keyid)).decode("ascii")
        except (OSError, ValueError):
            return None

    def _key_path(self, keyid: str) -> Path:
        if not _KEYID.fullmatch(keyid):
            raise NotVerified("a bundle that is to be logged names no key", remedy="sign it again")
        return self.folder / KEYS / f"{keyid}.pem"

    def waiting(self) -> list[Path]:
        """The files that wait."""
        return sorted(self.folder.glob(f"[0-9a-f]*{SUFFIX}"))

    def each(self) -> Iterator[tuple[Path, bytes]]:
        """File and bundle of each that waits. Raises `StorageError`."""
        for path in self.waiting():
            try:
                yield path, read_kept(path)
            except OSError as error:
                raise StorageError(f"{path} cannot be read: {error.strerror}", remedy="make it readable") from error

    def logged(self) -> dict[str, bytes]:
        """What was logged, by the SHA-256 of the payload. Raises `StorageError`."""
        found = {}
        for path in sorted((self.folder / LOGGED).glob(f"[0-9a-f]*{SUFFIX}")):
            try:
                found[path.name.removesuffix(SUFFIX)] = read_kept(path)
            except OSError as error:
                raise StorageError(f"{path} cannot be read: {error.strerror}", remedy="make it readable") from error
        return found

    def settle(self, path: Path, logged: bytes) -> Path:
        """`logged` is the logged form of what waits in `path`: keep it, then let go. Raises `StorageError`."""
        done = self.folder / LOGGED / path.name
        try:
            make_folder(done.parent)
            with exclusive(self.folder / ".lock"):
                remove_unfinished(done.parent)
                write_durably(done, logged)
                path.unlink(missing_ok=True)
                sync_folder(self.folder)
        except OSError as error:
            raise _cannot_write(self.folder, error) from error
        return done


def name_of(bundle: bytes) -> str:
    """The file's name: the same statement by the same key waits once."""
    return hashlib.sha256(sigstore_bundle.decode(bundle).envelope.payload).hexdigest() + SUFFIX


def _cannot_write(folder: Path, error: OSError) -> StorageError:
    return StorageError(f"{folder} cannot be written: {error.strerror}", remedy="free disk space, or make it writable")
