# SPDX-License-Identifier: Apache-2.0
"""The site that a unit's dossier comes from: all of its log, its records and attachments, and its store of releases.

Guards: a byte that was changed in any of them is named, also when it belongs to another unit: a log that was tampered
with in one place is not to be relied on in another. What an interrupted process left in the outbox is told and is no
fault.
Leaves to others: the unit's own history (`trace`). Not covered: docs/reference/trace lists it.
"""

from __future__ import annotations

import re
import ssl
from pathlib import Path

from assay.backends.named_file import read_kept
from assay.backends.records.outbox import waiting
from assay.backends.records.record_store import RecordStore
from assay.formats.device_certificate import is_ca_certificate_of
from assay.formats.tlog_tiles import CHECKPOINT_PATH
from assay.model.trace import Dossier, LinkStatus, Trace, TraceNode
from assay.model.trust import Role, TrustFile
from assay.pipeline import trace_stamps
from assay.pipeline.stamp_folder import STAMPS, with_folder
from assay.pipeline.trace import verify_dossier
from assay.pipeline.trace_collect import SiteReading
from assay.pipeline.trace_link import Link, count
from assay.pipeline.trace_store import verify_store
from assay.stages.records.log_report import LogFault
from assay.stages.records.verify import verify_log

READS_MAX = 3
"""Readings, when other runs append to the log meanwhile; each takes tenths of a second, and appends are rarer."""

_OF_AN_UNFINISHED_RUN = re.compile(r"log (tile/.+)|record ([0-9a-f]{64})")
"""Links of the log's report that are left behind when a recorder is killed, and gone after its next run."""


def trace_site(
    folder: Path, serial: str, trust: TrustFile, trust_sha256: str, *, unit_only: bool = False
) -> tuple[Dossier, Trace]:
    """The dossier and the trace of unit `serial` of the site in `folder`, as they were at one checkpoint of its log.

    `unit_only` leaves out what is about the site as a whole. Raises `UsageFault` for a serial number that nobody knows.
    """
    trust = with_folder(trust, folder / STAMPS)
    for _ in range(READS_MAX):
        reading = SiteReading(folder)
        dossier = trace_stamps.stamped(reading.dossier(serial), trust)
        nodes = () if unit_only else verify_site(folder, trust)
        trace = verify_dossier(dossier, trust, trust_sha256, "site", nodes)
        if not trace.root.broken or _note(folder) == reading.log.note:
            break  # what is broken is not broken because the log grew under our hands
    return dossier, trace


def _note(folder: Path) -> bytes:
    try:
        return read_kept(folder / "log" / CHECKPOINT_PATH)
    except OSError:
        return b""


def verify_site(folder: Path, trust: TrustFile) -> tuple[TraceNode, ...]:
    """What is wrong with the site in `folder` as a whole, if anything is."""
    nodes = (_log_node(folder, trust), verify_store(folder / "store"), _ca_node(folder / "device-ca", trust))
    return (*nodes, *trace_stamps.of_site(folder, trust))


def _ca_node(folder: Path, trust: TrustFile) -> TraceNode:
    """The device CA's own certificates, which other people's tools ask for; assay itself trusts keys only."""
    link = Link("site/device-ca", "Certificate of the device CA")
    for path in sorted(folder.glob("*.der")) if folder.is_dir() else ():
        try:
            der = read_kept(path)
        except OSError as error:
            link.fault(f"{path.name} cannot be read: {error.strerror}")
            continue
        key = next((key for key in trust.keys_for(Role.DEVICE_CA) if is_ca_certificate_of(der, key)), None)
        if key is None:
            link.fault(f"{path.name} is not the certificate of a device CA of this trust file")
            continue
        link.checked(f"{path.name} is its own", key)
        pem = path.with_suffix(".pem")
        if pem.is_file() and pem.read_bytes() != ssl.DER_cert_to_PEM_cert(der).encode("ascii"):
            link.fault(f"{pem.name} is not the certificate in {path.name}")
    for pem in sorted(folder.glob("*.pem")) if folder.is_dir() else ():
        if not pem.with_suffix(".der").is_file():
            link.fault(f"{pem.name} is there, and the certificate {pem.with_suffix('.der').name} is not")
    return link.node()


def _log_node(folder: Path, trust: TrustFile) -> TraceNode:
    link = Link("site/log", "Log, records and attachments of the whole site")
    pending = waiting(folder / "outbox.sqlite") or set()
    report = verify_log(RecordStore(folder), trust)
    for fault in report.faults:
        if pending and _is_unfinished(fault, pending):
            link.tell("unfinished", f"{fault.link} {fault.what}: its recorder was stopped, the next run finishes it")
        else:
            link.add(_broken(fault))
    if not report.faults:
        link.checked(f"all {report.size} entries, {report.records} records, {count(report.attachments, 'attachment')}")
    if pending:
        link.tell(
            "outbox", f"{count(len(pending), 'record')} on the way into the log: the next verb that records finishes it"
        )
    return link.node()


def _broken(fault: LogFault) -> TraceNode:
    name = fault.link.replace(" ", "/", 1).split(" ")[0]
    return TraceNode(
        link=f"site/{name}",
        title=fault.link.capitalize(),
        status=LinkStatus.BROKEN,
        faults=(f"{fault.link} {fault.what}",),
    )


def _is_unfinished(fault: LogFault, pending: set[str]) -> bool:
    match = _OF_AN_UNFINISHED_RUN.fullmatch(fault.link)
    if match is None:
        return False
    return match.group(2) in pending if match.group(2) else "is not covered" in fault.what
