# SPDX-License-Identifier: Apache-2.0
"""Start and stop a twin: its wire is a process that ends with its owner, or lives on by itself for people.

Guards: a twin that runs already is used; two starters at once start one wire; a failing start says why.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from assay.drivers.twin.control import TwinControl, TwinPower, TwinStatus, error_of
from assay.drivers.twin.twin_folder import TwinFolder
from assay.drivers.twin.wire_profile import WireProfile
from assay.errors import InfrastructureError, StorageError, UsageFault
from assay.interfaces.readiness import readable

START_TIMEOUT_S = 20.0  # 100 ms on an idle host
SETTLE_TIMEOUT_S = 10.0  # for a wire that is just beginning or ending to have done so
POLL_S = 0.01
ELF_MAGIC = b"\x7fELF"
WIRE_LOG_BYTES_MAX = 256 * 1024  # wire.log is begun anew above this size
MESSAGE_MAX = 65536  # bytes of the wire's one message to its starter


@dataclass(frozen=True)
class Twin:
    """A running twin."""

    folder: TwinFolder

    @property
    def name(self) -> str:
        """The twin's name."""
        return self.folder.name

    @property
    def tty(self) -> str:
        """The port, as an address for a transport; the same for as long as the twin exists."""
        return str(self.folder.tty)

    @property
    def control(self) -> TwinControl:
        """Ask and command the wire."""
        return TwinControl(self.folder)

    @property
    def power(self) -> TwinPower:
        """The power switch."""
        return TwinPower(self.folder)

    def status(self) -> TwinStatus:
        """The state."""
        return self.control.status()

    def stop(self) -> None:
        """End it, power off first."""
        self.control.stop()


def start_twin(
    folder: TwinFolder,
    rom: Path | None = None,
    *,
    owner_pid: int | None = None,
    baud: int | None = None,
    wire: WireProfile | None = None,
    power: bool = True,
) -> Twin:
    """Start the twin, or use it when it runs.

    `rom` is the mask ROM's ELF, kept for the next start; `owner_pid` is the process with which the twin ends, None
    lets it live until it is stopped; `baud` in bit/s, None leaves it as it was, 0 is no limit; `wire` is another
    wire, None leaves it; `power` False leaves the power as it is. Raises UsageFault (no such twin, no ROM, another ROM
    runs), ToolMissing without QEMU, StorageError, InfrastructureError with the wire's or QEMU's own words.
    """
    twin = Twin(folder)
    _check_rom(folder, rom)
    deadline_s = time.monotonic() + SETTLE_TIMEOUT_S
    while True:
        if not twin.control.alive():
            _keep_settings(folder, rom, baud, wire)
            if _spawn(folder, owner_pid, power):
                return twin
        elif _join(twin, rom, baud, wire, power):
            return twin
        if time.monotonic() > deadline_s:
            raise InfrastructureError(
                f"twin {folder.name!r} has a wire that does not answer", remedy=f"see {folder.wire_log}"
            )
        time.sleep(POLL_S)


@contextlib.contextmanager
def running_twin(
    folder: TwinFolder, rom: Path | None = None, *, baud: int | None = None, wire: WireProfile | None = None
) -> Iterator[Twin]:
    """A twin that ends with the block, and with this process should it be killed."""
    twin = start_twin(folder, rom, owner_pid=os.getpid(), baud=baud, wire=wire)
    try:
        yield twin
    finally:
        twin.stop()


def _check_rom(folder: TwinFolder, rom: Path | None) -> None:
    settings = folder.read_settings()
    if rom is not None and not rom.is_file():
        raise UsageFault(f"no mask ROM at {rom}", remedy="give the ELF that the ROM's build wrote")
    built = settings.machine.rom_file is None
    if rom is not None and built and not _is_elf(rom):  # QEMU would start anything, and the chip say nothing
        raise UsageFault(f"{rom} is no ELF file", remedy="give the ELF that the ROM's build wrote")
    if rom is None and settings.rom is None:
        raise UsageFault(f"twin {folder.name!r} has no mask ROM", remedy="start it with --rom FILE")


def _is_elf(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(ELF_MAGIC)) == ELF_MAGIC
    except OSError as error:
        raise UsageFault(f"{path} cannot be read: {error.strerror}", remedy="make it readable") from error


def _keep_settings(folder: TwinFolder, rom: Path | None, baud: int | None, wire: WireProfile | None) -> None:
    old = folder.read_settings()
    new = old
    if rom is not None:
        new = replace(new, rom=str(rom.absolute()))
    if wire is not None:
        new = replace(new, profile=replace(wire, entropy=new.profile.entropy))
    if baud is not None:
        new = replace(new, profile=new.profile.with_baud(baud))
    if new != old:
        folder.write_settings(new)


def _join(twin: Twin, rom: Path | None, baud: int | None, wire: WireProfile | None, power: bool) -> bool:
    """Use the wire that runs; False when it is not ready to answer (it begins, or it ends)."""
    try:
        status = twin.status()
    except InfrastructureError:
        return False
    if not status.running or status.owner_gone:
        return False  # it ends, or is about to, since its owner is gone
    if rom is not None and status.rom != str(rom.absolute()):
        raise UsageFault(
            f"twin {twin.name!r} runs with the mask ROM {status.rom}", remedy=f"assay twin stop {twin.name}, then start"
        )
    if wire is not None:
        twin.control.set_wire(wire)
    if baud is not None:
        twin.control.set_baud(baud)
    if power:
        twin.control.power("on")
    return True


def _spawn(folder: TwinFolder, owner_pid: int | None, power: bool) -> bool:
    """Start a wire; False when another starter was faster."""
    ready, theirs = os.pipe()
    command = [sys.executable, "-P", "-m", "assay.drivers.twin.wire", str(folder.path.absolute())]
    command += ["--detach", "--ready-fd", str(theirs)]
    command += ["--owner-pid", str(owner_pid)] if owner_pid else []
    command += [] if power else ["--off"]
    try:
        with _open_log(folder) as log:
            subprocess.run(
                command,
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[theirs],
                cwd="/",  # a daemon holds no folder of somebody's
                start_new_session=True,  # Ctrl-C is for the person's command, which ends the twin in order
            )
    finally:
        os.close(theirs)
    said = _first_line(ready)
    answer = json.loads(said) if said.endswith(b"\n") else {}
    if answer.get("ok"):
        return True
    if answer.get("kind") == "PlaceBusy":
        return False
    if answer:
        TwinControl(folder).wait_gone()
        raise error_of(answer)
    raise InfrastructureError(f"the wire of twin {folder.name!r} did not begin", remedy=f"see {folder.wire_log}")


def _first_line(pipe: int) -> bytes:
    """The wire's message; empty when it died before it had one. A wire that finds the pipe closed gives up."""
    try:
        return os.read(pipe, MESSAGE_MAX) if readable(pipe, START_TIMEOUT_S) else b""
    finally:
        os.close(pipe)


def _open_log(folder: TwinFolder) -> BinaryIO:
    log = folder.wire_log
    try:
        grown = log.exists() and log.stat().st_size > WIRE_LOG_BYTES_MAX
        return log.open("wb" if grown else "ab")
    except OSError as error:
        raise StorageError(f"cannot write {log}: {error.strerror}", remedy="check the folder's permissions") from error
