# SPDX-License-Identifier: Apache-2.0
"""A driver of somebody's that never comes back: told as that driver's, in time, with lock and journal in order."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from assay.backends.entry_points import comes_with_assay
from assay.errors import InfrastructureError, LinkError
from assay.pipeline import driver_faults, driver_limits
from assay.pipeline.driver_faults import answerable_flasher, answerable_power, answerable_transport
from assay.pipeline.driver_limits import Limit

DRIVER = """\
import ctypes, time
from assay.pipeline import driver_faults, driver_limits
driver_faults.CALL_LIMIT_S = driver_faults.STEP_LIMIT_S = 1.0
driver_faults.CLOSE_LIMIT_S, driver_limits.GRACE_S = 1.0, GRACE
from assay.interfaces.flasher import Action, FlashPlan, Identity
class Flasher:
    name = "the EEPROM"
    def identify(self):
        return Identity(probe="1", chip="00", kind="EEPROM")
    def plan(self, parts):
        return FlashPlan(tuple(parts), (Action("write"),))
    def write(self, plan, progress):
        progress(1, 2)
        HANG
    def close(self):
        pass
def open_it(address):
    return Flasher()
class Link:
    address = "far://x"
    def read(self, max_bytes, timeout_s):
        HANG
    def write(self, data):
        pass
    def drop_input(self):
        pass
    def close(self):
        pass
def open_link(address, baud):
    return Link()
"""
ASLEEP = "time.sleep(1000)"
DEAF = """\
while True:
            try:
                time.sleep(1000)
            except BaseException:
                pass"""
"""Swallows what interrupts it."""
POINTS = "[assay.flashers]\neeprom = eeprom:open_it\n[assay.transports]\nfar = eeprom:open_link\n"
BOARD = """\
schema = "assay.board/2"
firmware = "any"
name = "theirs"
revision = 0
[[flashers]]
driver = "eeprom"
"""
SMP = """\
schema = "assay.board/2"
firmware = "mcuboot"
name = "linked"
revision = 0
[serial]
baud = 115200
[mcuboot]
mode = "swap"
"""
BENCH = """\
schema = "assay.bench/1"
[[places]]
name = "desk"
board = "theirs"
flash = { eeprom = "" }
[[places]]
name = "link"
board = "linked"
port = "far://x"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "boards").mkdir()
    (tmp_path / "boards" / "theirs.toml").write_text(BOARD)
    (tmp_path / "boards" / "linked.toml").write_text(SMP)
    (tmp_path / "bench.toml").write_text(BENCH)
    (tmp_path / "app.bin").write_bytes(b"\x01\x02\x03\x04")
    info = tmp_path / "drivers" / "eeprom-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: eeprom\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    return tmp_path


def assay(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    settings = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(project / "drivers"),
        "ASSAY_LOCK_DIR": str(project / "locks"),
    }
    command = [sys.executable, "-m", "assay", *words]
    return subprocess.run(command, cwd=project, env=settings, capture_output=True, text=True, timeout=200, check=False)


def flash(project: Path) -> dict[str, object]:
    (project / "app.toml").write_text("")
    trust = assay(project, "keys", "trust", "--out", "trust.toml")
    assert trust.returncode == 0, trust.stderr
    words = ("flash", "--image", "app=app.bin", "--place", "desk", "--flasher", "eeprom", "--trust", "trust.toml")
    done = assay(project, *words, "--accept-unverified-image", "--json")
    assert "Traceback" not in done.stderr and "assay itself" not in done.stdout
    told = json.loads(done.stdout)
    assert done.returncode == told["status"]
    return dict(told)


def with_hang(project: Path, hang: str, call: str = "HANG", grace_s: float = 60.0) -> None:
    """`grace_s`: long where the call is interrupted, on however busy a machine."""
    text = DRIVER.replace("1.0, GRACE", f"1.0, {grace_s}")
    text = text.replace(call, hang, 1) if call != "HANG" else text.replace("HANG", hang)
    (project / "drivers" / "eeprom.py").write_text(text.replace("HANG", "pass"))


def holders(project: Path) -> list[object]:
    return list(json.loads(assay(project, "bench", "who", "--json").stdout)["holders"])


def test_a_write_that_does_not_come_back(project: Path) -> None:
    """Lock free, the run closed and not left to the next verb, the next flash told the same."""
    with_hang(project, ASLEEP)
    for _ in range(2):
        told = flash(project)
        assert told["status"] == 3 and told["layer"] == "flasher"
        assert told["error"] == "the flasher 'eeprom' did not come back from write within 1 s (eeprom.py, line 14)"
        assert holders(project) == []
    assert "unfinished" not in assay(project, "doctor").stdout


def test_a_write_that_swallows_what_interrupts_it(project: Path) -> None:
    """The process ends: its lock is free, and the next verb finds the run in the journal."""
    with_hang(project, DEAF, grace_s=1.0)
    told = flash(project)
    assert told["status"] == 3 and told["layer"] == "flasher"
    assert told["error"] == ("the flasher 'eeprom' did not come back from write within 1 s and cannot be interrupted")
    assert holders(project) == []
    with_hang(project, "pass")
    told = flash(project)
    assert told["error"] != "" and "Traceback" not in str(told)


def test_a_flasher_that_does_not_open(project: Path) -> None:
    with_hang(project, "time.sleep(1000)", "return Flasher()")
    told = assay(project, "bench", "ask", "desk")
    assert told.returncode == 3
    assert "the flasher 'eeprom' did not come back from opening it within 1 s (eeprom.py, line 18)" in told.stderr
    assert "assay.conformance.flashers" in told.stderr and holders(project) == []


def test_a_link_that_does_not_come_back(project: Path) -> None:
    """A transport of somebody's is found by the scheme of its address."""
    with_hang(project, ASLEEP)
    told = json.loads(assay(project, "bench", "ask", "link", "--json").stdout)
    assert told["status"] == 3 and told["layer"] == "port", told
    assert "the transport 'far' did not come back from read within" in told["error"]
    assert holders(project) == []


class Slow:
    """Calls of a driver, with a hang each."""

    def __init__(self, hang: Callable[[], object]) -> None:
        self.hang = hang

    def read(self, max_bytes: int, timeout_s: float) -> bytes:
        self.hang()
        return b""

    def on(self) -> None:
        self.hang()

    def write(self, plan: object, progress: Callable[[int, int], None]) -> None:
        for done in range(6):
            self.hang()
            progress(done, 6)

    def close(self) -> None:
        self.hang()


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("CALL_LIMIT_S", "STEP_LIMIT_S", "CLOSE_LIMIT_S"):
        monkeypatch.setattr(driver_faults, limit, 0.3)
    monkeypatch.setattr(driver_limits, "GRACE_S", 600.0)


def test_the_time_of_a_read_is_its_own() -> None:
    link = answerable_transport("far", lambda: Slow(lambda: time.sleep(1.0)))  # type: ignore[arg-type,return-value]
    assert link.read(1, 60.0) == b""
    link = answerable_transport("far", lambda: Slow(lambda: time.sleep(1000)))  # type: ignore[arg-type,return-value]
    with pytest.raises(LinkError, match="the transport 'far' did not come back from read within"):
        link.read(1, 0.01)


def test_a_transport_that_lacks_a_line_says_so() -> None:
    link = answerable_transport("far", lambda: Slow(list))  # type: ignore[arg-type,return-value]
    assert not hasattr(link, "set_line") and not hasattr(link, "breaks")


def test_progress_is_a_sign_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_faults, "STEP_LIMIT_S", 5.0)
    made = answerable_flasher("eeprom", lambda: Slow(lambda: time.sleep(1.0)))  # type: ignore[arg-type,return-value]
    seen: list[int] = []
    made.write(None, lambda done, _total: seen.append(done))  # type: ignore[arg-type]
    assert seen == [0, 1, 2, 3, 4, 5]


def test_a_driver_that_takes_longer_says_so() -> None:
    switch = Slow(lambda: time.sleep(1.0))
    switch.call_limit_s = 60.0  # type: ignore[attr-defined]
    answerable_power("led", lambda: switch).on()  # type: ignore[arg-type,return-value]


def test_what_hangs_once_is_told_once() -> None:
    made = answerable_flasher("eeprom", lambda: Slow(lambda: time.sleep(1000)))  # type: ignore[arg-type,return-value]
    with pytest.raises(InfrastructureError, match="did not come back from write"):
        made.write(None, lambda *_: None)  # type: ignore[arg-type]
    made.close()


def test_a_driver_that_catches_every_exception_is_interrupted() -> None:
    def hang() -> None:
        while True:
            try:
                time.sleep(1000)
            except Exception:
                continue

    switch = answerable_power("led", lambda: Slow(hang))  # type: ignore[arg-type,return-value]
    with pytest.raises(InfrastructureError, match=r"did not come back from on within 0.3 s \("):
        switch.on()


def test_our_own_drivers_are_not_watched() -> None:
    assert comes_with_assay("power", "manual") and not comes_with_assay("power", "led")
    made = answerable_power("manual", lambda: Slow(lambda: time.sleep(1.0)), bounded=False)  # type: ignore[arg-type,return-value]
    made.on()


def test_limits_may_be_nested() -> None:
    with Limit(60.0, lambda: LinkError("x", remedy="y")) as outer:
        with pytest.raises(driver_limits.NotBack), Limit(0.2, lambda: LinkError("x", remedy="y")):
            time.sleep(1000)
        assert outer.end_s > time.monotonic()
