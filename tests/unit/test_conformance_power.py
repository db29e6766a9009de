# SPDX-License-Identifier: Apache-2.0
"""The built-in switches that need a peer of their own pass the power suite, and so do ports on other hosts."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import gpiod_chip
import pytest
from nrf_chip import NrfChip, serve_words
from power_bench import UHUBCTL, file_commands, program, rfc2217, sshd
from pyocd_mock_probe import plugged_in
from ssh_server import needs_sshd
from test_conformance import conform, passed_all

PATIENCE_S = 120.0
SLOW = [] if "ASSAY_LONG_TESTS" in os.environ else ["-k", "a_cut_is_off or not_there or option_that"]
"""Where each call logs in, or imports pyOCD: one of the cases that switch and those about faults."""


def options(**given: object) -> list[str]:
    return [word for key, value in given.items() for word in ("--assay-driver-option", f"{key}={json.dumps(value)}")]


def test_a_control_line_conforms(tmp_path: Path) -> None:
    with rfc2217() as (address, _port):
        where = [f"--assay-driver-address={address}", "--assay-driver-absent=/dev/no-such-port"]
        words = options(line="rts", inverted=True)
        passed_all(conform(tmp_path, "power", "--assay-driver=control-line", *where, *words), 10)


@pytest.mark.parametrize("active_low", [False, True])
def test_a_gpio_line_conforms(active_low: bool, tmp_path: Path) -> None:
    folder, chip = gpiod_chip.plugged_in(tmp_path / "site"), Path(f"/dev/shm/assay-chip-{os.getpid()}")
    chip.write_text("0")
    try:
        where = [f"--assay-driver-address={chip}", "--assay-driver-absent=/dev/gpiochip-none"]
        words = options(line=3, active_low=active_low)
        done = conform(tmp_path, "power", "--assay-driver=gpio", *where, *words, paths=str(folder))
        passed_all(done, 10)
        assert chip.read_text() == str(int(active_low))
    finally:
        chip.unlink()


@needs_sshd
def test_a_switch_behind_ssh_conforms(tmp_path: Path) -> None:
    (tmp_path / "sshd").mkdir()
    with sshd(tmp_path / "sshd") as words:
        given = options(**file_commands(tmp_path / "state"), options=words)
        where = ["--assay-driver-address=127.0.0.1", "--assay-driver-absent=no-such-host.invalid"]
        passed_all(conform(tmp_path, "power", "--assay-driver=ssh", *where, *given, *SLOW), 3 if SLOW else 10)


def test_a_hubs_port_conforms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "state").write_text("0")
    program(tmp_path, "uhubctl", UHUBCTL.format(state=tmp_path / "state"))
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    where = ["--assay-driver-address=1-1", "--assay-driver-absent=99-1"]
    passed_all(conform(tmp_path, "power", "--assay-driver=uhubctl", *where, *options(port=2)), 10)


def test_the_reset_by_pyocd_conforms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chip = NrfChip()
    with serve_words(chip) as port:
        probe = plugged_in(tmp_path / "site", AAAA1=port)
        monkeypatch.setenv("ASSAY_MOCK_PROBES", probe["ASSAY_MOCK_PROBES"])
        where = ["--assay-driver-address=AAAA1", "--assay-driver-absent=AAA"]
        words = options(tool="pyocd", target="nrf52840")
        done = conform(tmp_path, "power", "--assay-driver=probe", *where, *words, *SLOW, paths=probe["PYTHONPATH"])
    passed_all(done, 3 if SLOW else 10)
    assert chip.resets and chip.halted


def test_a_person_conforms(tmp_path: Path) -> None:
    """Somebody on a terminal who does as told."""
    ours, theirs = os.openpty()
    suite = "import fcntl, os, sys, termios, pytest; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0)"
    run = f"{suite}; sys.exit(pytest.main(sys.argv[1:]))"
    words = ["-q", "-p", "no:cacheprovider", "--pyargs", "assay.conformance.power", "--assay-driver=manual"]
    with (tmp_path / "said").open("w+b") as said:
        child = subprocess.Popen(
            [sys.executable, "-c", run, *words], stdin=theirs, stdout=said, stderr=said, cwd=tmp_path
        )
        os.close(theirs)
        asked = _press_enter(ours, time.monotonic() + PATIENCE_S)
        os.close(ours)
        status = child.wait(PATIENCE_S)
        said.seek(0)
        text = said.read().decode()
    assert status == 0 and "9 passed, 1 skipped" in text, text
    assert asked > 15


def _press_enter(terminal: int, end_s: float) -> int:
    """Answer each question until the terminal is closed; how many there were."""
    heard = b""
    with suppress(OSError):
        while time.monotonic() < end_s:
            heard += os.read(terminal, 4096)
            if heard.endswith(b"(n: it cannot be done): "):
                os.write(terminal, b"\n")
    return len(re.findall(rb">>> Switch the unit's power (?:ON|OFF)", heard))


@pytest.mark.parametrize("scheme", ["socket", "rfc2217"])
def test_ports_of_other_hosts_conform(scheme: str, tmp_path: Path) -> None:
    with rfc2217() as (address, _port), socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_echo, args=(listener,), daemon=True).start()
        plain = f"socket://127.0.0.1:{listener.getsockname()[1]}"
        where = [f"--assay-driver-address={plain if scheme == 'socket' else address}"]
        where += [f"--assay-driver-absent={scheme}://127.0.0.1:1"]
        passed_all(conform(tmp_path, "transports", "--assay-driver=serial", *where), 13)
        listener.shutdown(socket.SHUT_RDWR)


def _echo(listener: socket.socket) -> None:
    def serve(link: socket.socket) -> None:
        with link, suppress(OSError):
            while data := link.recv(4096):
                link.sendall(data)

    with suppress(OSError):
        while True:
            threading.Thread(target=serve, args=listener.accept()[:1], daemon=True).start()
