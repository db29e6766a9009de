# SPDX-License-Identifier: Apache-2.0
"""One run of QEMU: from power on to power off, with no orphan and no lost write.

Guards: QEMU dies with the process that started it; when the power is cut, the flash file holds what the chip held.
Leaves to others: the bytes (`wire`), and when the power goes (`control_server`).
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from assay.drivers.twin import volatile_disk
from assay.drivers.twin.machine import AIO_ORDERED, AIO_PORTABLE, Connections, Disk, Machine, Trace, command_line
from assay.drivers.twin.qmp import Monitor
from assay.drivers.twin.volatile_disk import StartedDisk
from assay.errors import InfrastructureError, LinkError, StorageError, ToolMissing

PR_SET_PDEATHSIG = 1  # linux/prctl.h
KILL_TIMEOUT_S = 5.0  # a killed process that is not gone after this hangs in the kernel
FLASH_LOCK_WAIT_S = 3.0  # the QEMU of a killed wire needs this long at most to flush and let go of the flash
FLASH_LOCK_POLL_S = 0.05
GENEROUS_HEAP = {
    "GLIBC_TUNABLES": ":".join(
        f"glibc.malloc.{name}={value}"
        for name, value in {
            "trim_threshold": 1 << 28,
            "mmap_threshold": 1 << 28,
            "top_pad": 1 << 23,
            "arena_max": 1,
            "hugetlb": 1,
        }.items()
    )
}
"""For the GNU C library: one heap, in large pages, that gives nothing back. `ast1030-evb` then starts with
2,400 page faults, not 10,600. Libraries without these names pay no heed."""
LOG_TAIL_BYTES = 600  # of qemu.log, enough for QEMU's last message


class Emulator:
    """A running QEMU. `uart` and `entropy` are our ends of its sockets, not blocking."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        uart: socket.socket,
        entropy: socket.socket,
        monitor: Monitor,
        disk: StartedDisk | None = None,
    ):
        self._process = process
        self.disk = disk
        self.uart = uart
        self.entropy = entropy
        self.monitor = monitor
        self.uart.setblocking(False)
        self.entropy.setblocking(False)

    @property
    def pid(self) -> int:
        """Process id of QEMU."""
        return self._process.pid

    def exit_status(self) -> int | None:
        """None while it runs; negative for a signal."""
        return self._process.poll()

    def cut(self, *, hard: bool = False) -> bool:
        """Power off, at once: True when the flash file holds exactly what the chip held.

        `stop` ends the guest and waits for the writes under way; a plain SIGKILL loses writes that the guest has
        seen acknowledged (measured: 9 to 23 % of kills). `hard`: a disk also loses what the guest did not flush, which
        `stop` would.
        """
        if hard and self.disk is not None:
            self.kill()
            return True
        try:
            self.monitor.execute("stop")
            exact = True
        except InfrastructureError:
            exact = False
        self.kill()
        return exact

    def kill(self) -> None:
        """Power off for whoever does not need the flash file: it may lack what the guest wrote last."""
        self._process.kill()
        try:
            self._process.wait(KILL_TIMEOUT_S)
            if self.disk is not None:
                self.disk.process.wait(KILL_TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            raise InfrastructureError(
                f"QEMU (pid {self.pid}) does not die", remedy="see if the disk under the twin hangs"
            ) from error

    def close(self) -> None:
        """Release the sockets; after `cut`, when what the chip had sent was read."""
        for end in (self.uart, self.entropy, self.monitor, *((self.disk.line,) if self.disk else ())):
            end.close()


def power_on(
    machine: Machine,
    rom: Path,
    flash: Path,
    log: Path,
    *,
    trace: Trace | None = None,
    aio: str = AIO_ORDERED,
    short_lived: bool = False,
    disk: Disk | None = None,
) -> Emulator:
    """Start QEMU and wait until the guest runs. `trace` has QEMU write down what its flash model does; one that is
    `short_lived` takes more memory and starts with less work.

    Raises ToolMissing, StorageError for a file that cannot be opened, InfrastructureError with QEMU's own words.
    """
    for file in (rom, flash):
        if not os.access(file, os.R_OK):
            raise StorageError(f"cannot read {file}", remedy="build the ROM, or create the twin anew")
    deadline_s = time.monotonic() + FLASH_LOCK_WAIT_S
    while True:
        try:
            return _start(machine, rom, flash, log, aio, trace, short_lived=short_lived, disk=disk)
        except LinkError as error:
            said = last_words(log)
            if "io_uring" in said and aio != AIO_PORTABLE:
                aio = AIO_PORTABLE
            elif '"write" lock' not in said or time.monotonic() > deadline_s:
                raise InfrastructureError(
                    f"QEMU did not start: {said or error.message}", remedy=f"see {log} for all that it said"
                ) from error
            else:
                time.sleep(FLASH_LOCK_POLL_S)


def last_words(log: Path) -> str:
    """The last line that QEMU wrote."""
    lines = log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1] if lines else ""


def _start(
    machine: Machine,
    rom: Path,
    flash: Path,
    log: Path,
    aio: str,
    trace: Trace | None,
    *,
    short_lived: bool,
    disk: Disk | None,
) -> Emulator:
    pairs = [socket.socketpair() for _ in range(3)]
    ours, theirs = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    fds = [end.fileno() for end in theirs]
    medium = None
    if disk is not None:
        medium = volatile_disk.start(flash)
        theirs.append(medium.client)
        disk = replace(disk, fd=medium.client.fileno())
    command = command_line(machine, str(rom), str(flash), Connections(*fds), aio, trace, disk)
    try:
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[end.fileno() for end in theirs],
                env=os.environ | GENEROUS_HEAP if short_lived else None,
                preexec_fn=_dies_with(os.getpid()),  # safe: the wire has one thread
            )
    except FileNotFoundError as error:
        for end in (*ours, *([medium.line] if medium else [])):
            end.close()
        raise ToolMissing(
            f"{machine.qemu} is not installed", remedy=f"sudo apt-get install -y {machine.package}"
        ) from error
    finally:
        for end in theirs:
            end.close()
    emulator = Emulator(process, ours[0], ours[1], Monitor(ours[2]), medium)
    try:
        emulator.monitor.hello()
    except LinkError:
        emulator.kill()
        emulator.close()
        raise
    return emulator


def _dies_with(parent: int) -> Callable[[], None]:
    """What the child does before it becomes QEMU: ask for SIGTERM at the parent's death.

    On SIGTERM QEMU flushes and ends, so that even a killed wire loses no write and leaves no orphan.
    """
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def ask() -> None:
        # Its own session: Ctrl-C at the terminal is for the person's command, which then ends the twin in order.
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a guest's lockup makes QEMU abort(): no core of 800 MB
        if prctl(PR_SET_PDEATHSIG, signal.SIGTERM) != 0 or os.getppid() != parent:
            os._exit(1)

    return ask
