# SPDX-License-Identifier: Apache-2.0
"""A serial number belongs to one chip for ever: whoever asks, however many ask at once, and however they are killed."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from assay.backends.ledgers.serial_ledger import SerialLedger
from assay.errors import DuplicateSerial, Refused, StorageError, UsageFault
from assay.model.profile import SerialScheme

SCHEME = SerialScheme(prefix="ASY-", digits=6)

WORKER = """
import random, sys
from pathlib import Path
from assay.backends.ledgers.serial_ledger import SerialLedger
from assay.model.profile import SerialScheme
ledger, out = SerialLedger(Path(sys.argv[1])), open(sys.argv[2], "a", buffering=1)
dice = random.Random(int(sys.argv[3]))
for turn in range(int(sys.argv[4])):
    chip = dice.randrange(int(sys.argv[5])).to_bytes(16, "big")
    serial = ledger.assign(chip, SerialScheme(prefix="ASY-", digits=6))
    out.write(f"{chip.hex()} {serial}\\n")
"""


@pytest.fixture
def ledger(tmp_path: Path) -> SerialLedger:
    return SerialLedger(tmp_path / "site" / "serials.sqlite")


def chip(number: int) -> bytes:
    return number.to_bytes(16, "big")


def test_the_same_chip_gets_the_same_number(ledger: SerialLedger, tmp_path: Path) -> None:
    first = ledger.assign(chip(1), SCHEME)
    assert first == "ASY-000001"
    assert ledger.assign(chip(1), SCHEME) == first
    assert SerialLedger(tmp_path / "site" / "serials.sqlite").assign(chip(1), SCHEME) == first
    assert ledger.assign(chip(2), SCHEME) == "ASY-000002"


def test_a_number_of_the_user_is_kept_and_skipped_by_the_scheme(ledger: SerialLedger) -> None:
    assert ledger.assign(chip(1), SCHEME, "ASY-000001") == "ASY-000001"
    assert ledger.assign(chip(2), SCHEME) == "ASY-000002"


@pytest.mark.parametrize("how", ["DELETE FROM units", "UPDATE units SET serial = 'ASY-000009'"])
def test_no_other_program_frees_a_number(ledger: SerialLedger, tmp_path: Path, how: str) -> None:
    assert ledger.assign(chip(1), SCHEME) == "ASY-000001"
    with (
        sqlite3.connect(tmp_path / "site" / "serials.sqlite") as other,
        pytest.raises(sqlite3.IntegrityError, match=r"never freed|stays with its chip"),
    ):
        other.execute(how)
    assert ledger.serial_of(chip(1)) == "ASY-000001"


@pytest.mark.parametrize("taken", ["LOT-1", "lot-1"])
def test_a_number_of_another_unit_is_refused(ledger: SerialLedger, taken: str) -> None:
    ledger.assign(chip(1), SCHEME, "LOT-1")
    with pytest.raises(DuplicateSerial, match=chip(1).hex()):
        ledger.assign(chip(2), SCHEME, taken)
    assert ledger.serial_of(chip(2)) is None


def test_a_chip_never_gets_a_second_number(ledger: SerialLedger) -> None:
    ledger.assign(chip(1), SCHEME)
    with pytest.raises(DuplicateSerial, match="already"):
        ledger.assign(chip(1), SCHEME, "OTHER-1")
    assert ledger.assign(chip(1), SCHEME, "ASY-000001") == "ASY-000001"


@pytest.mark.parametrize("bad", ["", "LOT-1/SN15", "..", "a b", "x" * 300, "A..B", "-a", "ä"])
def test_a_number_that_is_none_is_refused(ledger: SerialLedger, bad: str) -> None:
    with pytest.raises(UsageFault):
        ledger.assign(chip(1), SCHEME, bad)
    assert ledger.serial_of(chip(1)) is None


def test_a_scheme_ends(ledger: SerialLedger) -> None:
    short = SerialScheme(prefix="X", digits=1)
    assert [ledger.assign(chip(n), short) for n in range(9)][-1] == "X9"
    with pytest.raises(Refused, match="no serial number is left"):
        ledger.assign(chip(9), short)


def test_a_lost_ledger_learns_from_records_and_fills_no_gaps(ledger: SerialLedger) -> None:
    ledger.adopt(chip(1), "ASY-000001", "record")
    ledger.adopt(chip(5), "ASY-000005", "record")
    ledger.adopt(chip(5), "ASY-000005", "record")
    assert ledger.assign(chip(5), SCHEME) == "ASY-000005"
    assert ledger.assign(chip(9), SCHEME) == "ASY-000006"


def test_a_record_that_contradicts_the_ledger_is_loud(ledger: SerialLedger) -> None:
    ledger.assign(chip(1), SCHEME, "A1")
    with pytest.raises(DuplicateSerial):
        ledger.adopt(chip(2), "A1", "record")
    with pytest.raises(DuplicateSerial):
        ledger.adopt(chip(1), "A2", "record")


def test_marks_are_kept(ledger: SerialLedger) -> None:
    assert ledger.mark("log") == 0
    ledger.set_mark("log", 7)
    assert ledger.mark("log") == 7


def test_a_damaged_file_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "serials.sqlite"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(StorageError, match="records"):
        SerialLedger(path).assign(chip(1), SCHEME)


def test_a_folder_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "site").write_text("")
    with pytest.raises(StorageError):
        SerialLedger(tmp_path / "site" / "serials.sqlite").assign(chip(1), SCHEME)


def test_it_syncs_before_it_answers(ledger: SerialLedger, tmp_path: Path) -> None:
    ledger.assign(chip(1), SCHEME)
    with sqlite3.connect(tmp_path / "site" / "serials.sqlite") as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert ledger._connection is not None
    assert ledger._connection.execute("PRAGMA synchronous").fetchone() == (2,)


def _worker(tmp_path: Path, name: str, seed: int, turns: int, chips: int) -> subprocess.Popen[bytes]:
    arguments = [str(tmp_path / "serials.sqlite"), str(tmp_path / f"{name}.out"), str(seed), str(turns), str(chips)]
    return subprocess.Popen([sys.executable, "-c", WORKER, *arguments])


def _wait_for_answers(tmp_path: Path, names: list[str]) -> None:
    """Until each of these processes has given a number: a busy machine starts them slowly."""
    deadline_s = time.monotonic() + 200
    while not all((file := tmp_path / f"{name}.out").exists() and file.stat().st_size for name in names):
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


def _given(tmp_path: Path) -> dict[str, str]:
    """Chip to number over all answers that any process gave; asserts one number for each chip and back."""
    owners: dict[str, str] = {}
    numbers: dict[str, str] = {}
    for file in tmp_path.glob("*.out"):
        for line in file.read_text().splitlines():
            owner, _, serial = line.partition(" ")
            if len(serial) == len("ASY-000001"):  # the last line of a killed process may be torn
                assert numbers.setdefault(owner, serial) == serial
                assert owners.setdefault(serial, owner) == owner
    return numbers


def test_many_processes_give_no_number_twice(tmp_path: Path) -> None:
    workers = [_worker(tmp_path, f"w{n}", n, 40, 50) for n in range(4)]
    assert [worker.wait(timeout=250) for worker in workers] == [0, 0, 0, 0]
    assert len(_given(tmp_path)) > 40


def test_killed_processes_give_no_number_twice(tmp_path: Path) -> None:
    dice = random.Random(20261123)
    for turn in range(12):
        workers = [_worker(tmp_path, f"k{turn}-{n}", turn * 2 + n, 10**6, 10**6) for n in range(2)]
        _wait_for_answers(tmp_path, [f"k{turn}-{n}" for n in range(2)])
        time.sleep(dice.random() * 0.1)
        for worker in workers:
            os.kill(worker.pid, signal.SIGKILL)
            worker.wait()
    given = _given(tmp_path)
    assert len(given) > 20
    ledger = SerialLedger(tmp_path / "serials.sqlite")
    for owner, serial in given.items():
        assert ledger.serial_of(bytes.fromhex(owner)) == serial
