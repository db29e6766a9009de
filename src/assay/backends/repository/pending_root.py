# SPDX-License-Identifier: Apache-2.0
"""The next root of a repository between the first write of a change of keys and the last, in one durable file.

Guards: it is signed, for the root that is there and for itself, before anything else is; so a change of keys that was
cut short when some metadata is by new keys alone can be brought to its end, without any key. A file that does not
follow the root counts for nothing.
Leaves to others: whether it is needed, and its place among what clients read (`repository_folder`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.backends.durable_file import make_folder, sync_folder, write_durably
from assay.backends.named_file import read_kept
from assay.errors import StorageError

if TYPE_CHECKING:
    from tuf.api.metadata import Metadata, Root


class PendingRoot:
    """The next root in the file `path`, which is this site's own. Raises `StorageError`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def is_there(self) -> bool:
        """Whether a change of keys was begun, and nothing was signed since."""
        return self._path.is_file()

    def following(self, root: Metadata[Root]) -> tuple[Metadata[Root], bytes] | None:
        """The root that follows `root`, signed for both, and its bytes; None where there is none."""
        from tuf.api.exceptions import RepositoryError
        from tuf.api.metadata import Metadata

        try:
            data = read_kept(self._path)
            found = Metadata[Any].from_bytes(data)
            for signed in (root.signed, found.signed):
                signed.verify_delegate("root", found.signed_bytes, found.signatures)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"{self._path} cannot be read: {error.strerror}", remedy="make it readable") from error
        except (RepositoryError, ValueError, AttributeError):
            return None
        return (found, data) if found.signed.version == root.signed.version + 1 else None

    def write(self, data: bytes) -> None:
        """`data` is the next root."""
        make_folder(self._path.parent, mode=0o700)
        write_durably(self._path, data, mode=0o600)

    def clear(self) -> None:
        """No change of keys is on its way."""
        if self.is_there:
            self._path.unlink()
            sync_folder(self._path.parent)
