# SPDX-License-Identifier: Apache-2.0
"""Many entries under one checkpoint: how often the disk is waited for, and how little the proof of one reads."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from memory_signer import MemorySigner, trust_in

from assay.backends.logs.tile_folder import TileFolder
from assay.backends.logs.tile_log import TileLog
from assay.cli.main import main
from assay.errors import NotVerified
from assay.formats import log_entry, tlog_tiles
from assay.model.record import LogEntry, RecordType
from assay.model.trust import TrustFile
from assay.pipeline.log_prove import prove_entry

MANY = 100_000
SECONDS_MAX = 60
"""Far more than a batch takes, far less than an fsync for each entry would on a machine that does nothing else."""

SIGNER = MemorySigner()


ENTRY = log_entry.encode(LogEntry(type=RecordType.RUN, record="0" * 64, payload="0" * 64, serial="U-1"))


def entry(number: int) -> bytes:
    return ENTRY.replace(b"0" * 64, b"%064x" % number)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrustFile]:
    """A log of 100,000 entries, appended as one batch. Not to be changed."""
    folder = tmp_path_factory.mktemp("large") / "log"
    log = TileLog(folder, SIGNER)
    log.open(may_create=True)
    data = [entry(number) for number in range(MANY)]
    begun_s, synced = time.monotonic(), 0
    with pytest.MonkeyPatch.context() as patch:
        from assay.backends import durable_file

        real = durable_file.os.fsync

        def count(descriptor: int) -> None:
            nonlocal synced
            synced += 1
            real(descriptor)

        patch.setattr(durable_file.os, "fsync", count)
        log.append(data)
    assert time.monotonic() - begun_s < SECONDS_MAX
    files = len(list(tlog_tiles.tiles_of(MANY)))
    assert synced < 3 * files  # a file, its folder, and some folders that were made: and none for each entry
    return folder, trust_in(SIGNER, log.trusted())


class CountedFolder(TileFolder):
    """Counts what is opened."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.opened: list[str] = []

    def file(self, path: str) -> bytes:
        self.opened.append(path)
        return super().file(path)


@pytest.mark.parametrize("index", [0, 255, 256, 33_333, 65_535, 65_536, MANY - 1])
def test_the_proof_of_one_reads_a_few_files(large: tuple[Path, TrustFile], index: int) -> None:
    folder, trust = large
    log = CountedFolder(folder)
    found = prove_entry(log, trust, index)
    assert (found.entry.record, found.head.size) == (f"{index:064x}", MANY)
    assert len(log.opened) <= 2 + 2 * 3, log.opened  # checkpoint, bundle, and two tiles of each of three levels
    assert sum(path.startswith("tile/entries") for path in log.opened) == 1


def test_one_more_entry_costs_no_more_than_in_a_small_log(
    large: tuple[Path, TrustFile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    real = TileFolder.file
    shutil.copytree(large[0], tmp_path / "log")

    def file(self: TileFolder, path: str) -> bytes:
        opened.append(path)
        return real(self, path)

    monkeypatch.setattr(TileFolder, "file", file)
    TileLog(tmp_path / "log", SIGNER).append([entry(MANY)])
    assert len(opened) < 20, opened


def test_a_changed_tile_or_entry_ends_the_proof(large: tuple[Path, TrustFile], tmp_path: Path) -> None:
    """Only of entries whose way to the root it is on."""
    folder, trust = large
    shutil.copytree(folder, tmp_path / "log")
    log = TileFolder(tmp_path / "log")
    for index, path in ((131 * 256 - 1, "tile/entries/130"), (131 * 256 - 2, "tile/0/130")):
        file = tmp_path / "log" / path
        good = file.read_bytes()
        file.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
        with pytest.raises(NotVerified):
            prove_entry(log, trust, index)
        prove_entry(log, trust, 0)
        file.write_bytes(good)
        prove_entry(log, trust, index)


def test_the_verb(tmp_path: Path) -> None:
    def assay(*words: str) -> tuple[int, str]:
        found = CliRunner().invoke(main, [*words, "--site", str(tmp_path / "site")])
        return found.exit_code, found.stdout

    assert assay("log", "prove", "0")[0] == 2
    assert assay("keys", "init")[0] == 0
    assert assay("log", "prove", "0")[0] == 4
    from assay.pipeline.site import Site

    site = Site(tmp_path / "site")
    TileLog(tmp_path / "site" / "log", site.signers).append([entry(number) for number in range(3)])
    status, said = assay("log", "prove", "1", "--json")
    assert (status, len(json.loads(said)["proof"])) == (0, 2)
    assert assay("log", "prove", "1")[1].startswith("entry 1 of 3 of the log assay.local/")
    assert assay("log", "prove", "3")[0] == 4
