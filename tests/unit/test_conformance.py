# SPDX-License-Identifier: Apache-2.0
"""The conformance suites: the built-in drivers pass, and a driver that breaks its word does not."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import tty
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from esp_rom import EspRom
from nrf_chip import NrfChip, serve_bits, serve_words
from pyocd_mock_probe import plugged_in
from relay_boards import SerialRelayBoard, on_a_port, web_relay
from test_flash_dfu import Desk
from test_flash_openocd import config as openocd_config
from uf2_bootloader import Uf2Bootloader

PYOCD_CASES = "" if "ASSAY_LONG_TESTS" in os.environ else "not twice_the_same and not written_is_read"
"""Each call of pyOCD costs 1.2 s for its imports: two cases are left to who sets the variable."""

FAULTY = """
from assay.drivers.power.switch import Switch
from assay.drivers.locks.file_lock import FileLocks
from assay.drivers.serial_transport import SerialTransport, open_serial
from assay.interfaces.flasher import Action, FlashPlan, Identity, ReadBack

class Deaf(Switch):
    def tell(self, on):
        pass
    def ask(self):
        return True

class Toggle(Switch):
    state = False
    def tell(self, on):
        Toggle.state = not Toggle.state
    def ask(self):
        return None
    def is_on(self):
        return Toggle.state

class Raw(Switch):
    def __init__(self, address):
        super().__init__()
        self.address = address
    def tell(self, on):
        open(self.address, "w").write("1" if on else "0")

class Believing:
    name = "one that believes"
    def identify(self):
        return Identity(probe="1")
    def plan(self, parts):
        return FlashPlan(tuple(parts), tuple(Action("write", where=p.where, size=p.size) for p in parts))
    def write(self, plan, progress):
        progress(1, 1)
    def read_back(self, plan, progress):
        return tuple(ReadBack(p.name, p.where, p.size, p.sha256, "bytes") for p in plan.parts)
    def reset(self):
        pass
    close = reset

def believing(address):
    return Believing()

def deaf(address):
    return Deaf()

def toggle(address):
    return Toggle()

def raw(address):
    return Raw(address)

def hasty(address, baud):
    link = open_serial(address, baud)
    link.read = lambda most, timeout_s: SerialTransport.read(link, most, 0.0)
    return link

class Everybody(FileLocks):
    def _try(self, port, mine):
        return super()._try(port + str(mine.holder.pid), mine)
"""


def conform(folder: Path, suite: str, *options: str, paths: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--pyargs", f"assay.conformance.{suite}"]
    environment = {**os.environ, "ASSAY_LOCK_DIR": str(folder / "locks"), "PYTHONPATH": f"{folder}:{paths}"}
    return subprocess.run(
        [*command, *options], cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def passed_all(done: subprocess.CompletedProcess[str], at_least: int) -> None:
    assert done.returncode == 0, done.stdout + done.stderr
    counted = re.search(r"(\d+) passed\b", done.stdout)
    assert counted is not None and int(counted[1]) >= at_least, done.stdout


def test_the_file_switch_of_a_program_conforms(tmp_path: Path) -> None:
    state = tmp_path / "state"
    options = [
        f'on=["touch", "{state}"]', f'off=["rm", "-f", "{state}"]', f'status=["test", "-e", "{state}"]'
    ]  # fmt: skip
    words = [word for option in options for word in ("--assay-driver-option", option)]
    done = conform(tmp_path, "power", "--assay-driver=program", "--assay-driver-address=x", *words)
    assert "9 passed, 1 skipped" in done.stdout, done.stdout


@pytest.mark.parametrize("feedback", ["true", "false"])
def test_the_serial_relay_conforms(feedback: str, tmp_path: Path) -> None:
    words = ["--assay-driver=serial-relay", f"--assay-driver-option=feedback={feedback}"]
    with on_a_port(SerialRelayBoard()) as port:
        where = [f"--assay-driver-address={port}", "--assay-driver-absent=/dev/no-such-relay"]
        passed_all(conform(tmp_path, "power", *words, *where), 10)


@pytest.mark.parametrize("kind", ["shelly", "shelly1", "tasmota"])
def test_the_web_relays_conform(kind: str, tmp_path: Path) -> None:
    words = ["--assay-driver=http", f"--assay-driver-option=kind={kind}", "--assay-driver-absent=127.0.0.1:1"]
    with web_relay() as relay:
        passed_all(conform(tmp_path, "power", *words, f"--assay-driver-address={relay.address}"), 10)


@pytest.fixture
def echo() -> Iterator[str]:
    """A port whose far end sends everything back."""
    ours, theirs = os.openpty()
    tty.setraw(theirs)

    def run() -> None:
        with suppress(OSError):
            while data := os.read(ours, 4096):
                while data:
                    data = data[os.write(ours, data) :]

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield os.ttyname(theirs)
    os.close(theirs)
    thread.join(5)
    os.close(ours)


def test_the_serial_transport_conforms(echo: str, tmp_path: Path) -> None:
    where = [f"--assay-driver-address={echo}", "--assay-driver-absent=/dev/no-such-port"]
    passed_all(conform(tmp_path, "transports", "--assay-driver=serial", *where), 13)


def test_the_udp_transport_conforms(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
        far.bind(("127.0.0.1", 0))

        def run() -> None:
            while data := far.recvfrom(65535):
                if data[0] == b"end":
                    return
                far.sendto(*data)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        address, nobody = f"udp://127.0.0.1:{far.getsockname()[1]}", f"udp://{'x' * 64}"
        where = [f"--assay-driver-address={address}", f"--assay-driver-absent={nobody}"]
        passed_all(conform(tmp_path, "transports", "--assay-driver=udp", *where), 13)
        far.sendto(b"end", far.getsockname())
        thread.join(5)


def test_the_locks_conform(tmp_path: Path) -> None:
    passed_all(conform(tmp_path, "locks", "--assay-driver=assay.drivers.locks.file_lock:FileLocks"), 9)


def test_the_uf2_flasher_conforms(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    options = ["family=0xe48bff56", 'board_id="RPI-RP2"', "wait_s=20", "taken_timeout_s=20"]
    words = [word for option in options for word in ("--assay-driver-option", option)]
    where = [f"--assay-driver-address={volume}", "--assay-driver-absent=/no/such/volume", "--assay-flash-at=0x10000000"]
    with Uf2Bootloader(volume, returns=True):
        done = conform(tmp_path, "flashers", "--assay-driver=uf2", *words, *where)
    assert "6 passed, 1 skipped" in done.stdout, done.stdout


def test_the_openocd_flasher_conforms(tmp_path: Path) -> None:
    with serve_bits(NrfChip()) as port:
        options = [f'config=["{openocd_config(tmp_path, port)}"]', "serial=false", "chip_address=0x10000060"]
        words = [word for option in options for word in ("--assay-driver-option", option)]
        at = ["--assay-flash-at=0x1000", "--assay-flash-bytes=200", "--assay-driver-absent=no-such-probe"]
        passed_all(conform(tmp_path, "flashers", "--assay-driver=openocd", *words, *at), 7)


def test_the_pyocd_flasher_conforms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve_words(NrfChip()) as port:
        probe = plugged_in(tmp_path / "site", AAAA1=port)
        monkeypatch.setenv("ASSAY_MOCK_PROBES", probe["ASSAY_MOCK_PROBES"])
        words = ["--assay-driver-option", 'target="nrf52840"', "--assay-flash-at=0x1000", "--assay-flash-bytes=64"]
        where = ["--assay-driver-address=AAAA1", "--assay-driver-absent=AAA"]
        some = ["-k", PYOCD_CASES] if PYOCD_CASES else []
        done = conform(tmp_path, "flashers", "--assay-driver=pyocd", *words, *where, *some, paths=probe["PYTHONPATH"])
        assert done.returncode == 0 and ("5 passed, 2 deselected" if some else "7 passed") in done.stdout, done.stdout


def test_the_dfu_util_flasher_conforms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mock of the program: what our side makes of it, and nothing of what a device does."""
    desk = Desk(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    options = ["vendor=0x0483", "product=0xdf11", 'alt="Internal Flash"', "dfuse=true"]
    words = [word for option in options for word in ("--assay-driver-option", option)]
    where = ["--assay-driver-address=ABC", "--assay-driver-absent=GHI", "--assay-flash-at=0x08000000"]
    passed_all(conform(tmp_path, "flashers", "--assay-driver=dfu-util", *words, *where), 7)
    assert desk.log.exists()


def test_the_esptool_flasher_conforms(tmp_path: Path) -> None:
    options = ['chip="esp32c3"', 'before="no-reset"', 'after="no-reset"']
    words = [word for option in options for word in ("--assay-driver-option", option)]
    with EspRom() as rom:
        where = [f"--assay-driver-port={rom.port}", "--assay-flash-at=0x10000", "--assay-driver-absent=/dev/none"]
        passed_all(conform(tmp_path, "flashers", "--assay-driver=esptool", *words, *where), 7)


def test_the_reset_by_a_probe_conforms(tmp_path: Path) -> None:
    chip = NrfChip()
    with serve_bits(chip) as port:
        options = ['tool="openocd"', f'config=["{openocd_config(tmp_path, port)}"]', "serial=false"]
        words = [word for option in options for word in ("--assay-driver-option", option)]
        done = conform(tmp_path, "power", "--assay-driver=probe", "--assay-driver-absent=no-such-probe", *words)
        passed_all(done, 10)
    assert chip.resets > 10 and chip.halted


@pytest.mark.parametrize(
    ("suite", "driver", "fails", "words"),
    [
        ("power", "deaf", "test_off_is_off_also_twice", ""),
        ("power", "toggle", "test_on_is_on_also_twice", ""),
        ("power", "raw", "test_a_switch_that_is_not_there_is_an_error_of_ours", "got out of the driver"),
        ("locks", "Everybody", "test_the_holder_is_named", ""),
        ("flashers", "believing", "test_a_driver_that_reads_back_finds_what_is_not_there", "nothing was compared"),
    ],
)
def test_a_driver_that_breaks_its_word_is_found(
    suite: str, driver: str, fails: str, words: str, tmp_path: Path
) -> None:
    (tmp_path / "faulty.py").write_text(FAULTY)
    where = [f"--assay-driver-address={tmp_path / 'there'}", f"--assay-driver-absent={tmp_path / 'no' / 'folder'}"]
    where += ["--assay-flash-at=0"]
    done = conform(tmp_path, suite, f"--assay-driver=faulty:{driver}", *where)
    assert done.returncode == 1 and fails in done.stdout and words in done.stdout, done.stdout


def test_a_transport_that_does_not_wait_is_found(echo: str, tmp_path: Path) -> None:
    (tmp_path / "faulty.py").write_text(FAULTY)
    done = conform(tmp_path, "transports", "--assay-driver=faulty:hasty", f"--assay-driver-address={echo}")
    assert done.returncode == 1 and "test_silence_is_no_error" in done.stdout


def test_without_a_driver_nothing_is_said_to_conform(tmp_path: Path) -> None:
    done = conform(tmp_path, "power")
    assert done.returncode == 1 and "no driver: name one with --assay-driver" in done.stdout
    assert "passed" not in done.stdout
