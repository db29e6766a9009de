# SPDX-License-Identifier: Apache-2.0
"""Say what a vulnerability means for a release (VEX), sign it, record it, and lay it beside the release.

Guards: the part that is named is in the release's signed bill of materials; what is said is in the log before it is
in the store. Leaves to others: the document (`formats.cyclonedx_vex`), who asks for it (`parts_index`).
"""

from __future__ import annotations

from dataclasses import dataclass

from assay.errors import UsageFault
from assay.formats import cyclonedx_parts, sigstore_bundle, strict_json
from assay.formats.component_query import parse_query
from assay.formats.cyclonedx_vex import VexSaid, vex_document
from assay.formats.near_names import did_you_mean
from assay.formats.statement_verifier import read_statement
from assay.model.artifact import Release
from assay.model.parts import Part
from assay.model.record import RecordRef, RecordType
from assay.model.statement import PredicateType, Statement
from assay.model.trust import Role
from assay.pipeline.run_journal import timestamp
from assay.pipeline.site import Site
from assay.pipeline.unit_records import image_subject


@dataclass(frozen=True)
class VexMade:
    """The parts that it is about, and where the record stands."""

    parts: tuple[Part, ...]
    record: RecordRef


def say_vex(site: Site, release: Release, component: str, said: VexSaid) -> VexMade:
    """State `said` of the parts of `release` that `component` means. Raises `UsageFault`, `NotRecorded`."""
    bundle = site.store.get(release.attestations[PredicateType.SBOM])
    bill = read_statement(sigstore_bundle.decode(bundle).envelope.payload).predicate
    query, parts = parse_query(component), cyclonedx_parts.parts_of(bill)
    found = tuple(part for part in parts if query.names(part) and query.holds(part))
    if not found:
        known = ", ".join(part.words for part in parts)
        near = did_you_mean(query.name, {part.name for part in parts})
        raise UsageFault(f"{release.reference} does not hold {component}", remedy=f"{near}it holds {known}")
    document = strict_json.loads_object(
        vex_document(release, bill, found, said, timestamp(site.clock)), "the VEX document"
    )
    hash_ = {"imageHash": release.image.image_hash}
    subject = image_subject(release).model_copy(update={"annotations": hash_})
    statement = Statement(subject=(subject,), predicateType=PredicateType.VEX.value, predicate=document)
    record = site.recorder.record(statement, RecordType.VEX, Role.BUILDER)
    site.store.attach(release, PredicateType.VEX.value, site.recorder.bundle(record))
    return VexMade(found, record)
