# SPDX-License-Identifier: Apache-2.0
"""One emulated board for the firmware's own tests: QEMU, its flash file, its port, its entropy.

It is no driver: the product reaches its twins in its own way. QEMU dies with the process that started it, and a power
cut stops the machine first (QMP), so that the flash file holds what the chip held.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import serial

CHIP_ID = bytes(range(0x10, 0x20))
PR_SET_PDEATHSIG = 1
START_S = 10.0  # until QEMU has opened its port
# Prints a line when a program operation meets a bit that is not erased. It must never do so.
ORACLE = "m25p80_programming_zero_to_one"


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class QemuBoard:
    """A board that can be powered on and off; `port` is a path that any serial client can open while it is on."""

    def __init__(self, board_toml: Path, rom_elf: Path, folder: Path) -> None:
        self.board: dict[str, Any] = tomllib.loads(board_toml.read_text(encoding="utf-8"))
        self.rom, self.folder = rom_elf, folder
        self.flash = folder / "flash.bin"
        self.trace = folder / "trace.log"
        self.port = ""
        self.entropy_on = True
        self.flash_refuses = False  # each program and erase fails: of boards whose chip QEMU tells that of (pflash)
        self._process: subprocess.Popen[str] | None = None
        self._slave = -1
        self._entropy = socket.socket(socket.AF_UNIX)
        self._entropy.bind(str(folder / "entropy"))
        self._entropy.listen()
        threading.Thread(target=self._give_entropy, daemon=True).start()

    def make_blank(self, chip: bytes = CHIP_ID) -> None:
        """A chip as its maker sells it: erased, but for the OTP area."""
        image = bytearray(b"\xff" * self.board["flash"]["size"])
        otp = self.board["flash"]["areas"]["otp"]["offset"]
        image[otp : otp + 24] = b"ASSYOTP1" + chip
        self.flash.write_bytes(image)

    def program(self, parts: dict[str, bytes]) -> None:
        """Writes to areas of a chip that is off, as a programmer does. The rest of it is blank."""
        self.make_blank()
        image = bytearray(self.flash.read_bytes())
        for area, content in parts.items():
            start = self.board["flash"]["areas"][area]["offset"]
            image[start : start + len(content)] = content
        self.flash.write_bytes(image)

    def _give_entropy(self) -> None:
        """Answers the board's own protocol: `n` bytes for the byte n, or for 0x02 n (QEMU's rng-egd)."""
        while True:
            try:
                link, _ = self._entropy.accept()
            except OSError:
                return  # closed: the board is gone
            egd = self.board["twin"]["entropy"] == "virtio-rng"
            while asked := link.recv(2 if egd else 1):
                if self.entropy_on:
                    link.sendall(os.urandom(asked[-1]))

    def _arguments(self) -> list[str]:
        twin = self.board["twin"]
        flash = f"if={twin['flash_interface']},unit={twin['flash_unit']},format=raw,file={self.flash}"
        flash += ",readonly=on" * self.flash_refuses
        entropy = f"socket,id=entropy,path={self.folder / 'entropy'}"
        source = ["-serial", "chardev:entropy"]
        if twin["entropy"] == "virtio-rng":
            source = ["-object", "rng-egd,id=rng,chardev=entropy", "-device", "virtio-rng-device,rng=rng"]
        return [twin["qemu"], *twin["arguments"], "-nodefaults", "-display", "none", "-monitor", "none",
                "-drive", flash, twin["rom_option"], str(self.rom), "-chardev", "pty,id=console", "-serial",
                "chardev:console", "-chardev", entropy, *source, "-trace", ORACLE, "-D", str(self.trace),
                "-qmp", f"unix:{self.folder / 'qmp'},server=on,wait=off"]  # fmt: skip

    def on(self) -> None:
        """Powers the board on, and returns when its port exists."""
        self._process = subprocess.Popen(
            self._arguments(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=_die_with_parent
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        match = re.search(r"redirected to (/dev/pts/\d+)", line)
        if not match:
            raise RuntimeError(f"QEMU says: {line}{self._process.stdout.read()}")
        self.port = match[1]
        # QEMU looks once a second for an open slave; holding one open makes later clients start at once.
        self._slave = os.open(self.port, os.O_RDWR | os.O_NOCTTY)

    def _qmp(self, *commands: str) -> None:
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(str(self.folder / "qmp"))
            stream = link.makefile("rw")
            stream.readline()
            for command in ("qmp_capabilities", *commands):
                stream.write(json.dumps({"execute": command}) + "\n")
                stream.flush()
                while "return" not in json.loads(stream.readline()):
                    pass

    @contextlib.contextmanager
    def events(self) -> Iterator[Callable[[str, float], dict[str, Any]]]:
        """Listens to what QEMU tells by QMP: a function that waits (seconds) for an event of this name."""
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(str(self.folder / "qmp"))
            link.sendall(b'{"execute": "qmp_capabilities"}\n')
            heard = bytearray()

            def wait(name: str, timeout_s: float) -> dict[str, Any]:
                end = time.monotonic() + timeout_s
                while (left := end - time.monotonic()) > 0:
                    line, found, rest = heard.partition(b"\n")
                    if found:
                        heard[:] = rest
                        told: dict[str, Any] = json.loads(line)
                        if told.get("event") == name:
                            return told
                        continue
                    link.settimeout(left)
                    heard.extend(link.recv(4096))
                raise TimeoutError(f"no event {name}")

            yield wait

    def cut(self) -> None:
        """A power cut: stop, so that all flash writes are in the file, then kill."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._qmp("stop")
            self._process.kill()
        self._process.communicate()
        self._process = None
        os.close(self._slave)

    def cycle(self) -> None:
        """Power off and on."""
        self.cut()
        self.on()

    def oracle_hits(self) -> list[str]:
        """Lines of QEMU about programming without erasing."""
        if not self.trace.exists():
            return []
        return [line for line in self.trace.read_text().splitlines() if ORACLE in line or "programming" in line]

    def close(self) -> None:
        """Powers off for good."""
        self.cut()
        self._entropy.close()


def wait_for(link: serial.Serial, pattern: str, timeout_s: float = START_S) -> str:
    """Reads until a line (or its part so far) matches; gives all that was read."""
    heard = bytearray()
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        heard += link.read(max(1, link.in_waiting))
        text = str(heard, "utf-8", "replace")
        if re.search(pattern, text):
            return text
    raise TimeoutError(f"no {pattern!r} in {heard[-2000:]!r}")


def send_by_xmodem(link: serial.Serial, image: bytes) -> None:
    """XMODEM-1K by the `xmodem` package: an implementation that is not ours."""
    import io

    import xmodem  # type: ignore[import-untyped]

    link.reset_input_buffer()
    wait_for(link, "reason=[a-z]+\r\nC")
    pending = [b"C"]  # the package gives up on the banner, so it gets to see the C behind it only

    def read(size: int, timeout: float = 1) -> bytes | None:
        if pending:
            return pending.pop()
        link.timeout = timeout
        return link.read(size) or None

    def write(data: bytes, timeout: float = 1) -> int | None:
        return int(link.write(data) or 0)

    if not xmodem.XMODEM1k(read, write).send(io.BytesIO(image), retry=8, timeout=5):
        raise RuntimeError("the XMODEM transfer failed")
    link.timeout = 0.05
