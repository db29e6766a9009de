# SPDX-License-Identifier: Apache-2.0
"""The emulated machine of a board, and the QEMU command line that makes it.

Guards: each connection is a socket that QEMU inherits, so that no path can be too long and nobody else can connect.
Leaves to others: starting and ending the process (`emulator`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.drivers.twin import linux_disk
from assay.drivers.twin.entropy import PORTS
from assay.errors import StorageError, UsageFault

if TYPE_CHECKING:
    from assay.model.board import Board

AIO_ORDERED = "io_uring"
"""m25p80 writes behind the guest's back. With io_uring fewer acknowledged writes are lost when somebody kills QEMU than
with threads; only `Emulator.cut` loses none."""
AIO_PORTABLE = "threads"


@dataclass(frozen=True)
class Machine:
    """What QEMU needs to know of a board (`[twin]` in its TOML)."""

    qemu: str
    package: str
    arguments: tuple[str, ...]
    rom_option: str
    flash_interface: str
    flash_unit: int
    entropy: str
    rom_file: str | None = None
    """The mask ROM, where it is a file of the system and not built."""
    rom_package: str = ""

    def as_json(self) -> dict[str, Any]:
        """For twin.json."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Machine:
        """From twin.json. Raises StorageError when it is not what `as_json` wrote."""
        try:
            machine = cls(**{**data, "arguments": tuple(data["arguments"])})
        except (TypeError, KeyError) as error:
            raise StorageError(f"twin.json describes no machine: {error}", remedy="create the twin anew") from error
        if machine.entropy not in PORTS:
            raise StorageError(f"twin.json: no entropy port {machine.entropy!r}", remedy="create the twin anew")
        return machine


@dataclass(frozen=True)
class Connections:
    """File descriptors that QEMU inherits."""

    uart: int
    entropy: int
    monitor: int


def machine_of(board: Board) -> Machine:
    """The machine of a board's TOML. Raises UsageFault when the board has none."""
    twin = board.twin
    if twin is None:
        raise UsageFault(f"board {board.name} has no twin", remedy="choose a board whose TOML has a [twin] table")
    return Machine(
        twin.qemu,
        twin.package,
        tuple(twin.arguments),
        twin.rom_option,
        twin.flash_interface,
        twin.flash_unit,
        twin.entropy,
        twin.rom_file,
        twin.rom_package,
    )


@dataclass(frozen=True)
class Trace:
    """Trace events of QEMU that are wanted, and the file that they go to."""

    events: tuple[str, ...]
    file: str


@dataclass(frozen=True)
class Disk:
    """Of a board whose flash is a disk: the twin's folder, and the port of the loopback that leads to its SSH; `fd` is
    QEMU's end of the socket to the disk (`volatile_disk`), once that runs.
    """

    folder: Path
    port: int
    fd: int = -1


def command_line(
    machine: Machine,
    rom: str,
    flash: str,
    fds: Connections,
    aio: str,
    trace: Trace | None = None,
    disk: Disk | None = None,
) -> list[str]:
    """The command that starts `machine` with UART 0, entropy and monitor on inherited sockets."""
    return [
        machine.qemu,
        *machine.arguments,
        *("-nodefaults", "-no-user-config", "-display", "none"),
        *(linux_disk.arguments(disk.folder, disk.fd, disk.port) if disk else ("-drive", _drive(machine, flash, aio))),
        *(machine.rom_option, rom),
        *_socket("uart0", fds.uart),
        *("-serial", "chardev:uart0"),
        *_socket("entropy", fds.entropy),
        *_entropy(machine),
        *_socket("monitor", fds.monitor),
        *("-mon", "chardev=monitor,mode=control"),
        *_trace(trace),
    ]


def _socket(name: str, fd: int) -> tuple[str, str]:
    return ("-chardev", f"socket,id={name},fd={fd}")


def _trace(trace: Trace | None) -> tuple[str, ...]:
    if trace is None or not trace.events:
        return ()
    return (*(word for event in trace.events for word in ("-trace", event)), "-D", trace.file)


def _drive(machine: Machine, flash: str, aio: str) -> str:
    # A comma in a file name is doubled: QEMU's way to quote it.
    path = flash.replace(",", ",,")
    unit = f",unit={machine.flash_unit}" if machine.flash_interface == "pflash" else ""
    return f"if={machine.flash_interface}{unit},format=raw,file={path},aio={aio}"


def _entropy(machine: Machine) -> tuple[str, ...]:
    if machine.entropy == "uart":
        return ("-serial", "chardev:entropy")
    return ("-object", "rng-egd,id=rng0,chardev=entropy", "-device", "virtio-rng-device,rng=rng0")
