# SPDX-License-Identifier: Apache-2.0
"""Flashing by OpenOCD: driver `openocd` (GPL: run as a program, nothing of it is used otherwise).

Guards: the probe is named by its serial number; OpenOCD gets whole commands, in which a path is one word of its Tcl,
whatever characters it has; it opens no port. What was written is dumped and compared here, beside OpenOCD's own verify.
Leaves to others: the configuration of probe and chip, which is OpenOCD's and named in the board TOML.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from assay.drivers.flash.compared import compare, file_of, keep, left_by_tool
from assay.drivers.flash.probe_failures import UNPLUGGED, failure
from assay.drivers.flash.tool_program import Said, ToolProgram
from assay.drivers.usb_devices import check_permission, same_serial
from assay.errors import AssayError, LinkError, Refused, ToolMissing, UnitFailed, UsageFault
from assay.interfaces.device import Progress
from assay.interfaces.flasher import Action, FlashPlan, Identity, Part, ReadBack

INSTALL = "apt-get install openocd"
VERSION_MIN = (0, 12)
"""OpenOCD 0.12 reads memory into a list (`read_memory`)."""

ASK_S = 30.0
WRITE_S = 900.0  # megabytes word by word over a slow probe
MARK = "ASSAY"
"""Begins the lines that are ours in what it says."""

NO_PORTS = ("gdb_port disabled", "telnet_port disabled", "tcl_port disabled")
_SPECIAL = re.compile(r'([\s\\{}\[\]$";#])')
_VERSION = re.compile(r"Open On-Chip Debugger (\d+)\.(\d+)")
_TOLD = re.compile(rf"^{MARK} (\w+) (.*)$", re.MULTILINE)
_SEEN = re.compile(
    r"^Info : (.*(?:processor detected|device id|Flash, |flash size|Found flash device).*)$", re.MULTILINE
)


def tcl_word(text: str) -> str:
    """`text` as one word of Tcl. Raises UsageFault for control characters, which no path of ours has."""
    if not text or not text.isprintable():
        raise UsageFault(f"{text!r} cannot be given to OpenOCD", remedy="use a folder with a plain name")
    return _SPECIAL.sub(r"\\\1", text)


class OpenocdFlasher:
    """One board behind one probe."""

    def __init__(
        self, serial: str | None, first: Sequence[str], registers: tuple[int | None, int, int | None], halt: str,
        folder: Path,
    ) -> None:  # fmt: skip
        self._serial, self._first, self._halt, self._folder = serial, tuple(first), halt, folder
        self._chip_address, self._chip_words, self._kind_address = registers
        self._tool = ToolProgram("openocd", INSTALL, folder)
        self.name = f"OpenOCD on probe {serial}" if serial else "OpenOCD"

    def identify(self) -> Identity:
        """Halts the core, asks, and lets it run on. Raises LinkError, ToolMissing, Refused."""
        self._check_version()
        asks = ["init", "halt", "flash probe 0", *self._questions(), "resume"]
        said = self._run(asks, "ask the chip what it is", ASK_S)
        told = dict(_TOLD.findall(said.text))
        seen = [line.strip() for line in _SEEN.findall(said.text)]
        try:
            register = f"0x{_words(told['kind'])[0]:08x}" if "kind" in told else ""
            chip = b"".join(word.to_bytes(4, "little") for word in _words(told.get("chip", ""))).hex()
        except (ValueError, IndexError, OverflowError) as error:
            raise self._tool.failed(said, "tell what the chip is") from error
        kind = "; ".join([register] * bool(register) + seen)
        return Identity(self._serial, chip or None, kind or None, (("OpenOCD", "; ".join(seen)),))

    def plan(self, parts: Sequence[Part]) -> FlashPlan:
        """Raises UsageFault for a part without an address."""
        for part in parts:
            if not isinstance(part.where, int):
                raise UsageFault(
                    f"{part.name} has no address",
                    remedy="add it to addresses of the board's flasher, or give a hex file",
                )
        writes = [Action("write", where=part.where, size=part.size) for part in parts]
        whole = Action("flash", ("openocd", *self._words(self._write_commands(parts))), size=sum(p.size for p in parts))
        back = Action("read back", ("openocd", *self._words(self._dump_commands(parts))))
        reset = Action("restart", ("openocd", *self._words(["init", "reset run"])))
        return FlashPlan(tuple(parts), (whole, *writes, back, reset))

    def write(self, plan: FlashPlan, progress: Progress) -> None:
        """Raises UnitFailed when OpenOCD's own verify says no, Refused, LinkError."""
        for part in plan.parts:
            keep(self._folder, part)
        total, done = sum(part.size for part in plan.parts), 0

        def on_line(line: str) -> None:
            nonlocal done
            found = _TOLD.match(line)
            if found is not None and found[1] == "written":
                done += int(found[2])
                progress(done, total)

        said = self._tool.run(
            self._words(self._write_commands(plan.parts)), doing="write", limit_s=WRITE_S, on_line=on_line
        )
        self._check(said, "write")
        if len(re.findall(rf"^{MARK} verified", said.text, re.MULTILINE)) != len(plan.parts):
            raise self._tool.failed(said, "verify what it wrote")
        progress(total, total)

    def read_back(self, plan: FlashPlan, progress: Progress) -> tuple[ReadBack, ...]:
        """Dumped and compared. Raises UnitFailed."""
        for part in plan.parts:
            self._back(part).unlink(missing_ok=True)
        self._run(self._dump_commands(plan.parts), "read back", WRITE_S)
        return compare(plan.parts, lambda part: left_by_tool(self._back(part)), progress)

    def reset(self) -> None:
        """Raises LinkError."""
        self._run(["init", "reset run"], "restart the board", ASK_S)

    def halt(self) -> None:
        """Stop the core where it is. Raises LinkError."""
        self._run(["init", "halt"], "halt the core", ASK_S)

    def close(self) -> None:
        """Nothing is open between two runs."""

    def _back(self, part: Part) -> Path:
        return file_of(self._folder, part).with_suffix(".back")

    def _questions(self) -> list[str]:
        asks = []
        if self._chip_address is not None:
            asks.append(f'echo "{MARK} chip [read_memory {self._chip_address:#x} 32 {self._chip_words}]"')
        if self._kind_address is not None:
            asks.append(f'echo "{MARK} kind [read_memory {self._kind_address:#x} 32 1]"')
        return asks

    def _write_commands(self, parts: Sequence[Part]) -> list[str]:
        commands = ["init", self._halt]
        for part in parts:
            where = f"{tcl_word(str(file_of(self._folder, part)))} {_address(part):#x} bin"
            commands += [f"flash write_image erase {where}", f'echo "{MARK} written {part.size}"']
            commands += [f"verify_image {where}", f'echo "{MARK} verified {part.size}"']
        return commands

    def _dump_commands(self, parts: Sequence[Part]) -> list[str]:
        dumps = [f"dump_image {tcl_word(str(self._back(part)))} {_address(part):#x} {part.size}" for part in parts]
        return ["init", "halt", *dumps]

    def _words(self, commands: Sequence[str]) -> list[str]:
        serial = [f"adapter serial {tcl_word(self._serial)}"] if self._serial else []
        configured = [*self._first, *(word for each in (*NO_PORTS, *serial) for word in ("-c", each))]
        return [*configured, *(word for each in (*commands, "shutdown") for word in ("-c", each))]

    def _run(self, commands: Sequence[str], doing: str, limit_s: float) -> Said:
        if self._serial:
            check_permission(lambda device: same_serial(device.serial, self._serial))
        said = self._tool.run(self._words(commands), doing=doing, limit_s=limit_s)
        self._check(said, doing)
        return said

    def _check(self, said: Said, doing: str) -> None:
        if said.status != 0:
            raise failure(self._tool, said, doing, _FAILURES)

    def _check_version(self) -> None:
        said = self._tool.run(["--version"], doing="tell its version", limit_s=ASK_S)
        found = _VERSION.search(said.text)
        version = (int(found[1]), int(found[2])) if found else (0, 0)
        if version < VERSION_MIN:
            raise ToolMissing(
                f"OpenOCD {version[0]}.{version[1]} is too old, {VERSION_MIN[0]}.{VERSION_MIN[1]} is needed",
                remedy="install a newer one",
            )


def open_openocd(
    address: str,
    *,
    folder: Path,
    config: Sequence[str],
    transport: str = "",
    commands: Sequence[str] = (),
    serial: bool = True,
    halt: str = "reset init",
    chip_address: int = -1,
    chip_words: int = 2,
    kind_address: int = -1,
) -> OpenocdFlasher:
    """Driver `openocd`: `address` is the probe's serial number (none with `serial = false`, for probes that have none).
    `config` are its files (`-f`), the probe's first, behind which `transport` is selected; `commands` is Tcl before
    `init` (`-c`); `halt` is how the core is stopped for a write.
    `chip_address` and `chip_words` are where the chip's own number is, `kind_address` a register that tells its kind.

    Raises UsageFault.
    """
    if serial != bool(address):
        raise UsageFault(
            "OpenOCD needs the serial number of its probe" if serial else "the board TOML says serial = false",
            remedy='give the place probe = "SERIAL" in bench.toml' if serial else "leave probe out in bench.toml",
        )
    files = [("-f", file) for file in config]
    files[1:1] = [("-c", f"transport select {tcl_word(transport)}")] if transport else []
    first = [word for pair in (*files, *(("-c", each) for each in commands)) for word in pair]
    registers = (chip_address if chip_address >= 0 else None, chip_words, kind_address if kind_address >= 0 else None)
    return OpenocdFlasher(address or None, first, registers, halt, folder)


def _address(part: Part) -> int:
    assert isinstance(part.where, int)
    return part.where


def _words(text: str) -> list[int]:
    return [int(word, 0) for word in text.split()]


_CONNECT = "is the probe plugged in, the board powered, and this its serial number?"
_FAILURES: tuple[tuple[str, type[AssayError], str], ...] = (
    (r"checksum mismatch|contents differ|verify.*fail", UnitFailed, "flash it again; is its flash worn or protected?"),
    (r"Can't find ", UsageFault, "correct config in the board TOML; OpenOCD's own files are in its scripts folder"),
    (
        r"unable to find a matching|No J-Link device found|no device found|unable to open|open failed",
        LinkError,
        _CONNECT,
    ),
    (r"no flash bank found|not in any flash bank|outside of the (image|bank)", Refused, "correct the address"),
    (
        r"APPROTECT|is (read.?)?protected|device is locked|readout protection",
        Refused,
        "unlock it by hand: that erases it",
    ),
    (
        r"Error connecting DP|cannot read IDR|IR capture error|not examined|Failed to connect|Connection refused",
        LinkError,
        _CONNECT,
    ),
    (r"error (writing|reading) data|CMSIS-DAP command \w+ failed|Assertion `.* failed", LinkError, UNPLUGGED),
)
