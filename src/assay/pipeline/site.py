# SPDX-License-Identifier: Apache-2.0
"""A site (CI, factory, field): one folder with keys, store, records, log, journal and twins, and their parts.

Guards: where each thing lies, in one place. Every part is imported and made when it is first asked for.
"""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from assay.errors import StorageError

if TYPE_CHECKING:
    from assay.backends.ledgers.serial_ledger import SerialLedger
    from assay.backends.records.record_store import RecordStore
    from assay.backends.signers.service import SignerProcess
    from assay.backends.stores.oci_layout import OciLayoutStore
    from assay.interfaces.clock import Clock
    from assay.interfaces.recorder import Recorder
    from assay.interfaces.signer import SignerService
    from assay.model.keyless import KeylessSettings
    from assay.pipeline.journal import JournalDatabase
    from assay.pipeline.run_journal import Run


class Site:
    """The parts of the site in `folder` (made on first use)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def keys_dir(self) -> Path:
        """Private keys; no build and no test can read it."""
        return self.folder / "keys"

    @property
    def twins_dir(self) -> Path:
        """Emulated boards of this site."""
        return self.folder / "twins"

    @property
    def cache_dir(self) -> Path:
        """What can be made again."""
        return self.folder / "cache"

    @cached_property
    def clock(self) -> Clock:
        """The host's clock."""
        from assay.backends.clocks.system_clock import SystemClock

        return SystemClock()

    @cached_property
    def keys(self) -> SignerProcess:
        """The signer process of this site."""
        from assay.backends.signers.service import SignerProcess
        from assay.drivers.locks.file_lock import lock_folder

        self._check_keys()
        return SignerProcess(self.keys_dir, lock_folder())

    @cached_property
    def signers(self) -> SignerService:
        """Whoever signs for the roles: the signer process; the builder signs keyless where `keyless.toml` says so."""
        if (settings := self.keyless) is None:
            return self.keys
        from assay.backends.signers.keyless import KeylessSigners

        return KeylessSigners(self.keys, settings, self.folder, self.clock)

    @property
    def keyless(self) -> KeylessSettings | None:
        """How the builder signs keyless; None when it signs with its key. Raises `ManifestFault`."""
        path = self.folder / "keyless.toml"
        if not os.path.lexists(path):
            return None
        from assay.backends.named_file import read_kept
        from assay.model.keyless import KeylessSettings
        from assay.stages.manifest.read import read_manifest

        try:
            raw = read_kept(path)
        except OSError as error:
            raise StorageError(f"{path} cannot be read: {error.strerror}", remedy="make it readable") from error
        return read_manifest(raw, str(path), KeylessSettings)

    @cached_property
    def recorder(self) -> Recorder:
        """The record keeper of this site."""
        from assay.backends.records.site_recorder import SiteRecorder

        return SiteRecorder(self.folder, self.signers, self.clock)

    @cached_property
    def records(self) -> RecordStore:
        """The records of this site and its log, for reading."""
        from assay.backends.records.record_store import RecordStore

        return RecordStore(self.folder)

    @cached_property
    def store(self) -> OciLayoutStore:
        """The store of releases."""
        from assay.backends.stores.oci_layout import OciLayoutStore

        return OciLayoutStore(self.folder / "store")

    @cached_property
    def serials(self) -> SerialLedger:
        """The ledger of serial numbers."""
        from assay.backends.ledgers.serial_ledger import SerialLedger

        return SerialLedger(self.folder / "serials.sqlite")

    @cached_property
    def journals(self) -> JournalDatabase:
        """The journals of all runs."""
        from assay.pipeline.journal import JournalDatabase

        return JournalDatabase(self.folder / "journal.sqlite", clock=self.clock, settle=self._settle)

    def _check_keys(self) -> None:
        """`StorageError` where a log is, and not the keys that signed it: new ones would go on with nothing."""
        if (self.folder / "log" / "checkpoint").exists() and not (self.keys_dir / "keys.toml").exists():
            raise StorageError(
                f"the keys of this site are gone: {self.keys_dir / 'keys.toml'} is missing, and its log is there",
                remedy="restore the folder of keys from a backup, or begin another site (--site)",
            )

    def _settle(self, run: Run) -> None:
        from assay.pipeline.recovery import settle

        settle(self, run)
