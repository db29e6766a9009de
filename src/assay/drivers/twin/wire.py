# SPDX-License-Identifier: Apache-2.0
"""The wire of one twin: `python -m assay.drivers.twin.wire FOLDER [--owner-pid N] [--ready-fd N] [--detach] [--off]`.

A process of its own, since as a thread it was starved by the program that used the port. It owns the port (a
pseudo-terminal), the power, the entropy and the serial line between the port and QEMU.

Guards: it ends when its owner ends, in order; QEMU never outlives it; entropy passes through and is kept nowhere.
Leaves to others: the command line of QEMU (`machine`), its life (`emulator`), the timing of bytes (`serial_line`).
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

from assay.drivers.twin import linux_disk
from assay.drivers.twin.cable import Cable
from assay.drivers.twin.control_server import ControlServer
from assay.drivers.twin.emulator import Emulator, last_words, power_on
from assay.drivers.twin.entropy import PORTS, EntropyPort, SilentEntropy
from assay.drivers.twin.machine import Disk, Machine
from assay.drivers.twin.terminal import Terminal
from assay.drivers.twin.twin_folder import DISK_REMEDY, TwinFolder
from assay.drivers.twin.volatile_disk import POWER_GONE
from assay.drivers.twin.wire_profile import WireProfile
from assay.errors import AssayError, InfrastructureError, PlaceBusy, UsageFault
from assay.interfaces.readiness import readable

READ_MAX = 4096  # bytes in one go from the entropy port
IDLE_WAIT_S = 60.0  # nothing is due: the longest sleep
OFF_MAX_S = 5.0  # of a power cycle; the wire does nothing else meanwhile


class Wire:
    """All of one twin that is not inside QEMU."""

    def __init__(self, folder: TwinFolder, owner_pid: int | None) -> None:
        self._folder = folder
        self._settings = folder.read_settings()
        self._owner_pid = owner_pid
        self._lock = _sole_wire(folder)
        self._owner_fd = os.pidfd_open(owner_pid) if owner_pid else None
        self._terminal = Terminal(folder.tty)
        self._control = ControlServer(folder.control, self._handle)
        self._cable = Cable(self._terminal, self._settings.profile)
        self._emulator: Emulator | None = None
        self._entropy: EntropyPort = SilentEntropy()
        self._wake, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._cut_at_s: float | None = None
        self._stopping = False
        self._counts = {"power_ons": 0, "resets": 0}
        self._disk = _disk(folder, self._settings.machine)

    def run(self) -> None:
        """Serve until told to stop, or until the owner is gone."""
        signal.set_wakeup_fd(self._wake_write)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            while not self._stopping:
                self._turn()
        finally:
            self.close()

    def close(self) -> None:
        """Power off, and take port and control socket away."""
        self.power_off()
        self._control.close()
        self._terminal.close()
        _log("end")

    def power_on(self) -> None:
        """Nothing happens when it is on. Raises what `emulator.power_on` raises."""
        if self._emulator is not None:
            return
        if self._settings.rom is None:
            raise UsageFault(f"twin {self._folder.name!r} has no mask ROM", remedy="start it with --rom FILE")
        machine, folder = self._settings.machine, self._folder
        rom, disk = Path(self._settings.rom), self._disk
        self._emulator = power_on(machine, rom, folder.flash, folder.qemu_log, disk=disk)
        self._cable.connect(self._emulator.uart)
        self._entropy = PORTS[machine.entropy](_random) if self._cable.profile.entropy else SilentEntropy()
        self._counts["power_ons"] += 1
        _log(f"power on, qemu pid {self._emulator.pid}")

    def power_off(self, *, hard: bool = False) -> bool:
        """Cut the power; True when the flash holds exactly what the chip held. Nothing happens when it is off. `hard`:
        a disk loses what it was not told to keep.
        """
        emulator, self._emulator, self._cut_at_s = self._emulator, None, None
        if emulator is None:
            return True
        exact = emulator.cut(hard=hard)
        self._cable.disconnect(time.monotonic())
        emulator.close()
        _log(f"power off{'' if exact else ', not exact: QEMU did not stop'}")
        return exact

    def _turn(self) -> None:
        now_s = time.monotonic()
        readers = self._readers() + self._cable.readers(now_s)
        # This process opens its files itself, and a dozen of them.
        heard, _, _ = select.select(readers, self._cable.writers(now_s), [], self._wait_s(now_s))  # noqa: TID251
        now_s = time.monotonic()
        for source in heard:
            self._ready(source, now_s)
        self._cable.hand_on(now_s)
        if self._cut_at_s is not None and now_s >= self._cut_at_s:
            self.power_off(hard=True)

    def _readers(self) -> list[Any]:
        readers: list[Any] = [self._wake, *self._control.sockets()]
        if self._owner_fd is not None:
            readers.append(self._owner_fd)
        if self._emulator is not None:
            readers += [self._emulator.entropy, self._emulator.monitor]
            readers += [self._emulator.disk.line] if self._emulator.disk else []
        return readers

    def _wait_s(self, now_s: float) -> float:
        wait_s = self._cable.wait_s(now_s)
        cut_s = None if self._cut_at_s is None else max(0.0, self._cut_at_s - now_s)
        return min(wait for wait in (IDLE_WAIT_S, wait_s, cut_s) if wait is not None)

    def _ready(self, source: Any, now_s: float) -> None:
        emulator = self._emulator
        if source is self._wake or source is self._owner_fd:
            self._stopping = True
            _log("owner is gone" if source is self._owner_fd else "told to end")
        elif isinstance(source, socket.socket) and source in self._control.sockets():
            self._control.ready(source)
        else:
            try:
                if not self._cable.take_in(source, now_s) and emulator is not None:
                    self._from_emulator(emulator, source)
            except BlockingIOError:
                return
            except (OSError, InfrastructureError):
                if emulator is not None:
                    self._emulator_gone(emulator)

    def _from_emulator(self, emulator: Emulator, source: Any) -> None:
        """A source of an emulator that was switched off in this very turn is none of these."""
        if source is emulator.entropy:
            emulator.entropy.send(self._entropy.feed(emulator.entropy.recv(READ_MAX)))
        elif source is emulator.monitor:
            self._counts["resets"] += emulator.monitor.pending_events().count("RESET")
        elif emulator.disk is not None and source is emulator.disk.line:
            if emulator.disk.line.recv(1) == POWER_GONE:
                self.power_off(hard=True)
            else:  # QEMU ends by itself and has closed it, or cannot go on without it
                self._emulator_gone(emulator)

    def _emulator_gone(self, emulator: Emulator) -> None:
        """QEMU ended by itself: the power is off, and the reason is kept for whoever asks."""
        self._emulator = None
        emulator.cut()
        self._cable.disconnect(time.monotonic())
        emulator.close()
        _log(f"QEMU ended with {emulator.exit_status()}: {last_words(self._folder.qemu_log)}")

    def _handle(self, request: dict[str, Any]) -> dict[str, Any]:
        word = request.get("do")
        if word == "stop":
            self._stopping = True
        elif word == "power":
            return self._power(request)
        elif word == "baud":
            self._set_baud(request.get("baud"))
        elif word == "wire":
            self._cable.use(_profile(request.get("profile")))
        elif word != "status":
            raise UsageFault(f"the wire knows no {word!r}", remedy="ask status, power, baud, wire or stop")
        return self._status()

    def _power(self, request: dict[str, Any]) -> dict[str, Any]:
        action, after_s = request.get("action"), _seconds(request.get("after_s", 0), IDLE_WAIT_S)
        if action not in ("on", "off", "cycle", "cut"):
            raise UsageFault(f"no power action {action!r}", remedy="use on, off, cycle or cut")
        exact = True
        if action == "cut" and request.get("at_flush"):
            self._cut_at_flush(request["at_flush"], request.get("seed"))
        elif action == "cut" and after_s > 0:
            self._cut_at_s = time.monotonic() + after_s
        elif action != "on":
            exact = self.power_off(hard=action == "cut")
        if action == "cycle":
            time.sleep(_seconds(request.get("off_s", 0), OFF_MAX_S))
        if action in ("on", "cycle"):
            self.power_on()
        return {**self._status(), "exact": exact}

    def _cut_at_flush(self, number: Any, seed: Any) -> None:
        if (
            not isinstance(number, int)
            or not isinstance(seed, int)
            or not (0 < number < 1 << 32 and 0 <= seed < 1 << 64)
        ):
            raise UsageFault(f"a cut at flush {number!r}, seed {seed!r}", remedy="give two whole numbers")
        disk = self._emulator.disk if self._emulator else None
        if disk is None:
            raise UsageFault(
                f"twin {self._folder.name!r} has no disk that is written to",
                remedy="switch it on; only a board with a disk (flash_interface virtio) is asked to flush",
            )
        disk.cut_at_flush(number, seed)

    def _set_baud(self, baud: Any) -> None:
        if not isinstance(baud, int | None):
            raise UsageFault(f"a baud rate of {baud!r}", remedy="give a number")
        self._cable.set_baud(self._cable.profile.with_baud(baud).baud, time.monotonic())

    def _owner_gone(self) -> bool:
        """True between the owner's end and ours. Only we can tell: who asks may be in a namespace without the owner."""
        if self._owner_fd is None:
            return False
        return readable(self._owner_fd, 0.0)  # a zombie has ended, too

    def _status(self) -> dict[str, Any]:
        emulator = self._emulator
        return {
            "name": self._folder.name,
            "board": self._settings.board,
            "revision": self._settings.revision,
            "chip": self._settings.chip,
            "emulated": True,
            "power": "on" if emulator else "off",
            "tty": str(self._folder.tty),
            "device": self._terminal.device,
            "rom": self._settings.rom,
            "wire_pid": os.getpid(),
            "qemu_pid": emulator.pid if emulator else None,
            "owner_pid": self._owner_pid,
            "owner_gone": self._owner_gone(),
            "ssh_port": self._disk.port if self._disk else None,
            "profile": self._cable.profile.as_json(),
            **self._counts,
            **self._cable.counts,
        }


def _disk(folder: TwinFolder, machine: Machine) -> Disk | None:
    """One port for as long as the wire lives: who is connected finds the unit again after its power was away."""
    if machine.flash_interface != linux_disk.INTERFACE:
        return None
    return Disk(folder.path, linux_disk.choose_port(folder.path))


def _profile(data: Any) -> WireProfile:
    if not isinstance(data, dict):
        raise UsageFault("a wire that is no object", remedy="give a profile as in twin.json")
    return WireProfile.from_json(data)


def _seconds(value: Any, most_s: float) -> float:
    if not isinstance(value, int | float) or not 0 <= value <= most_s:
        raise UsageFault(f"a time of {value!r} s", remedy=f"give 0 to {most_s:g}")
    return float(value)


def _random(count: int) -> bytes:
    return os.getrandom(count)


def _sole_wire(folder: TwinFolder) -> int:
    """The lock that makes this the only wire of the twin; it goes with the process."""
    lock = os.open(folder.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise PlaceBusy(f"twin {folder.name!r} has a wire already", remedy="use it, or assay twin stop") from error
    return lock


def _log(text: str) -> None:
    """A line of wire.log. A disk that is full costs the line and not the twin."""
    with contextlib.suppress(OSError):
        print(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {text}", file=sys.stderr, flush=True)


def _report(ready_fd: int | None, message: dict[str, Any]) -> bool:
    """Tell the starter, once, that the twin is there or why not; False when nobody listens any more."""
    if ready_fd is None:
        return True
    try:
        os.write(ready_fd, json.dumps(message).encode() + b"\n")
    except OSError:
        return False
    finally:
        os.close(ready_fd)
    return True


def main(arguments: list[str]) -> int:
    """Run a wire; 0 when it ended in order, 3 when it could not begin."""
    parser = argparse.ArgumentParser(prog="wire")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--owner-pid", type=int)
    parser.add_argument("--ready-fd", type=int)
    parser.add_argument("--detach", action="store_true", help="be nobody's child: nobody has to wait for the end")
    parser.add_argument("--off", action="store_true", help="leave the power off")
    options = parser.parse_args(arguments)
    if options.detach and os.fork() > 0:
        os._exit(0)
    wire: Wire | None = None
    try:
        wire = Wire(TwinFolder(options.folder.absolute()), options.owner_pid)
        if not options.off:
            wire.power_on()
    except (AssayError, OSError) as error:
        _log(f"cannot begin: {error}")
        if wire is not None:
            wire.close()
        remedy = error.remedy if isinstance(error, AssayError) else DISK_REMEDY
        message = error.message if isinstance(error, AssayError) else f"the wire cannot begin: {error}"
        _report(options.ready_fd, {"ok": False, "kind": type(error).__name__, "error": message, "remedy": remedy})
        return 3
    if not _report(options.ready_fd, {"ok": True}):
        _log("the starter has given up")
        wire.close()
        return 3
    wire.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
