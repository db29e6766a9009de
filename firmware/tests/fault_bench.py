# SPDX-License-Identifier: Apache-2.0
"""Boots an emulated board from one chip again and again, each time with one fault, and says what came of it.

QEMU stays on between boots: the board is reset, and what a boot changed in flash is put back by the bootloader's own
routines, before its verification starts. A chip that was changed too much, or where nobody knows, is a new one.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from fault_images import ImageSet
from fault_outcome import WINDOW_EVENT, DiedAfterwards, EmulatorDied, Outcome, ended_with, judge_end, judge_end_without
from gdb_stub import GdbStub, GdbStubError
from qemu_board import _die_with_parent

BOOT_S = 2.5  # a boot takes 20 ms; what is not over then hangs
RESTART_S = 3.0  # from the reset to the bootloader; a boot that went wrong may have overwritten it
START_S = 120.0  # from power on to the bootloader, under load
RESTORE_MAX = 8  # sectors that are put back in place; more, and the board gets a new chip
FLASH_CODE_BYTES = 256  # of the last of the port's functions for flash
STOPS_MAX = 5_000  # of one boot, at breakpoints; a swap makes some hundred
END_S = 10.0  # for QEMU to be gone, when it said that it goes
START = "handoff_read"  # the first thing after the port is ready; nothing was verified before


@dataclass(frozen=True)
class Fault:
    """At the `hit`-th time that `address` comes after the `count`-th time of `anchor` (0: from the start), the
    instruction there is replaced by `code`, once, or for the rest of this boot (`lasting`)."""

    address: int
    code: bytes
    anchor: int = 0
    count: int = 0
    hit: int = 1
    lasting: bool = False

    def spell(self) -> str:
        """All of it in one word, for a command line."""
        word = f"{self.address:#x},{self.code.hex()},{self.anchor:#x},{self.count},{self.hit}"
        return word + ",lasting" * self.lasting


def read_fault(word: str) -> Fault:
    """What `Fault.spell` wrote. Raises ValueError."""
    address, code, anchor, count, hit, *lasting = word.split(",")
    if lasting not in ([], ["lasting"]):
        raise ValueError(f"not a fault: {word}")
    return Fault(int(address, 16), bytes.fromhex(code), int(anchor, 16), int(count), int(hit), bool(lasting))


@dataclass
class Boot:
    """One boot."""

    outcome: Outcome
    pc: int  # where it was stopped last
    ended: str = ""  # how QEMU did, if it did


class Changed:
    """Sectors that a boot has changed."""

    def __init__(self, erase_size: int) -> None:
        self._erase_size = erase_size
        self.sectors: set[int] = set()

    def note(self, address: int) -> None:
        """An erase or a program operation at this flash address."""
        self.sectors.add(address // self._erase_size)


class FaultBench:
    """One QEMU with one chip. `symbols` are the bootloader's."""

    def __init__(
        self, images: ImageSet, rom: Path, symbols: dict[str, int], chip: bytes, extra: tuple[str, ...] = ()
    ) -> None:
        self._images, self._rom, self._symbols, self._extra = images, rom, symbols, extra
        self._writes = {symbols["port_flash_erase"], symbols["port_flash_program"]}
        # A fault in there may change another sector than the one that was asked for.
        flash_code = [address for name, address in symbols.items() if name.startswith("port_flash_")]
        self._flash_code = range(min(flash_code), max(flash_code) + FLASH_CODE_BYTES)
        self._ends = {symbols["serve"]: Outcome.RECOVERY, images.good_end: Outcome.RAN_GOOD,
                      images.bad_end: Outcome.RAN_BAD}  # fmt: skip
        self._machine = images.machine
        self._flash = images.layout["flash"]
        self._folder = Path(tempfile.mkdtemp(prefix="assay-fault-"))
        self.chip = chip
        self._process: subprocess.Popen[bytes] | None = None
        self._on()

    # The board ---------------------------------------------------------------------------------------------------

    def _arguments(self) -> list[str]:
        twin = self._images.layout["twin"]
        flash = f"if={twin['flash_interface']},unit={twin['flash_unit']},format=raw,file={self._folder / 'flash'}"
        return [twin["qemu"], *twin["arguments"], "-nodefaults", "-display", "none", "-monitor", "none", "-drive",
                flash, twin["rom_option"], str(self._rom), "-serial", "null", "-S", "-gdb",
                f"unix:{self._folder / 'gdb'},server=on,wait=off", "-qmp",
                f"unix:{self._folder / 'qmp'},server=on,wait=off",
                "-trace", f"{WINDOW_EVENT}*", *self._extra]  # fmt: skip

    def _on(self) -> None:
        for name in ("gdb", "qmp"):
            (self._folder / name).unlink(missing_ok=True)
        (self._folder / "flash").write_bytes(self.chip)
        with (self._folder / "said").open("wb") as said:
            self._process = subprocess.Popen(
                self._arguments(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said,
                preexec_fn=_die_with_parent, process_group=0,  # a terminal's Ctrl-C is ours to answer
            )  # fmt: skip
        self._gdb = GdbStub(self._folder / "gdb")
        self._qmp = socket.socket(socket.AF_UNIX)
        self._qmp.connect(str(self._folder / "qmp"))
        self._events = self._qmp.makefile("r", encoding="ascii")
        self._events.readline()
        self._command("qmp_capabilities", "return")
        self._inserted: set[int] = set()
        self._changed = Changed(self._flash["erase_size"])
        self._carried = False  # a fault, since it is on
        self._unsure = False  # whether the chip holds what is known of it

    def off(self) -> None:
        """Switches the board off."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None
            self._gdb.close()
            self._events.close()
            self._qmp.close()

    def kill(self) -> None:
        """Ends QEMU; another thread that waits for it gets an EmulatorDied."""
        process = self._process
        if process is not None:
            process.kill()

    def close(self) -> None:
        """Switches the board off and removes its files."""
        self.off()
        for path in self._folder.iterdir():
            path.unlink()
        self._folder.rmdir()

    def end(self) -> bytes:
        """Switches the board off in good order: its log is whole then. Gives what the chip holds."""
        assert self._process is not None
        self._command("quit", "return")
        self._process.wait()
        self.off()
        return (self._folder / "flash").read_bytes()

    def _command(self, name: str, until: str) -> None:
        self._qmp.sendall(json.dumps({"execute": name}).encode("ascii") + b"\n")
        while True:
            text = self._events.readline()
            if not text:
                raise ConnectionResetError(f"QEMU is gone before {name} was done")
            line = json.loads(text)
            if until in line or line.get("event") == until:
                return

    # Breakpoints -------------------------------------------------------------------------------------------------

    def _watch(self, addresses: set[int]) -> None:
        self._gdb.change_breakpoints(self._inserted - addresses, addresses - self._inserted)
        self._inserted = set(addresses)

    def _pc(self) -> int:
        return self._gdb.register(self._machine.pc)

    def _step(self, at: int) -> None:
        """One instruction, also where a breakpoint stands."""
        watched = self._inserted
        self._watch(watched - {at})
        self._gdb.step()
        self._watch(watched)

    # One boot ----------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """A reset, up to the bootloader's start; then the chip as it was."""
        start = self._symbols[START]
        self._watch({start})
        if not self._unsure and len(self._changed.sectors) <= RESTORE_MAX:
            self._command("system_reset", "RESET")
            self._unsure = not self._gdb.resume(RESTART_S)
        if self._unsure or len(self._changed.sectors) > RESTORE_MAX:
            self.off()
            self._on()
            self._watch({start})
            if not self._gdb.resume(START_S):
                raise RuntimeError(f"the bootloader does not start: pc {self._pc():#x}")
        self._restore()

    def start(self) -> None:
        """Begins a boot, and stops it where the bootloader is ready: then its functions can be called."""
        self._begin()

    def write(self, address: int, data: bytes) -> None:
        """Memory."""
        self._gdb.write(address, data)

    def call(self, name: str, *arguments: int) -> int:
        """Runs a function of the bootloader to its end; what it returns. Raises RuntimeError if it does not."""
        back = self._symbols[START]
        machine = self._machine
        values = dict(zip(machine.arguments, arguments, strict=False))
        values[machine.link] = back | (1 if machine.pc == 15 else 0)
        self._gdb.set_some({**values, machine.pc: self._symbols[name]})
        if not self._gdb.resume(START_S) or self._pc() != back:
            raise RuntimeError(f"{name} did not return")
        return self._gdb.register(machine.arguments[0])

    def _restore(self) -> None:
        if not self._changed.sectors:
            return
        before = self._gdb.registers()
        buffer = self._images.app_ram.start
        erase, page = self._flash["erase_size"], self._flash["program_size"]
        for sector in sorted(self._changed.sectors):
            self.call("port_flash_erase", sector * erase)
            for at in range(sector * erase, (sector + 1) * erase, page):
                data = self.chip[at : at + page]
                if data.count(0xFF) != page:
                    self._gdb.write(buffer, data)
                    self.call("port_flash_program", at, buffer, page)
        self._gdb.set_registers(before)
        self._changed.sectors.clear()

    def boot(self, fault: Fault | None, patience_s: float = BOOT_S) -> Boot:
        """One boot with one fault, or with none. Raises EmulatorDied if QEMU ends and no fault was set; after
        DiedAfterwards there is a new one."""
        walk = _Walk(fault)
        result = Boot(Outcome.MISSED, 0)
        before, begun = 0, False
        try:
            self._begin()
            begun = True
            before = (self._folder / "said").stat().st_size
            self._unsure = fault is not None and fault.address in self._flash_code
            self._run(walk, result, patience_s)
            self._carried |= fault is not None and walk.struck
        except (GdbStubError, OSError):
            self._died(result, before, begun and fault is not None and walk.struck)
            self._on()
        return result

    def _died(self, result: Boot, before: int, struck: bool) -> None:
        """What became of a board whose QEMU is gone. The first `before` bytes that it said are older than the boot."""
        status, said = self._end_of_it(before)
        result.ended = ended_with(status, said)
        if struck:
            result.outcome = judge_end(status, said)
            return
        error = judge_end_without(status, said, self._carried)
        if isinstance(error, DiedAfterwards):
            self._on()
        raise error

    def _end_of_it(self, before: int) -> tuple[int, str]:
        """The status of a QEMU that is gone, and what it said after the first `before` bytes. Raises EmulatorDied."""
        assert self._process is not None
        try:
            status = self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            raise EmulatorDied("QEMU is there and does not answer") from None
        said = (self._folder / "said").read_bytes()[before:].decode("utf-8", "replace")
        self.off()
        return status, said

    def _run(self, walk: _Walk, result: Boot, patience_s: float) -> None:
        if walk.fault is not None and walk.fault.lasting:
            self._gdb.write(walk.fault.address, walk.fault.code)
        for _ in range(STOPS_MAX):
            watched = set(self._ends) | self._writes | walk.awaits
            if result.pc in watched and not walk.just_struck:
                self._step(result.pc)
            self._watch(watched)
            walk.just_struck = False
            if not self._gdb.resume(patience_s):
                self._hung(result)
                return
            result.pc = self._pc()
            if result.pc in self._writes:
                self._changed.note(self._gdb.register(self._machine.arguments[0]))
            if result.pc in self._ends:
                result.outcome = self._ended(result.pc) if walk.struck else Outcome.MISSED
                return
            if result.pc in walk.awaits and walk.arrive():
                self._strike(walk.fault)
        self._unsure = True  # it writes to flash without an end
        self._hung(result)

    def _ended(self, at: int) -> Outcome:
        """The bad image is longer than the good one, and its slide leads over the end of that."""
        here = self._images.good_end
        if at != here:
            return self._ends[at]
        there = self._gdb.read(here - 6, 8)
        if there.endswith(self._machine.loop):
            return Outcome.RAN_GOOD
        return Outcome.RAN_BAD if there == self._images.bad_at(here - 6, 8) else Outcome.RAN_OTHER

    def _hung(self, result: Boot) -> None:
        """It came to none of its ends; if it is in an image all the same, then something led it astray in there."""
        result.pc = self._pc()
        result.outcome = Outcome.HUNG
        if result.pc in self._images.app_ram:
            result.outcome = self._ended(self._images.good_end)

    def _strike(self, fault: Fault | None) -> None:
        """Executes the wrong instruction, once."""
        assert fault is not None
        if fault.lasting:
            return
        right = self._gdb.read(fault.address, len(fault.code))
        self._gdb.write(fault.address, fault.code)
        self._step(fault.address)
        self._gdb.write(fault.address, right)


class _Walk:
    """How far a boot is on its way to the fault."""

    def __init__(self, fault: Fault | None) -> None:
        self.struck = fault is None or fault.lasting
        self.just_struck = False  # and so no longer where it was stopped
        self.fault = fault
        self._left = 0 if fault is None else fault.hit
        self._anchors = 0 if fault is None else fault.count

    @property
    def awaits(self) -> set[int]:
        """Where to stop for it."""
        if self.struck or self.fault is None:
            return set()
        return {self.fault.anchor if self._anchors else self.fault.address}

    def arrive(self) -> bool:
        """At one of them. True if the fault is due."""
        if self._anchors:
            self._anchors -= 1
            return False
        self._left -= 1
        self.struck = self.just_struck = self._left == 0
        return self.struck
