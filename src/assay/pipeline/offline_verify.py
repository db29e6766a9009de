# SPDX-License-Identifier: Apache-2.0
"""Files from elsewhere, verified with a trust file and nothing else: an export, a statement, a signed image.

Guards: no site, no store, no project and no network is asked; what kind of file it is comes from its first bytes and
decides only which verification has to pass. Leaves to others: how each kind is verified.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from assay.backends.named_file import read_named
from assay.errors import NotVerified, StorageError, UsageFault
from assay.formats import sigstore_bundle, trace_archive
from assay.formats.archive_stamp import archive_times
from assay.formats.mcuboot_image import verify_image
from assay.formats.statement_verifier import read_statement, signers_of, verify_statements
from assay.formats.trace_archive import EXPORT_BYTES_MAX
from assay.model.statement import PredicateType, Statement
from assay.model.trace import Trace, TraceNode
from assay.model.trust import Check, Role, TrustFile, VerifiedStatement
from assay.pipeline.manifest_files import board_file, load_board, project_root
from assay.pipeline.release_gate import verify_release
from assay.pipeline.site import Site
from assay.pipeline.trace import verify_dossier
from assay.pipeline.trace_link import Link
from assay.stages.provenance.summary import check_summary

TAR_MAGIC = (257, b"ustar")
IMAGE_MAGIC = bytes.fromhex("3db8f396")
"""MCUboot's IMAGE_MAGIC 0x96f3b83d, little-endian."""


def read_input(path: Path) -> bytes:
    """The file to verify. Raises `UsageFault` when it is not there, `NotVerified` when it is too large."""
    try:
        data = read_named(path, EXPORT_BYTES_MAX + 1)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise UsageFault(f"there is no file {path}", remedy="check the path") from error
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}", remedy="make it readable") from error
    if len(data) > EXPORT_BYTES_MAX:
        raise NotVerified(f"{path} is larger than {EXPORT_BYTES_MAX} bytes", remedy="name the right file")
    return data


def kind_of(data: bytes) -> str:
    """`export`, `image` or `statement`, by the first bytes; `NotVerified` for anything else: it may have been one."""
    offset, magic = TAR_MAGIC
    if data[offset : offset + len(magic)] == magic:
        return "export"
    if data[:4] == IMAGE_MAGIC:
        return "image"
    if data.lstrip()[:1] == b"{":
        return "statement"
    raise NotVerified(
        "the file is neither an export of assay, nor a Sigstore bundle, nor an MCUboot image: it was changed, or never "
        "was one",
        remedy="get it again; a unit's history is exported with `assay trace SERIAL --export FILE`",
    )


def verify_export(data: bytes, trust: TrustFile, trust_sha256: str, at: datetime | None = None) -> Trace:
    """The trace of an exported history, asked at the time `at` (None: when the trust file is asked).

    `NotVerified` when the file is not what `assay trace --export` writes.
    """
    if at is not None:
        trust = trust.asked(replace(trust.asking, now=lambda: at))
    return verify_dossier(trace_archive.decode(data), trust, trust_sha256, "export")


def parse_time(text: str | None) -> datetime:
    """The time of asking: ISO 8601, UTC where it has no zone; now for None. Raises `UsageFault`."""
    if text is None:
        return datetime.now(UTC)
    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageFault(f"{text!r} is no time", remedy="write 2026-12-31T23:59:59Z") from error
    return when if when.tzinfo is not None else when.replace(tzinfo=UTC)


def verify_bundles(
    datas: Sequence[bytes],
    trust: TrustFile,
    *,
    artifact: bytes | None,
    role: Role | None,
    at: datetime,
    stamps: Mapping[bytes, Sequence[bytes]] | None = None,
) -> tuple[TraceNode, tuple[VerifiedStatement, ...]]:
    """Statements about one subject: signature, role and limits of each, and that there are as many signers as the trust
    file asks for; with `artifact`, that they are about that file. `stamps`: the archive stamps of each.
    """
    link = Link("statement", "Statement")
    existed = _existed(link, stamps or {}, trust)
    claims = [link.attempt(functools.partial(_claimed, data)) for data in datas]
    kinds = {claim.predicateType for claim in claims if claim is not None}
    if len(kinds) != 1 or not link.holds:
        if link.holds:
            link.fault(f"the statements are of several types: {', '.join(sorted(kinds))}")
        return link.node(), ()
    kind = kinds.pop()
    roles = frozenset({role}) if role is not None else signers_of(kind)
    if not roles:
        link.fault(f"nobody may sign statements of the type {kind}")
        return link.node(), ()
    subject = hashlib.sha256(artifact).hexdigest() if artifact is not None else None
    verified = link.attempt(
        lambda: verify_statements(
            datas, trust, role=roles, predicate_types={kind}, subject_sha256=subject, at=at, existed=existed
        )
    )
    if verified is None:
        return link.node(), ()
    link.title = f"Statement {kind}"
    for each in verified:
        link.take(each.checks)
        if kind == PredicateType.SUMMARY:
            _summary(link, each, trust)
    for about in verified[0].statement.subject:
        link.tell("subject", f"{about.name} " + " ".join(f"{name}:{value}" for name, value in about.digest.items()))
    if artifact is None:
        link.tell("artifact", "no --artifact was given: that a file is the one that is meant is not shown")
    return link.node(), verified


def _existed(link: Link, stamps: Mapping[bytes, Sequence[bytes]], trust: TrustFile) -> dict[str, datetime]:
    """When each bundle was there already, by its SHA-256, as far as its archive stamps say."""
    found: dict[str, datetime] = {}
    for data, stamped in stamps.items():
        times = link.attempt(functools.partial(archive_times, data, stamped, trust)) or ()
        link.take(
            tuple(Check(f"was there at {each.when:%Y-%m-%d %H:%M:%S} UTC, as {each.source} says") for each in times)
        )
        found |= {hashlib.sha256(data).hexdigest(): times[0].when} if times else {}
    return found


def _summary(link: Link, verified: VerifiedStatement, trust: TrustFile) -> None:
    """What a verification summary says, beyond its signature and its subject."""
    summary = link.attempt(lambda: check_summary(verified, None, trust))
    link.take(summary.checks[len(verified.checks) :] if summary else ())
    link.tell("resource", f"{verified.statement.predicate.get('resourceUri')}: compare it with what you expect")


def _claimed(data: bytes) -> Statement:
    return read_statement(sigstore_bundle.decode(data).envelope.payload)


def _not_there(site: Site, reference: str, boards: list[str]) -> tuple[str, str]:
    """Why there is no one release `reference` to verify, and what to do."""
    if boards:
        return f"no release {reference} can be verified: it is there for {', '.join(boards)}", "name one with --board"
    there = ", ".join(sorted({each.reference for each in site.store.releases()})) or "nothing"
    return f"no release {reference} can be verified: it is not in the store", f"publish it; in the store: {there}"


def verify_published(site: Site, reference: str, board: str | None, trust: TrustFile) -> TraceNode:
    """A release in the store of `site`, as it is before it is flashed: image, provenance, bill of materials.

    Raises `UsageFault` when there is none, or for several boards and none is named.
    """
    name, _, version = reference.partition("@")
    boards = sorted({each.board for each in site.store.releases() if each.reference == reference})
    chosen = board or (boards[0] if len(boards) == 1 else None)
    if chosen is None or chosen not in boards:
        text, remedy = _not_there(site, reference, boards)
        raise UsageFault(text, remedy=remedy)
    link = Link("release", f"Release {reference} for {chosen}")
    at = board_file(project_root(Path.cwd()), chosen)
    found = link.attempt(lambda: verify_release(site.store, trust, name, version, load_board(at)))
    if found is not None:
        link.take(found.checks)
    return link.node()


def verify_signed_image(data: bytes, trust: TrustFile) -> TraceNode:
    """A signed MCUboot image: format, hash, and signature by an image key of `trust`."""
    link = Link("image", "Signed image")
    found = link.attempt(lambda: verify_image(data, trust))
    if found is None:
        return link.node()
    says = found.says
    link.title = f"Signed image {says.name}@{says.version} for {says.board}"
    link.take(found.checks)
    link.tell("file SHA-256", found.file_sha256)
    link.tell("image hash", found.image_hash)
    link.tell("runs on", f"board {says.board}, from revision {says.min_revision}")
    link.tell("security counter", says.security_counter)
    return link.node()
