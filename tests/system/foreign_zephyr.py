# SPDX-License-Identifier: Apache-2.0
"""Other people's firmware in QEMU: Zephyr's SMP servers, some behind MCUboot, as smpclient's source package has them.

`requirements/foreign-firmware.txt` names the package, `nox -s tests` fetches it; where it is not, tests skip, and say
so.
None of it was built for this project, and nothing of it is in this repository.
"""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from free_ports import free_port

from assay.formats.foreign_image import parse_foreign_image

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".nox" / "foreign-firmware"
UP_TIMEOUT_S = 100.0


def _fixtures() -> Path | None:
    """The folder of the servers; unpacked when only the package is there."""
    for package in sorted(FOLDER.glob("smpclient-*.tar.gz")):
        unpacked = FOLDER / package.name.removesuffix(".tar.gz")
        if not unpacked.is_dir():
            part = FOLDER / f"part-{os.getpid()}"
            with tarfile.open(package) as archive:
                archive.extractall(part, filter="data")
            with suppress(OSError):  # another worker was first
                (part / unpacked.name).rename(unpacked)
            shutil.rmtree(part)
        return unpacked / "tests" / "fixtures" / "smp-server"
    return None


FIXTURES = _fixtures()
needs_zephyr = pytest.mark.skipif(
    FIXTURES is None, reason=f"no {FOLDER.relative_to(ROOT)}: nox -s tests fetches other people's firmware there"
)


@dataclass(frozen=True)
class Machine:
    """A server and how QEMU starts it; `files` are patterns, the first one is the program."""

    qemu: str
    files: tuple[str, ...]

    def paths(self) -> list[Path]:
        assert FIXTURES is not None
        return [next(FIXTURES.glob(pattern)) for pattern in self.files]


_MPS2 = "-machine mps2-an385 -cpu cortex-m3 -serial {port} -serial null -device loader,file={0}"


def _mps2(what: str) -> Machine:
    """Cortex-M3, MCUboot in mode RAM-load with serial recovery."""
    return Machine(_MPS2 + " -device loader,file={1},addr=0x20050000", (f"*_{what}.hex", f"*_{what}.signed.bin"))


MACHINES = {
    "mps2": _mps2("27c54835_mps2_an385_serial_recovery"),
    "mps2-raw": _mps2("27c54835_mps2_an385_serial_recovery_raw"),
    "mps2-400": _mps2("0eae053d_mps2_an385_serial_recovery_buf400"),
    "mps2-empty": Machine(_MPS2, ("*_27c54835_mps2_an385_serial_recovery.hex",)),
    "microbit": Machine(
        "-machine microbit -cpu cortex-m0 -serial {port} -device loader,file={0}",
        ("*_qemu_cortex_m0_serial.merged.hex", "*_qemu_cortex_m0_serial.signed.bin"),
    ),
}


@contextmanager
def running(name: str) -> Iterator[str]:
    """The machine until the block is left; gives its port as a pyserial URL."""
    machine, port = MACHINES[name], free_port()
    serial = f"tcp:127.0.0.1:{port},server=on,wait=off"
    line = machine.qemu.format(*machine.paths(), port=serial)
    command = ["setpriv", "--pdeathsig", "KILL", "--", "qemu-system-arm", "-display", "none", "-monitor", "none"]
    with subprocess.Popen([*command, *shlex.split(line)], stdin=subprocess.DEVNULL) as qemu:
        try:
            _wait_for(port)
            yield f"socket://127.0.0.1:{port}"
        finally:
            qemu.send_signal(signal.SIGKILL)


LOADER = Path("/lib/ld-linux.so.2")
needs_native = pytest.mark.skipif(
    FIXTURES is None or not LOADER.exists(),
    reason="no other people's firmware, or no 32-bit loader (libc6-i386)"
    if platform.machine() == "x86_64"
    else "their programs are of x86",
)
UDP_PORT = 1337


@contextmanager
def native(name: str, folder: Path) -> Iterator[str]:
    """Zephyr as a program of this host, until the block is left; gives its port."""
    assert FIXTURES is not None
    program = next(FIXTURES.glob(f"*_native_sim_{name}.exe"))
    command = ["setpriv", "--pdeathsig", "KILL", "--", str(program)]
    with subprocess.Popen(
        command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as zephyr:
        try:
            assert zephyr.stdout is not None
            for line in zephyr.stdout:
                if "smp_udp: Started" in plain(line):
                    yield f"udp://127.0.0.1:{UDP_PORT}"
                    return
                found = re.search(r"connected to pseudotty: (\S+)", line)
                if found and not name.startswith("udp"):  # whose terminal has only its log
                    yield found[1]
                    return
            raise AssertionError(f"{name} ended before it was up")
        finally:
            zephyr.kill()


def _wait_for(port: int) -> None:
    deadline_s = time.monotonic() + UP_TIMEOUT_S
    while time.monotonic() < deadline_s:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            return
        time.sleep(0.05)
    raise AssertionError(f"QEMU did not open port {port} within {UP_TIMEOUT_S:g} s")


def image_of(name: str, out: Path, version: str, *options: str) -> Path:
    """The machine's own app as another version, signed by imgtool as its bootloader takes it: with a hash alone."""
    data = MACHINES[name].paths()[1].read_bytes()
    says = parse_foreign_image(data)
    payload = out.with_suffix(".payload")
    payload.write_bytes(says.measured[says.payload_start :])
    load = ["--load-addr", hex(says.load_address)] if says.load_address else []
    size = ["--align", "1", "--header-size", "0x200", "--pad-header", "--slot-size", "0x40000", "--version", version]
    command = [sys.executable, "-m", "imgtool.main", "sign", *size, *load, *options, str(payload), str(out)]
    subprocess.run(command, check=True, capture_output=True)
    return out


def board_toml(name: str, mode: str, info: str, *tables: str) -> str:
    """All that assay is told of the board."""
    head = f'schema = "assay.board/1"\nfirmware = "mcuboot"\nname = "{name}"\nrevision = 0\nemulated = true\n'
    return head + f'[serial]\nbaud = 115200\n[smp]\ninfo = "{info}"\n[mcuboot]\nmode = "{mode}"\n' + "\n".join(tables)


def hash_of(path: Path) -> str:
    """The image hash in a file."""
    return parse_foreign_image(path.read_bytes()).image_hash.hex()


def plain(text: str) -> str:
    """`text` without colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)
