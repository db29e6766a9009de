# SPDX-License-Identifier: Apache-2.0
"""`assay twin` and `assay bench` as a person and a script use them: answers, exit statuses, what is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twin_firmware import ROOT, Firmware, firmware_for

from assay.drivers.locks.file_lock import FileLocks
from assay.drivers.twin.control import TwinControl
from assay.drivers.twin.twin_folder import TwinFolder

Assay = Callable[..., tuple[int, Any, str]]


@pytest.fixture(scope="session")
def arm() -> Firmware:
    return firmware_for("ast1030-evb")


@pytest.fixture
def assay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Assay]:
    """Runs a verb with --json in a site of its own; gives status, document and stderr."""
    monkeypatch.setenv("ASSAY_LOCK_DIR", str(tmp_path / "locks"))

    def run(*words: str, **environment: str) -> tuple[int, Any, str]:
        command = [sys.executable, "-m", "assay", *words, "--json", "--site", str(tmp_path)]
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, **environment}, timeout=200
        )
        return done.returncode, json.loads(done.stdout), done.stderr

    yield run
    for folder in (tmp_path / "twins").glob("*"):
        TwinControl(TwinFolder(folder)).stop()


def test_a_twins_life(assay: Assay, arm: Firmware, tmp_path: Path) -> None:
    status, made, _ = assay("twin", "create", "t1", "--board", "ast1030-evb")
    assert (status, made["running"], made["board"]) == (0, False, "ast1030-evb")
    status, running, _ = assay("twin", "start", "t1", "--rom", str(arm.rom), "--baud", "115200")
    assert (status, running["power"], running["baud"]) == (0, "on", 115200)
    assert running["owner_pid"] is None  # it lives until it is stopped
    assert assay("twin", "start", "t1")[1]["wire_pid"] == running["wire_pid"]
    assert assay("twin", "power", "cut", "t1")[1]["power"] == "off"
    assert assay("twin", "power", "cycle", "t1")[1]["power"] == "on"
    wrong = ("cut --at-flush 3", "off --at-flush 3", "cut --at-flush 3 --after 1", "cut --disk-seed 3")
    for action, *words in map(str.split, wrong):  # no disk; no cut; two moments; nothing is lost
        assert assay("twin", "power", action, "t1", *words)[0] == 2
    assert assay("twin", "status", "t1")[1]["power_ons"] == 2
    assert [twin["name"] for twin in assay("twin", "list")[1]["twins"]] == ["t1"]
    assert assay("twin", "stop", "t1")[1]["running"] is False
    status, answer, _ = assay("twin", "power", "on", "t1")
    assert (status, answer["result"]) == (3, "ERROR") and "assay twin start t1" in answer["remedy"]


def test_a_twins_switch_conforms(assay: Assay, arm: Firmware, tmp_path: Path) -> None:
    assay("twin", "start", "t1", "--board", "ast1030-evb", "--rom", str(arm.rom))
    suite = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--pyargs", "assay.conformance.power"]
    where = [f"--assay-driver-address={tmp_path / 'twins' / 't1'}", f"--assay-driver-absent={tmp_path / 'none'}"]
    done = subprocess.run(
        [*suite, "--assay-driver=twin", *where], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0 and "10 passed" in done.stdout, done.stdout + done.stderr


def test_another_wire(assay: Assay, arm: Firmware, tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text('schema = "assay.wire/1"\nbaud = 57600\nseed = 4\n[to_host]\nlost = 0.1\n')
    line = ("twin", "start", "t1", "--board", "ast1030-evb", "--rom", str(arm.rom), "--wire", str(bad))
    status, running, _ = assay(*line)
    assert (status, running["baud"], running["profile"]["to_host"]["lost"]) == (0, 57600, 0.1)
    end_s, counts = time.monotonic() + 100, {"bytes": 0}
    while counts["bytes"] <= 100 and time.monotonic() < end_s:  # the ROM says every second that it waits
        counts = assay("twin", "wire", "t1")[1]["faults"]["to_host"]
    assert counts["bytes"] > 100 and 1 <= counts["lost"] < counts["bytes"] / 3
    clean = tmp_path / "clean.toml"
    clean.write_text('schema = "assay.wire/1"\n')
    status, now, _ = assay("twin", "wire", "t1", str(clean))
    assert (status, now["baud"], now["faults"]["to_host"].get("lost")) == (0, None, None)
    assert TwinFolder(tmp_path / "twins" / "t1").read_settings().profile.seed == 4  # the next start's
    bad.write_text('schema = "assay.wire/1"\nbaudrate = 9600\n')
    status, answer, _ = assay("twin", "wire", "t1", str(bad))
    assert status == 2 and "bad.toml:2" in answer["error"] and "baud" in answer["error"]
    bad.write_text('schema = "assay.wire/1"\nbaud = 7\n')
    assert assay("twin", "wire", "t1", str(bad))[0] == 2


def test_a_twin_in_use_is_not_switched_off_unasked(assay: Assay, arm: Firmware, tmp_path: Path) -> None:
    assay("twin", "start", "t1", "--board", "ast1030-evb", "--rom", str(arm.rom))
    tty = str(tmp_path / "twins" / "t1" / "tty")
    hold = "import sys, time; from assay.drivers.locks.file_lock import FileLocks as L\n"
    hold += "lock = L().acquire(sys.argv[1], verb='update', place='t1'); print('held', flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", hold, tty], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        for words in (("power", "cut", "t1"), ("stop", "t1")):
            status, answer, _ = assay("twin", *words)
            assert status == 3 and f"t1 is used by assay update (pid {holder.pid}" in answer["error"]
            assert "--force" in answer["remedy"]
        status, who, _ = assay("bench", "who", "t1")
        assert status == 0 and who["holder"]["pid"] == holder.pid
        places = assay("bench", "list")[1]["places"]
        assert [(place["name"], place["state"], place["holder"]["verb"]) for place in places] == [
            ("t1", "power on", "update")
        ]
        assert assay("twin", "power", "cut", "t1", "--force")[1]["power"] == "off"
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    assert FileLocks().holder(tty) is None
    assert assay("twin", "power", "on", "t1")[0] == 0


def test_qemu_missing(assay: Assay, arm: Firmware, tmp_path: Path) -> None:
    empty = tmp_path / "bin"
    empty.mkdir()
    status, answer, _ = assay("twin", "start", "t1", "--board", "ast1030-evb", "--rom", str(arm.rom), PATH=str(empty))
    assert status == 3 and answer["error"] == "qemu-system-arm is not installed"
    assert answer["remedy"] == "sudo apt-get install -y qemu-system-arm"


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("twin", "create", "a/b", "--board", "ast1030-evb"), 2, "cannot be a twin's name"),
        (("twin", "create", "..", "--board", "ast1030-evb"), 2, "cannot be a twin's name"),
        (("twin", "create", "x" * 300, "--board", "ast1030-evb"), 2, "cannot be a twin's name"),
        (("twin", "create", "t", "--board", "no-such-board"), 2, "no-such-board"),
        (("twin", "status", "t"), 2, "no twin named 't'"),
        (("twin", "start", "t", "--board", "ast1030-evb", "--rom", "/nonexistent"), 2, "no mask ROM at /nonexistent"),
        (("bench", "who", "nobody"), 2, "no place called 'nobody'"),
    ],
)
def test_what_cannot_be(assay: Assay, words: tuple[str, ...], status: int, said: str) -> None:
    got, answer, _ = assay(*words)
    assert got == status and said in answer["error"] and answer["remedy"]


def test_a_twin_of_a_killed_run_dies_with_it(arm: Firmware, tmp_path: Path) -> None:
    run = (
        "import sys, time, os; from pathlib import Path; sys.path.insert(0, sys.argv[3])\n"
        "from assay.drivers.twin.lifecycle import start_twin\n"
        "from assay.drivers.twin.twin_folder import create_twin\n"
        "from twin_firmware import board_of\n"
        "twin = start_twin(create_twin(Path(sys.argv[1]), 't', board_of('ast1030-evb')), Path(sys.argv[2]),"
        " owner_pid=os.getpid())\n"
        "print('up', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", run, str(tmp_path), str(arm.rom), str(Path(__file__).parent)]
    owner = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert owner.stdout is not None and owner.stdout.readline() == b"up\n"
    status = TwinControl(TwinFolder(tmp_path / "t")).status()
    owner.send_signal(signal.SIGKILL)
    owner.communicate()
    deadline_s = time.monotonic() + 20
    while any(Path(f"/proc/{pid}/exe").exists() for pid in (status.wire_pid, status.qemu_pid)):
        assert time.monotonic() < deadline_s, "the twin outlived its owner"
        time.sleep(0.005)
    assert not (tmp_path / "t" / "tty").is_symlink()
