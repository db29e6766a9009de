# SPDX-License-Identifier: Apache-2.0
"""Files from elsewhere, verified with a trust file and nothing else: an export, a statement, a signed image.

Guards: no site, no store, no project and no network is asked; what kind of file it is comes from its first bytes and
decides only which verification has to pass. Leaves to others: how each kind is verified.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from assay.errors import NotVerified, StorageError, UsageFault
from assay.formats import sigstore_bundle, trace_archive
from assay.formats.mcuboot_image import verify_image
from assay.formats.statement_verifier import read_statement, signers_of, verify_statement
from assay.formats.trace_archive import EXPORT_BYTES_MAX
from assay.model.trace import Trace, TraceNode
from assay.model.trust import Role, TrustFile
from assay.pipeline.trace import verify_dossier
from assay.pipeline.trace_link import Link

TAR_MAGIC = (257, b"ustar")
IMAGE_MAGIC = bytes.fromhex("3db8f396")
"""MCUboot's IMAGE_MAGIC 0x96f3b83d, little-endian."""


def read_input(path: Path) -> bytes:
    """The file to verify. Raises `UsageFault` when it is not there, `NotVerified` when it is too large."""
    try:
        with path.open("rb") as file:
            data = file.read(EXPORT_BYTES_MAX + 1)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise UsageFault(f"there is no file {path}", remedy="check the path") from error
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}", remedy="make it readable") from error
    if len(data) > EXPORT_BYTES_MAX:
        raise NotVerified(f"{path} is larger than {EXPORT_BYTES_MAX} bytes", remedy="name the right file")
    return data


def kind_of(data: bytes) -> str:
    """`export`, `image` or `statement`, by the first bytes; `UsageFault` for anything else."""
    offset, magic = TAR_MAGIC
    if data[offset : offset + len(magic)] == magic:
        return "export"
    if data[:4] == IMAGE_MAGIC:
        return "image"
    if data.lstrip()[:1] == b"{":
        return "statement"
    raise UsageFault(
        "the file is neither an export of assay, nor a Sigstore bundle, nor an MCUboot image",
        remedy="export a unit's history with `assay trace SERIAL --export FILE`",
    )


def verify_export(data: bytes, trust: TrustFile, trust_sha256: str) -> Trace:
    """The trace of an exported history. `NotVerified` when the file is not what `assay trace --export` writes."""
    return verify_dossier(trace_archive.decode(data), trust, trust_sha256, "export")


def verify_bundle(data: bytes, trust: TrustFile, *, artifact: bytes | None, role: Role | None) -> TraceNode:
    """A statement: its signature and role and, with `artifact`, that it is about that file."""
    link = Link("statement", "Statement")
    claim = link.attempt(lambda: read_statement(sigstore_bundle.decode(data).envelope.payload))
    if claim is None:
        return link.node()
    roles = frozenset({role}) if role is not None else signers_of(claim.predicateType)
    if not roles:
        link.fault(f"nobody may sign statements of the type {claim.predicateType}")
        return link.node()
    subject = hashlib.sha256(artifact).hexdigest() if artifact is not None else None
    verified = link.attempt(
        lambda: verify_statement(data, trust, role=roles, predicate_types={claim.predicateType}, subject_sha256=subject)
    )
    if verified is None:
        return link.node()
    link.title = f"Statement {verified.statement.predicateType}"
    link.take(verified.checks)
    for about in verified.statement.subject:
        link.tell("subject", f"{about.name} " + " ".join(f"{name}:{value}" for name, value in about.digest.items()))
    if artifact is None:
        link.tell("artifact", "no --artifact was given: that a file is the one that is meant is not shown")
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
