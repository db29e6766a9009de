# SPDX-License-Identifier: Apache-2.0
"""The history of one unit, verified: from a dossier and a trust file to a tree of links.

Guards: the same verification runs on a site and on an exported file; nothing in the dossier is believed unless a key of
the trust file stands behind it; whatever is in the dossier is used, so that no byte of an export goes unchecked.
Leaves to others: collecting (`trace_collect`), each kind of link (`trace_log`, `trace_record`, `trace_release`,
`trace_stamps`, `trace_unit`), showing (`trace_tree`, `formats.html_report`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Literal

from assay.model.predicates import Provisioning
from assay.model.record import RecordType
from assay.model.trace import Dossier, Mark, Trace, TraceNode, TrustUsed
from assay.model.trust import TrustFile
from assay.pipeline import trace_stamps
from assay.pipeline.stamp_folder import with_stamps
from assay.pipeline.trace_digests import reachable
from assay.pipeline.trace_life import Life
from assay.pipeline.trace_link import KEY_DIGITS, Link, count, heading
from assay.pipeline.trace_log import LogView, size_of, verify_log
from assay.pipeline.trace_policy import adoptions_in, is_about_release
from assay.pipeline.trace_record import OpenedRecord, checkpoint_of, open_record, payload_of
from assay.pipeline.trace_release import ReleaseChain
from assay.pipeline.trace_unit import tell


def verify_dossier(
    dossier: Dossier,
    trust: TrustFile,
    trust_sha256: str,
    source: Literal["site", "export"],
    site_nodes: Iterable[TraceNode] = (),
) -> Trace:
    """The trace of the unit of `dossier`; `site_nodes` are links about the site that it was collected from."""
    trust = with_stamps(trust, dossier.stamps)
    view, log_node = verify_log(dossier, trust)
    opened = [open_record(record, view) for record in dossier.records]
    provisioned = [record.predicate for record in opened if isinstance(record.predicate, Provisioning)]
    chips = frozenset(said.chip for said in provisioned if said.serial == dossier.serial)
    policies = [record for record in opened if record.kind is RecordType.POLICY]
    life = Life(dossier.serial, trust, dossier.files, chips, adoptions=adoptions_in(policies))
    about_unit = [record for record in opened if not is_about_release(record) and record.kind is not RecordType.POLICY]
    for record in about_unit:
        tell(record, life)
    runs = _runs_node(life, view)
    nodes = (
        _trust_node(trust, trust_sha256),
        log_node,
        *([heading("policies", "Policies of the site", [each.node() for each in policies])] if policies else []),
        heading("releases", "Releases that the unit was given", _releases(opened, life)),
        heading("history", "Life of the unit, in the order of the log", [record.node() for record in about_unit]),
        runs,
        _files_node(dossier, opened),
        *trace_stamps.of_records(dossier, trust),
        *site_nodes,
    )
    return Trace(
        serial=dossier.serial,
        source=source,
        trust=_trust_used(trust, trust_sha256),
        origin=view.head.origin if view.head else None,
        tree_size=view.head.size if view.head else None,
        root=_root(dossier.serial, life, view, runs).with_children(nodes),
    )


def _root(serial: str, life: Life, view: LogView, runs: TraceNode) -> Link:
    """The unit in three lines."""
    link = Link("unit", f"Unit {serial}")
    if life.certificate is not None:
        emulated = ", emulated" if life.certificate.emulated else ""
        link.tell("chip", f"{life.certificate.chip.hex()}{emulated}")
    link.tell("runs", runs.title)
    if view.head is not None:
        link.tell("as of", f"{view.head.size} entries of the log {view.head.origin}")
    return link


def _trust_used(trust: TrustFile, sha256: str) -> TrustUsed:
    return TrustUsed(
        name=trust.name,
        sha256=sha256,
        allow_development=trust.allow_development,
        allow_emulated=trust.allow_emulated,
    )


def _trust_node(trust: TrustFile, sha256: str) -> TraceNode:
    link = Link("trust", f"Trust file '{trust.name}'")
    link.tell("SHA-256", f"{sha256}: compare it with what you were given, nothing else vouches for it")
    link.tell("names", f"{count(len(trust.keys), 'key')} and {count(len(trust.logs), 'log')}")
    if trust.allow_development:
        link.tell("allows", "development keys: for demonstrations only")
        link.mark(Mark.DEVELOPMENT)
    if trust.allow_emulated:
        link.tell("allows", "emulated units")
        link.mark(Mark.EMULATED)
    return link.node()


def _releases(opened: list[OpenedRecord], life: Life) -> list[TraceNode]:
    """The releases in the order in which the unit met them; then what is about none of them, which should not be."""
    about_images = [record for record in opened if is_about_release(record)]
    chains = [ReleaseChain(image, about_images, life) for image in life.images.values()]
    nodes = [chain.node() for chain in chains]
    told = {id(record) for chain in chains for record in chain.records}
    for record in about_images:
        if id(record) not in told:
            record.link.fault("the record is about no image that the unit was given")
            nodes.append(record.node())
    return nodes


def _runs_node(life: Life, view: LogView) -> TraceNode:
    """The last evidence and where in the log it stands. Never "now": nobody asked the unit while this was made."""
    link = Link("runs", "No evidence of what the unit runs")
    if life.certificate is None:
        link.fault("no provisioning record that verifies gives the unit an identity")
    if life.evidence is None:
        link.tell("evidence", "the unit was never asked, or its answer did not verify")
        return link.node()
    index, said = life.evidence
    name = life.running.name(said.report.image_hash)
    link.title = f"Last evidence: it ran {name}, {said.report.state_text}, hash {said.report.image_hash[:KEY_DIGITS]}"
    if life.changed_after_evidence:
        link.title += f"; since then changed by {count(len(life.changed_after_evidence), 'record')}"
    link.checked(f"the evidence verifies: entry {index}")
    after = f", after entry {asked - 1}" if (asked := size_of(said.run.checkpoint)) else ""
    later = view.head.size - 1 - index if view.head is not None and index is not None else 0
    link.tell("asked", f"{said.run.finished} by the clock of the host{after} and before entry {index} of the log")
    link.tell(
        "since then", f"{count(later, 'record')} logged, {len(life.changed_after_evidence)} of them changed this unit"
    )
    for change in life.changed_after_evidence:
        link.tell("changed", change)
    return link.node()


def _files_node(dossier: Dossier, opened: list[OpenedRecord]) -> TraceNode:
    """Every file of the dossier has the digest that names it, and a record that leads to it."""
    link = Link("files", f"{count(len(dossier.files), 'file')} that the records name")
    for sha256, data in sorted(dossier.files.items()):
        if hashlib.sha256(data).hexdigest() != sha256:
            link.fault(f"the file {sha256} was changed: its bytes have another SHA-256")
    payloads = [payload for record in opened if (payload := payload_of(record.logged.bundle))]
    for sha256 in sorted(dossier.files.keys() - reachable(payloads, dossier.files.get).keys()):
        link.fault(f"no record of the unit leads to the file {sha256}")
    kept = {size_of(note) for record in opened if (note := checkpoint_of(record.predicate))}
    for size in sorted(dossier.consistency.keys() - kept):
        link.fault(f"a consistency proof from {size} entries that no record needs")
    if link.holds and dossier.files:
        link.checked("each has the SHA-256 that a record, or a file that a record names, says")
    return link.node()
