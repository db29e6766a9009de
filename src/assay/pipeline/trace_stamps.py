# SPDX-License-Identifier: Apache-2.0
"""Archive stamps in a trace: those of a unit's records, and all of a site.

Guards: what came along is looked at, whether somebody needs it or not. Stamps that do not count break nothing here: who
needs one, and has none that counts, is refused with his record. Leaves to others: what they prove
(`formats.archive_stamp`), where they lie (`stamp_folder`).
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from assay.backends.named_file import read_beneath
from assay.backends.records.record_store import RECORD_SUFFIX, RECORDS
from assay.errors import NotVerified
from assay.formats.archive_stamp import archive_times
from assay.model.signer_limits import ProvedTime
from assay.model.trace import Dossier, TraceNode
from assay.model.trust import TrustFile
from assay.pipeline.stamp_folder import STAMPS, StampFolder, StampsOf, first_of
from assay.pipeline.trace_link import Link, count

SHOWN = 16
"""Hex digits of a bundle's SHA-256 that people are shown."""


def stamped(dossier: Dossier, trust: TrustFile) -> Dossier:
    """With the archive stamps of its records, where `trust` is asked."""
    stamps_of = first_of(trust.asking.stamps)
    digests = [hashlib.sha256(record.bundle).hexdigest() for record in dossier.records if record.bundle is not None]
    found = {sha256: tuple(stamps_of(sha256)) for sha256 in digests}
    return replace(dossier, stamps={sha256: stamps for sha256, stamps in found.items() if stamps})


def of_records(dossier: Dossier, trust: TrustFile) -> tuple[TraceNode, ...]:
    """What the archive stamps of the unit's records prove, if there are any."""
    if not dossier.stamps:
        return ()
    link = Link("stamps", f"Archive stamps of {count(len(dossier.stamps), 'record')}")
    bundles, words = dict[str, bytes](), dict[str, str]()
    for record in dossier.records:
        if record.bundle is not None:
            sha256 = hashlib.sha256(record.bundle).hexdigest()
            bundles[sha256] = record.bundle
            words[sha256] = f"entry {record.index}" if record.index is not None else "a record that is not logged"
    for sha256 in sorted(dossier.stamps.keys() - bundles.keys()):
        link.fault(f"archive stamps of {sha256}, which is no record of the unit")
    named = {sha256: words[sha256] for sha256 in sorted(dossier.stamps.keys() & bundles.keys())}
    for sha256, time in _proved(link, named, bundles.__getitem__, dossier.stamps.__getitem__, trust).items():
        link.checked(f"{named[sha256]} was there at {time.when:%Y-%m-%d %H:%M:%S} UTC, as {time.source} says")
    return (link.node(),)


def of_site(folder: Path, trust: TrustFile) -> tuple[TraceNode, ...]:
    """What all archive stamps in the site's folder prove, if there are any."""
    stamps = StampFolder(folder / STAMPS)
    if not (digests := stamps.bundles()):
        return ()
    link = Link("site/stamps", f"Archive stamps of the site: of {count(len(digests), 'statement')}")
    named = {sha256: sha256[:SHOWN] for sha256 in digests}
    proved = _proved(link, named, lambda sha256: _stated(folder, sha256), stamps.of, trust)
    if proved:
        link.checked(f"{len(proved)} say when a statement was there")
    return (link.node(),)


def _proved(
    link: Link, named: Mapping[str, str], bundle_of: Callable[[str], bytes], stamps_of: StampsOf, trust: TrustFile
) -> dict[str, ProvedTime]:
    """Since when bundles were there, by SHA-256; of the others `link` tells. `named`: all, in words for people."""
    found = dict[str, ProvedTime]()
    for sha256, words in named.items():
        try:
            times = archive_times(bundle_of(sha256), stamps_of(sha256), trust)
        except NotVerified as error:
            link.tell("not counted", f"{words}: {error.message}")
            continue
        if times:
            found[sha256] = times[0]
    vain = len(named) - len(found)
    link.title += f", {vain} of which proves nothing here" if vain else ""
    return found


def _stated(folder: Path, sha256: str) -> bytes:
    """The statement of the site with that SHA-256; empty when there is none."""
    for name in (f"{RECORDS}/{sha256}{RECORD_SUFFIX}", f"store/blobs/sha256/{sha256}"):
        with contextlib.suppress(OSError):
            return read_beneath(folder, name)
    return b""
