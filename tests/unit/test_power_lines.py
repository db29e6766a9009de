# SPDX-License-Identifier: Apache-2.0
"""Power by a line, and by a person: control lines of a port, through a real RFC 2217 server, and GPIO."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time

import pytest
import serial
from power_bench import rfc2217, walk
from relay_boards import SerialRelayBoard, on_a_port

from assay.drivers.serial_transport import open_serial
from assay.errors import LinkError, ToolMissing, UsageFault
from assay.pipeline.driver_doors import open_power


def line_is(port: serial.SerialBase, line: str, state: bool) -> bool:
    end_s = time.monotonic() + 60
    while getattr(port, line) != state and time.monotonic() < end_s:
        time.sleep(0.01)
    return bool(getattr(port, line)) is state


@pytest.mark.parametrize(("line", "inverted"), [("dtr", False), ("rts", True)])
def test_a_control_line_of_the_units_own_port(line: str, inverted: bool) -> None:
    with rfc2217() as (address, port):
        transport = open_serial(address)
        power = open_power("control-line", "", {"line": line, "inverted": inverted}, transport)
        walk(power)
        power.on()
        assert line_is(port, line, not inverted)
        power.off()
        assert line_is(port, line, inverted)
        transport.close()


def test_a_port_without_control_lines_is_told() -> None:
    with on_a_port(SerialRelayBoard()) as port:
        power = open_power("control-line", port, {})
        with pytest.raises(LinkError, match="does not set DTR"):
            power.on()
    with pytest.raises(UsageFault, match="no control line"):
        open_power("control-line", "x", {"line": "cts"})


# GPIO: the real library; this kernel has no chip


def test_a_gpio_chip_that_is_not_there_is_told() -> None:
    power = open_power("gpio", "/dev/gpiochip-none", {"line": 3})
    for action in (power.on, power.is_on):
        with pytest.raises(LinkError, match="line 3 of /dev/gpiochip-none cannot be used"):
            action()
    with pytest.raises(LinkError):
        open_power("gpio", "/dev/null", {"line": 0}).on()


def test_gpio_without_its_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gpiod", None)
    with pytest.raises(ToolMissing) as told:
        open_power("gpio", "/dev/gpiochip0", {"line": 1})
    assert "assay[gpio]" in told.value.remedy


# A person

ASK = """
import sys
from assay.errors import AssayError
from assay.drivers.power.manual import open_manual
try:
    open_manual("the plug of desk").on()
    print("SWITCHED")
except AssayError as error:
    print("NOT:", error.message)
"""


def on_a_terminal(code: str, answer: bytes) -> str:
    """Run Python with a controlling terminal, and type `answer` once it asks."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", code])
    said, answered, end_s = b"", False, time.monotonic() + 200
    try:
        while time.monotonic() < end_s:
            try:
                data = os.read(terminal, 1024)
            except OSError:
                break
            said += data
            if b"press Enter" in said and not answered:
                os.write(terminal, answer)
                answered = True
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)
    return said.decode()


def test_a_person_is_asked_and_waited_for() -> None:
    said = on_a_terminal(ASK, b"\n")
    assert ">>> Switch the plug of desk ON" in said and "SWITCHED" in said


def test_a_person_may_say_no() -> None:
    assert "NOT: the plug of desk was not switched" in on_a_terminal(ASK, b"n\n")


def test_without_a_terminal_nobody_is_asked() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ASK], capture_output=True, text=True, timeout=60, start_new_session=True, check=False
    )
    assert "NOT: the power of this place is switched by a person, and there is no terminal" in done.stdout
