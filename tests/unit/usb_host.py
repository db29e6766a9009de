# SPDX-License-Identifier: Apache-2.0
"""A host with USB serial ports that are not there: a /sys as the kernel lays it out, and pseudo-terminals in /dev.

The command under test runs in a mount namespace (bubblewrap) and looks through pyserial, unchanged, at both.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class UsbBoard:
    """A USB device with one port for each name in `devices` (`ttyACM0`); `dfu`: it is in DFU mode."""

    devices: tuple[str, ...]
    socket: str
    vendor: int = 0x1366
    product: int = 0x1055
    serial: str | None = None
    maker: str = "SEGGER"
    name: str = "J-Link"
    dfu: bool = False


def lay_out(sys_folder: Path, boards: list[UsbBoard]) -> None:
    """The part of sysfs that tells what a tty is."""
    (sys_folder / "class/tty").mkdir(parents=True)
    (sys_folder / "bus/usb/devices").mkdir(parents=True)
    for number, board in enumerate(boards, 1):
        device = sys_folder / "devices/usb1" / board.socket
        device.mkdir(parents=True)
        facts = {
            "idVendor": f"{board.vendor:04x}",
            "idProduct": f"{board.product:04x}",
            "bNumInterfaces": f" {len(board.devices)}",
            "serial": board.serial,
            "manufacturer": board.maker,
            "product": board.name,
            "busnum": "1",
            "devnum": str(number),
        }
        for name, value in facts.items():
            if value is not None:
                (device / name).write_text(value + "\n")
        (sys_folder / "bus/usb/devices" / board.socket).symlink_to(device)
        if board.dfu:
            interface = sys_folder / "bus/usb/devices" / f"{board.socket}:1.0"
            interface.mkdir()
            for name, value in (("Class", "fe"), ("SubClass", "01"), ("Protocol", "02")):
                (interface / f"bInterface{name}").write_text(value + "\n")
        for number, tty in enumerate(board.devices):
            interface = device / f"{board.socket}:1.{number * 2}"
            interface.mkdir()
            (interface / "subsystem").symlink_to(sys_folder / "bus/usb")
            node = sys_folder / "class/tty" / tty
            node.mkdir()
            (node / "device").symlink_to(os.path.relpath(interface, node))


def lay_out_uarts(sys_folder: Path, types: dict[str, str]) -> None:
    """Serial ports that are no USB devices, with the kernel's `type` of each: 0 is a name that nothing is behind."""
    for tty, kind in types.items():
        (sys_folder / "class/tty" / tty).mkdir()
        (sys_folder / "class/tty" / tty / "type").write_text(kind + "\n")


def run_on(
    sys_folder: Path, terminals: dict[str, str], *words: str, cwd: Path, stdin: int = subprocess.DEVNULL,
    mighty: bool = True,
) -> subprocess.CompletedProcess[str]:  # fmt: skip
    """`python -m assay WORDS` where /sys is `sys_folder` and /dev has `terminals` (`ttyACM0` to a pseudo-terminal).

    Not `mighty`: without root's rights on the files of others.
    """
    walls = ["bwrap", "--bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--bind", str(sys_folder), "/sys"]
    walls += [] if mighty else ["--cap-drop", "ALL"]
    for name, terminal in terminals.items():
        walls += ["--dev-bind", terminal, f"/dev/{name}"]
    command = [*walls, "--chdir", str(cwd), sys.executable, "-m", "assay", *words]
    return subprocess.run(command, stdin=stdin, capture_output=True, text=True, timeout=200, check=False)
