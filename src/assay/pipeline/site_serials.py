# SPDX-License-Identifier: Apache-2.0
"""The serial numbers of a site: its ledger, after it has learned what the site's own records say.

Guards: a ledger that was lost, or restored from an old copy, gives no number that a record names already.
Leaves to others: giving numbers (`backends.ledgers`), whether a record is genuine (`assay log verify`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from assay.errors import NotVerified
from assay.formats import sigstore_bundle
from assay.formats.statement_verifier import read_statement
from assay.model.predicates import Provisioning
from assay.model.profile import SerialScheme
from assay.model.record import RecordType

if TYPE_CHECKING:
    from assay.pipeline.run_journal import Run
    from assay.pipeline.site import Site

MARK = "log"


class SiteSerials:
    """Implements `interfaces.ledger.SerialNumbers`; tells `run` the number as soon as there is one."""

    def __init__(self, site: Site, run: Run) -> None:
        self._site = site
        self._run = run

    def assign(self, chip: bytes, scheme: SerialScheme, wanted: str | None = None) -> str:
        """The serial number of `chip`, from the ledger that has read all records."""
        learn_from_records(self._site)
        serial = self._site.serials.assign(chip, scheme, wanted)
        self._run.identify(serial=serial)
        return serial

    def adopt(self, chip: bytes, serial: str, source: str) -> None:
        """Note that `chip` has `serial`."""
        learn_from_records(self._site)
        self._site.serials.adopt(chip, serial, source)
        self._run.identify(serial=serial)

    def serial_of(self, chip: bytes) -> str | None:
        """The serial number of `chip`."""
        return self._site.serials.serial_of(chip)


def learn_from_records(site: Site) -> int:
    """Bring the ledger up to date with the provisioning records of the site's log; answers how many were new.

    Raises `DuplicateSerial` when a record contradicts the ledger, `NotVerified` when a record cannot be read: numbers
    are not given while it is unknown which are taken.
    """
    from assay.backends.records.record_store import RecordStore

    if not (site.folder / "log" / "checkpoint").exists():
        return 0
    store, ledger = RecordStore(site.folder), site.serials
    start, end, learned = ledger.mark(MARK), 0, 0
    for index, entry in store.entries(start=start):
        if entry.type is RecordType.PROVISIONING:
            statement = read_statement(sigstore_bundle.decode(store.record(entry.record)).envelope.payload)
            chip, serial = _identity(statement.predicate)
            ledger.adopt(chip, serial, f"record {index}")
            learned += 1
        end = index + 1
    if end > start:
        ledger.set_mark(MARK, end)
    return learned


def _identity(predicate: dict[str, object]) -> tuple[bytes, str]:
    """Chip and serial number in a provisioning record; older shapes of the predicate have both too."""
    chip, serial = predicate.get("chip"), predicate.get("serial")
    try:
        if isinstance(chip, str) and isinstance(serial, str):
            return bytes.fromhex(chip), serial
    except ValueError:
        pass
    raise NotVerified(
        f"a {Provisioning.__name__} record names no chip and serial number", remedy="see `assay log verify`"
    )
