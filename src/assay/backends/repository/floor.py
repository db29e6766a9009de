# SPDX-License-Identifier: Apache-2.0
"""What was verified last, in one durable file: no older metadata counts from then on.

Guards: the file is the old one or the new one, whenever the power goes; python-tuf's own cache is neither fsynced nor
whole, and an emptied one would let an attacker begin again with old metadata (docs/adr/0231). A damaged file refuses.
Leaves to others: verifying (`tuf_client`, `repository_folder`).
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from assay.backends.durable_file import make_folder, write_durably
from assay.backends.named_file import read_kept
from assay.errors import NotVerified, StorageError
from assay.formats import canonical_json, strict_json

SCHEMA = "assay.tuf-floor/1"
ROLES = ("root", "timestamp", "snapshot", "targets")


@dataclass(frozen=True)
class FloorState:
    """Verified metadata by role, as it was read, and when the repository says that the time stamp was made."""

    metadata: Mapping[str, bytes]
    made: datetime | None = None

    def version(self, role: str) -> int:
        """The version of `role`."""
        return version_of(self.metadata[role])


class Floor:
    """The floor at `path`. Raises `StorageError`, `NotVerified` when the file is damaged."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> FloorState | None:
        """What was verified last; None when nothing was yet."""
        try:
            data = read_kept(self._path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"{self._path} cannot be read: {error.strerror}", remedy="make it readable") from error
        try:
            return _decode(data, str(self._path))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._damaged() from error

    def write(self, state: FloorState) -> None:
        """From now on nothing older than `state` counts."""
        try:
            make_folder(self._path.parent, mode=0o700)
            write_durably(self._path, _encode(state), mode=0o600)
        except OSError as error:
            text = f"{self._path} cannot be written: {error.strerror}"
            raise StorageError(text, remedy="free disk space, and make its folder writable") from error

    def _damaged(self) -> NotVerified:
        return NotVerified(
            f"{self._path} is damaged: nothing says any more which metadata was seen last",
            remedy="begin again: move its folder away, and give the newest root.json that you can trust with --root",
        )


def version_of(data: bytes) -> int:
    """The version that metadata says it has. Raises `ValueError` for what is none."""
    return int(json.loads(data)["signed"]["version"])


def _encode(state: FloorState) -> bytes:
    body: dict[str, Any] = {
        "schema": SCHEMA,
        "metadata": {role: base64.b64encode(data).decode() for role, data in sorted(state.metadata.items())},
        "made": state.made.isoformat() if state.made else "",
    }
    return canonical_json.encode({"body": body, "sha256": _digest(body)})


def _decode(data: bytes, what: str) -> FloorState:
    document = strict_json.loads_object(data, what)
    body = document["body"]
    if document["sha256"] != _digest(body) or body["schema"] != SCHEMA or set(body["metadata"]) != set(ROLES):
        raise ValueError("not as it was written")
    metadata = {role: base64.b64decode(text, validate=True) for role, text in body["metadata"].items()}
    return FloorState(metadata, datetime.fromisoformat(body["made"]) if body["made"] else None)


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(canonical_json.encode(body)).hexdigest()
