# SPDX-License-Identifier: Apache-2.0
"""The bill of materials of a release in the store, of a file, or of a board with its firmware.

Guards: one out of the store has the digest that its release names. Leaves to others: what is in it (`cyclonedx_parts`,
`cyclonedx_device`), and who signed it (`assay verify NAME@VERSION`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from assay.backends.durable_file import make_folder, write_durably
from assay.backends.named_file import read_named
from assay.errors import StorageError, UsageFault
from assay.formats import canonical_json, cyclonedx_parts, sigstore_bundle, strict_json
from assay.formats.cyclonedx_device import DeviceFirmware, device_json
from assay.formats.statement_verifier import read_statement
from assay.model.artifact import Release
from assay.model.parts import Part
from assay.model.statement import PredicateType
from assay.pipeline.manifest_files import board_file, load_board, project_root
from assay.pipeline.site import Site


def one_release(site: Site, reference: str, board: str | None) -> Release:
    """The release `NAME@VERSION` for `board`, or for the only board it is there for. Raises `UsageFault`."""
    found = [each for each in site.store.releases() if each.reference == reference and board in (None, each.board)]
    if len(found) == 1:
        return found[0]
    if found:
        boards = ", ".join(each.board for each in found)
        raise UsageFault(f"{reference} is there for {boards}", remedy="name one with --board")
    known = ", ".join(sorted({each.reference for each in site.store.releases()})) or "it is empty"
    raise UsageFault(f"the store has no {reference}", remedy=f"in the store: {known}")


def raw_bill(site: Site, what: str, board: str | None) -> bytes:
    """The document of a file, or of a release in the store (`NAME@VERSION`). Raises `UsageFault`, `StorageError`."""
    path = Path(what)
    if not path.exists() and "@" in what:
        return canonical_json.encode(signed_bill(site, one_release(site, what, board)))
    try:
        return read_named(path, strict_json.DOCUMENT_BYTES_MAX + 1)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise UsageFault(f"{what} is neither a file nor a release", remedy="name a file or NAME@VERSION") from error
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}", remedy="make it readable") from error


def bill_of(site: Site, what: str, board: str | None) -> tuple[Part, ...]:
    """The parts of a file's or a release's bill. Raises `NotVerified` for what is no CycloneDX document."""
    document = strict_json.loads_object(raw_bill(site, what, board), f"the bill of materials {what}")
    return cyclonedx_parts.parts_of(document)


def signed_bill(site: Site, release: Release) -> dict[str, object]:
    """The bill in the statement that the release names."""
    bundle = site.store.get(release.attestations[PredicateType.SBOM])
    return read_statement(sigstore_bundle.decode(bundle).envelope.payload).predicate


def device_bill(site: Site, board: str, releases: Sequence[str]) -> bytes:
    """The bill of the board with that firmware. Raises `ManifestFault`, `UsageFault`."""
    design = load_board(board_file(project_root(Path.cwd()), board))
    firmware = []
    for reference in releases:
        release = one_release(site, reference, board)
        bill = signed_bill(site, release)
        link = f"{str(bill.get('serialNumber', '')).removeprefix('urn:uuid:')}/{bill.get('version', 1)}"
        firmware.append(DeviceFirmware(release.name, release.version, release.kind, release.image.file_sha256, link))
    return device_json(design, firmware)


def write_bill(path: Path, data: bytes) -> None:
    """Write a bill durably. Raises `UsageFault` in the place of something else, `StorageError`."""
    try:
        if path.exists() and b'"bomFormat"' not in path.read_bytes()[: strict_json.DOCUMENT_BYTES_MAX]:
            raise UsageFault(f"{path} is no bill of materials, and is not overwritten", remedy="name another file")
        make_folder(path.absolute().parent)
        write_durably(path, data)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}", remedy="name another file") from error
