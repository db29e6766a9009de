# SPDX-License-Identifier: Apache-2.0
"""Releases in one file for the air gap (`assay bundle`): which files are in it, and what its log part says.

The file is a tar with one spelling that holds an OCI image layout, so that other people's tools read it too; besides
there are `assay-bundle.json`, which names every other file with its size, a checkpoint of the log and proofs.
Guards: an index is strict JSON of this form; sizes and names are bounded before anything is read; a record counts as
logged only by a proof against a checkpoint of a log that the trust file names.
Leaves to others: the bytes (`tar_stream`), the releases (`oci_layout`), where anything is kept.
Format: docs/reference/bundle.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import Field, ValidationError

from assay.errors import NotVerified
from assay.formats import archive_stamp, canonical_json, checkpoint, log_entry, merkle, strict_json
from assay.formats.checkpoint import Checkpoint
from assay.model.identifiers import FileSha256
from assay.model.trust import TrustFile
from assay.model.value import Value

SCHEMA = "assay.bundle/1"
INDEX = "assay-bundle.json"
CHECKPOINT = "log/checkpoint"
LAYOUT_FILES = ("index.json", "oci-layout")
STAMPS = "stamps"
INDEX_BYTES_MAX = strict_json.DOCUMENT_BYTES_MAX
MEMBER_BYTES_MAX = 1024 * 1024 * 1024
"""Bytes of one file: as much as a store takes as one blob."""
BUNDLE_BYTES_MAX = 64 * 1024 * 1024 * 1024
"""Bytes of all files: a few hundred releases of Linux modules; a larger claim is a mistake or an attack."""
PROOF_LENGTH_MAX = 64
"""Hashes; an RFC 6962 proof has at most one for each bit of the tree's size."""

_BLOB = re.compile(r"blobs/sha256/([0-9a-f]{64})")
_STAMP = re.compile(r"stamps/([0-9a-f]{64})\.([1-9][0-9]?)\.tsr")
_METADATA = re.compile(r"metadata/[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_REMEDY = "get the bundle again from who made it"


class LoggedRecord(Value):
    """A record in the log: its index, its entry as text, and the hashes that prove it (leaf upwards, hex)."""

    index: int = Field(ge=0)
    entry: str
    hashes: tuple[FileSha256, ...] = Field(max_length=PROOF_LENGTH_MAX)


class Since(Value):
    """That the log continues what it was at `size` entries (RFC 6962 section 2.1.2)."""

    size: int = Field(gt=0)
    hashes: tuple[FileSha256, ...] = Field(max_length=PROOF_LENGTH_MAX)


class BundleIndex(Value):
    """`assay-bundle.json`. `members`: size in bytes of every other file, by name."""

    schema_: Literal["assay.bundle/1"] = Field(default="assay.bundle/1", alias="schema")
    members: dict[str, int]
    records: tuple[LoggedRecord, ...]
    since: Since | None = None


@dataclass(frozen=True)
class LogPart:
    """What a bundle proves about a log: its state, and the records (by the digest of their files) that are in it.

    `continues`: the size from which on it was shown that nothing was rewritten; None for a log that is new here.
    """

    head: Checkpoint
    records: Mapping[str, int]
    continues: int | None = None


def blob_name(sha256: str) -> str:
    """The name of a blob in the archive."""
    return f"blobs/sha256/{sha256}"


def blob_of(name: str) -> str | None:
    """The digest that a blob's name says; None for another file."""
    found = _BLOB.fullmatch(name)
    return found[1] if found else None


def stamp_name(sha256: str, number: int) -> str:
    """The name of an archive stamp in the archive: as beside a bundle, counted from 1."""
    return archive_stamp.stamp_name(f"{STAMPS}/{sha256}", number)


def stamp_of(name: str) -> str | None:
    """The digest of the bundle whose archive stamp this is; None for another file."""
    found = _STAMP.fullmatch(name)
    return found[1] if found and int(found[2]) <= archive_stamp.STAMPS_MAX else None


def encode_index(index: BundleIndex) -> bytes:
    """The index in its one spelling."""
    return canonical_json.encode_value(index)


def read_index(data: bytes) -> BundleIndex:
    """The index in `data`. Raises `NotVerified`, also for names and sizes that no bundle has."""
    document = strict_json.loads_object(data, f"'{INDEX}'")
    try:
        index = BundleIndex.model_validate_json(canonical_json.encode(document))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise NotVerified(f"'{INDEX}': {where}: {first['msg']}", remedy=_REMEDY) from error
    if encode_index(index) != data:
        raise NotVerified(f"'{INDEX}' is not in its one spelling", remedy=_REMEDY)
    _check_members(index.members)
    return index


def _check_members(members: Mapping[str, int]) -> None:
    for name, size in members.items():
        known = name == CHECKPOINT or name in LAYOUT_FILES or blob_of(name) or _METADATA.fullmatch(name)
        known = known or stamp_of(name)
        if not known:
            raise NotVerified(f"the bundle says that it has a file {name[:80]!r}, which none has", remedy=_REMEDY)
        if not 0 <= size <= MEMBER_BYTES_MAX:
            text = f"the bundle says that '{name}' has {size} bytes; a file has at most {MEMBER_BYTES_MAX}"
            raise NotVerified(text, remedy=_REMEDY)
    if len({name.casefold() for name in members}) != len(members):
        raise NotVerified("the bundle has two files whose names differ in case alone", remedy=_REMEDY)
    for name in (CHECKPOINT, *LAYOUT_FILES):
        if name not in members:
            raise NotVerified(f"the bundle lacks '{name}'", remedy=_REMEDY)
    if (total := sum(members.values())) > BUNDLE_BYTES_MAX:
        text = f"the bundle says that it has {total} bytes; a bundle has at most {BUNDLE_BYTES_MAX}"
        raise NotVerified(text, remedy=_REMEDY)


def verify_log(index: BundleIndex, note: bytes, trust: TrustFile, seen: Checkpoint | None) -> LogPart:
    """The log part, by a log that `trust` names. `seen` is the newest checkpoint of this log that was believed before:
    an older one, another history, and a newer one without a proof that it goes on are refused. Raises `NotVerified`.
    """
    head, _ = checkpoint.verify_with_trust(note, trust)
    continues = _check_against(index, head, seen) if seen is not None and seen.origin == head.origin else None
    records = {}
    for record in index.records:
        data = record.entry.encode()
        proof = [bytes.fromhex(text) for text in record.hashes]
        merkle.verify_inclusion(merkle.leaf_hash(data), record.index, head.size, proof, head.root)
        records[log_entry.decode(data, f"log: entry {record.index}").record] = record.index
    return LogPart(head, records, continues)


def _check_against(index: BundleIndex, head: Checkpoint, seen: Checkpoint) -> int:
    if head.size < seen.size:
        raise NotVerified(
            f"the bundle is from when the log '{head.origin}' had {head.size} entries; this site has seen {seen.size}",
            remedy="ask for a new bundle: in an old one, what was withdrawn since looks good",
        )
    if head.size == seen.size:
        if head.root != seen.root:
            text = f"the log '{head.origin}' has two histories: {head.size} entries here, and other ones seen before"
            raise NotVerified(text, remedy="trust nothing of that site before this is explained: its log was rewritten")
        return head.size
    if index.since is None or index.since.size != seen.size:
        raise NotVerified(
            f"the log '{head.origin}' grew from the {seen.size} entries that this site has seen to {head.size}, and"
            " nothing in the bundle proves that it is the same history",
            remedy=f"ask for the bundle again, exported with --since {seen.size}",
        )
    proof = [bytes.fromhex(text) for text in index.since.hashes]
    merkle.verify_consistency(seen.size, head.size, proof, seen.root, head.root)
    return seen.size
