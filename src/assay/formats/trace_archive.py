# SPDX-License-Identifier: Apache-2.0
"""A dossier in one file (`assay trace --export`), in a tar that other people's tools can take apart.

Guards: the same dossier gives the same bytes; the reader takes only what it would have written itself; sizes are
bounded. Leaves to others: whether any of it is true (`pipeline.trace`). There is no trust in the file: that comes from
who verifies it.
Format: docs/reference/export-format.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from pydantic import Field, ValidationError

from assay.errors import NotVerified, UsageFault
from assay.formats import canonical_json, canonical_tar, strict_json
from assay.formats.archive_stamp import STAMPS_MAX, stamp_name
from assay.model.identifiers import FileSha256, SerialNumber
from assay.model.trace import Dossier, LoggedRecord
from assay.model.value import Value

SCHEMA = "assay.export/1"
EXPORT_BYTES_MAX = 512 * 1024 * 1024
"""Bytes; a microcontroller's images are below 1 MiB each, those of a Linux module are exported by digest."""
PROOF_LENGTH_MAX = 64
"""Hashes; an RFC 6962 proof has at most one for each bit of the tree's size."""

_INDEX, _CHECKPOINT, _LEAVES = "index.json", "log/checkpoint", "log/entries"
_REMEDY = "get the file again from who made it"


class _Proof(Value):
    """Sibling hashes in hex, leaf upwards (inclusion) or as RFC 6962 section 2.1.2 orders them (consistency)."""

    hashes: tuple[FileSha256, ...] = Field(max_length=PROOF_LENGTH_MAX)

    def as_bytes(self) -> tuple[bytes, ...]:
        return tuple(bytes.fromhex(text) for text in self.hashes)


class _Record(_Proof):
    index: int = Field(ge=0)


class _Consistency(_Proof):
    size: int = Field(ge=0)


class _Stamped(Value):
    """A bundle and its archive stamps, the oldest first, by their SHA-256."""

    bundle: FileSha256
    stamps: tuple[FileSha256, ...] = Field(min_length=1, max_length=STAMPS_MAX)


class _Index(Value):
    """`index.json`: what else is in the archive, in order, and the proofs."""

    schema_: str = Field(default=SCHEMA, alias="schema", pattern=f"^{SCHEMA}$")
    serial: SerialNumber
    complete: bool
    records: tuple[_Record, ...]
    consistency: tuple[_Consistency, ...]
    files: tuple[FileSha256, ...]
    stamps: tuple[_Stamped, ...] | None = None
    """None where there are none: an older assay reads such an export."""


def encode(dossier: Dossier) -> bytes:
    """The dossier as a file; `UsageFault` for one with a record that is not there or not in the log."""
    members = {_CHECKPOINT: dossier.checkpoint}
    records = []
    for record in dossier.records:
        if record.index is None or record.entry is None or record.bundle is None:
            raise UsageFault("a record of the unit is missing", remedy="mend the site first: run `assay log verify`")
        records.append(_Record(index=record.index, hashes=_hex(record.proof)))
        members[_entry_name(record.index)] = record.entry
        members[_bundle_name(record.index)] = record.bundle
    for sha256, data in dossier.files.items():
        members[_file_name(sha256)] = data
    if dossier.leaves is not None:
        members[_LEAVES] = _join(dossier.leaves)
    members |= {_stamp_name(sha256, at): one for sha256, each in dossier.stamps.items() for at, one in enumerate(each)}
    index = _Index(
        serial=dossier.serial,
        complete=dossier.leaves is not None,
        records=tuple(records),
        consistency=tuple(_Consistency(size=n, hashes=_hex(p)) for n, p in sorted(dossier.consistency.items())),
        files=tuple(sorted(dossier.files)),
        stamps=tuple(_stamped(sha256, each) for sha256, each in sorted(dossier.stamps.items())) or None,
    )
    members[_INDEX] = canonical_json.encode_value(index)
    data = canonical_tar.encode(members)
    if len(data) > EXPORT_BYTES_MAX:
        raise UsageFault(f"the export has {len(data)} bytes, the limit is {EXPORT_BYTES_MAX}", remedy="split it")
    return data


def is_export(data: bytes) -> bool:
    """Whether `data` is an archive that `encode` made, whatever it says; not whether anything in it verifies."""
    try:
        return _read_index(canonical_tar.decode(data)[_INDEX]).schema_ == SCHEMA
    except (NotVerified, KeyError):
        return False


def decode(data: bytes) -> Dossier:
    """The dossier in `data`; `NotVerified` unless it is, byte for byte, what `encode` makes of it."""
    if len(data) > EXPORT_BYTES_MAX:
        raise NotVerified(f"the export has {len(data)} bytes, the limit is {EXPORT_BYTES_MAX}", remedy=_REMEDY)
    members = canonical_tar.decode(data)
    try:
        dossier = _dossier(members)
    except KeyError as error:
        raise NotVerified(f"the export lacks {error.args[0]}", remedy=_REMEDY) from error
    if encode(dossier) != data:
        raise NotVerified("the export is not in its one spelling: something in it was added or changed", remedy=_REMEDY)
    return dossier


def _dossier(members: dict[str, bytes]) -> Dossier:
    index = _read_index(members[_INDEX])
    records = tuple(
        LoggedRecord(
            index=record.index,
            entry=members[_entry_name(record.index)],
            proof=record.as_bytes(),
            bundle=members[_bundle_name(record.index)],
        )
        for record in index.records
    )
    return Dossier(
        serial=index.serial,
        checkpoint=members[_CHECKPOINT],
        records=records,
        consistency={item.size: item.as_bytes() for item in index.consistency},
        files={sha256: members[_file_name(sha256)] for sha256 in index.files},
        leaves=_split(members[_LEAVES]) if index.complete else None,
        stamps={each.bundle: tuple(_stamps(each, members)) for each in index.stamps or ()},
    )


def _stamped(sha256: str, stamps: tuple[bytes, ...]) -> _Stamped:
    return _Stamped(bundle=sha256, stamps=tuple(hashlib.sha256(each).hexdigest() for each in stamps))


def _stamps(stamped: _Stamped, members: dict[str, bytes]) -> Iterator[bytes]:
    """A stamp that nobody needs today is compared with its digest all the same."""
    for at, sha256 in enumerate(stamped.stamps):
        stamp = members[_stamp_name(stamped.bundle, at)]
        if hashlib.sha256(stamp).hexdigest() != sha256:
            raise NotVerified(f"an archive stamp of {stamped.bundle} in the export was changed", remedy=_REMEDY)
        yield stamp


def _read_index(data: bytes) -> _Index:
    document: Any = strict_json.loads_object(data, f"'{_INDEX}' of the export")
    try:
        return _Index.model_validate_json(canonical_json.encode(document))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise NotVerified(f"'{_INDEX}' of the export: {where}: {first['msg']}", remedy=_REMEDY) from error


def _hex(hashes: tuple[bytes, ...]) -> tuple[str, ...]:
    return tuple(item.hex() for item in hashes)


def _entry_name(index: int) -> str:
    return f"records/{index:08d}/entry.json"


def _bundle_name(index: int) -> str:
    return f"records/{index:08d}/record.sigstore.json"


def _stamp_name(sha256: str, at: int) -> str:
    """As beside a bundle: counted from 1."""
    return stamp_name(f"stamps/{sha256}", at + 1)


def _file_name(sha256: str) -> str:
    return f"files/{sha256}"


def _join(leaves: tuple[bytes, ...]) -> bytes:
    """Entries as in a C2SP tlog-tiles entry bundle: each behind its length in two bytes, big-endian."""
    return b"".join(len(leaf).to_bytes(2, "big") + leaf for leaf in leaves)


def _split(data: bytes) -> tuple[bytes, ...]:
    leaves, offset = [], 0
    while offset < len(data):
        size = int.from_bytes(data[offset : offset + 2], "big")
        leaves.append(data[offset + 2 : offset + 2 + size])
        offset += 2 + size
    return tuple(leaves)
