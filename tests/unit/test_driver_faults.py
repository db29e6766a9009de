# SPDX-License-Identifier: Apache-2.0
"""A newcomer's driver with a fault is told as that driver's, with its line: no traceback, no fault of assay."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from assay.errors import InfrastructureError, LinkError
from assay.pipeline.driver_faults import answerable_flasher, answerable_power

SWITCH = """\
class Switch:
    def __init__(self, address):
        self.power = False
    def on(self):
        self.power = True
    def off(self):
        self.power = False
    def is_on(self):
        return self.power
def open_led(address):
    return Switch(address)
"""
BENCH = """\
schema = "assay.bench/1"
[[places]]
name = "desk"
board = "theirs"
port = "/dev/ttyS9"
power = { driver = "led", address = "x" }
"""
BOARD = """\
schema = "assay.board/2"
firmware = "mcuboot"
name = "theirs"
revision = 0
[serial]
baud = 115200
[mcuboot]
mode = "swap"
"""


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    (tmp_path / "boards").mkdir()
    (tmp_path / "boards" / "theirs.toml").write_text(BOARD)
    (tmp_path / "bench.toml").write_text(BENCH)
    info = tmp_path / "drivers" / "led-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: led\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[assay.power]\nled = led_switch:open_led\n")
    return tmp_path


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("self.power = True", "raise KeyError('oops')", "failed in on: KeyError: 'oops' (led_switch.py, line 5)"),
        ("return Switch(address)", "Switch(address)", "'NoneType' object has no attribute 'on'"),
        ("    def on(self):", "    def an(self):", "'Switch' object has no attribute 'on'"),
        ("(self, address)", "(self)", "failed in opening it: TypeError: Switch.__init__() takes 1"),
        ("def open_led(address):", "def open_led(address:", "does not load: SyntaxError: "),
        ("class Switch:", "import no_such_module\nclass Switch:", "does not load: No module named 'no_such_module'"),
        ("class Switch:", "1 / 0\nclass Switch:", "does not load: ZeroDivisionError: division by zero"),
    ],
)
def test_a_switch_with_a_fault(bench: Path, old: str, new: str, said: str) -> None:
    assert SWITCH.count(old) == 1
    (bench / "drivers" / "led_switch.py").write_text(SWITCH.replace(old, new))
    words = [sys.executable, "-m", "assay", "power", "on", "desk", "--json"]
    settings = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(bench / "drivers"), "ASSAY_LOCK_DIR": str(bench / "locks")}
    done = subprocess.run(words, cwd=bench, env=settings, capture_output=True, text=True, timeout=60, check=False)
    told = json.loads(done.stdout)
    assert done.returncode == 3 and said in told["error"] and "driver 'led'" in told["error"], done.stdout
    assert told["layer"] in ("power", "host") and told["remedy"]
    assert "Traceback" not in done.stderr and "assay itself" not in done.stdout + done.stderr


class Flasher:
    name = "the EEPROM"

    def identify(self) -> object:
        return "an EEPROM"

    def plan(self, _parts: object) -> object:
        return []

    def read_back(self, _plan: object, _progress: object) -> object:
        return None

    def write(self, _plan: object, _progress: object) -> None:
        raise LinkError("the EEPROM is not there", remedy="plug it in")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda made: made.identify(), "failed in identify: TypeError: expected Identity, not str"),
        (lambda made: made.plan(()), "failed in plan: TypeError: expected FlashPlan, not list"),
        (lambda made: made.read_back(None, None), "failed in read_back: TypeError: expected tuple, not NoneType"),
        (lambda made: made.close(), "failed in close: AttributeError: 'Flasher' object has no attribute 'close'"),
    ],
)
def test_a_flasher_with_a_fault(call: Callable[[object], object], said: str) -> None:
    made = answerable_flasher("eeprom", lambda: Flasher())  # type: ignore[arg-type,return-value]
    with pytest.raises(InfrastructureError) as told:
        call(made)
    assert told.value.message == f"the flasher 'eeprom' {said}"
    assert told.value.layer == "flasher" and "assay.conformance.flashers" in told.value.remedy
    assert isinstance(told.value.__cause__, TypeError | AttributeError)


def test_what_a_driver_says_in_our_words_stays_as_it_is() -> None:
    made = answerable_flasher("eeprom", lambda: Flasher())  # type: ignore[arg-type,return-value]
    assert made.name == "the EEPROM"
    with pytest.raises(LinkError, match=r"^the EEPROM is not there"):
        made.write(None, None)  # type: ignore[arg-type]

    def fails() -> object:
        raise LinkError("no relay at x", remedy="check it")

    with pytest.raises(LinkError, match=r"^no relay at x"):
        answerable_power("led", fails)  # type: ignore[arg-type]
