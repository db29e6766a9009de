# SPDX-License-Identifier: Apache-2.0
"""Flashing Espressif chips by Espressif's programs esptool and espefuse: driver `esptool` (extra `esptool`).

Guards: the chip tells its kind and its MAC address, and espefuse reads (and never burns) whether flash encryption and
secure boot are on, before a byte is written; a chip with flash encryption gets no plain image unless the board TOML
says how. What was written is read out and compared here, beside esptool's own comparison.
Leaves to others: the port's lock; the port itself is esptool's while it runs.

Both are GPL-2.0-or-later: they are run as programs, and nothing of them is imported.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from assay.drivers.flash.compared import compare, file_of, keep, left_by_tool, progress_of
from assay.drivers.flash.tool_program import OnLine, Said, ToolProgram
from assay.drivers.port_users import programs_with
from assay.errors import (
    AssayError,
    InfrastructureError,
    LinkError,
    PlaceBusy,
    Refused,
    ToolMissing,
    UnitFailed,
    UsageFault,
    WrongBoard,
)
from assay.interfaces.device import Progress
from assay.interfaces.flasher import Action, FlashPlan, Identity, Part, ReadBack

INSTALL = "pip install 'assay[esptool]'"
VERSION_MIN = (5, 0)
"""esptool 5 names its commands with dashes, and Debian 12 has 4.4."""

ASK_S = 60.0
LINE_S = 300.0  # beside what the line needs: erasing 16 MB takes up to 100 s
BITS_PER_BYTE = 10
BAUD = 460800

Encrypted = Literal["refuse", "by-chip", "beforehand"]
_ENCRYPTION_COUNTS = ("SPI_BOOT_CRYPT_CNT", "FLASH_CRYPT_CNT")
_SECURE_BOOT = ("SECURE_BOOT_EN", "ABS_DONE_0", "ABS_DONE_1")
_TELL = (*_ENCRYPTION_COUNTS, *_SECURE_BOOT)
_HOW: dict[str, tuple[str, ...]] = {
    "refuse": (),
    "by-chip": ("--encrypt",),
    "beforehand": ("--ignore-flash-enc-efuse",),
}

_KIND = re.compile(r"^Chip type:\s+(\S+)(.*)$", re.MULTILINE)
_MAC = re.compile(r"^MAC:\s+([0-9a-fA-F:]{17})", re.MULTILINE)
_SIZE = re.compile(r"^Detected flash size:\s+(\S+)", re.MULTILINE)
_VERSION = re.compile(r"v?(\d+)\.(\d+)(?:\.\d+)?\S*\s*$")
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)%")


class EsptoolFlasher:
    """One chip on one serial port."""

    def __init__(
        self, port: str, chip: str, baud: int, before: str, after: str, stub: bool, encrypted: Encrypted, folder: Path
    ) -> None:
        self._port, self._chip, self._baud, self._stub = port, chip, baud, stub
        self._before, self._after, self._encrypted, self._folder = before, after, encrypted, folder
        self._esptool = ToolProgram("esptool", INSTALL, folder)
        self._espefuse = ToolProgram("espefuse", INSTALL, folder)
        self._asked: Identity | None = None
        self.name = f"esptool on {port}"

    def identify(self) -> Identity:
        """Kind, MAC address, size of flash, and what is burnt. Raises LinkError, WrongBoard, ToolMissing."""
        self._check_version()
        said = self._run(self._words(), ("flash-id",), doing="ask the chip what it is", limit_s=ASK_S)
        kind, mac, size = (pattern.search(said.text) for pattern in (_KIND, _MAC, _SIZE))
        if kind is None or mac is None:
            raise self._esptool.failed(said, "tell what the chip is")
        burnt = self._burnt()
        facts = [("type", f"{kind[1]}{kind[2]}"), ("flash", size[1] if size else "unknown")]
        facts += [("flash encryption", burnt[0]), ("secure boot", burnt[1])]
        self._asked = Identity(None, mac[1].replace(":", "").lower(), kind[1], tuple(facts))
        return self._asked

    def plan(self, parts: Sequence[Part]) -> FlashPlan:
        """Raises UsageFault for a part without an address."""
        for part in parts:
            if not isinstance(part.where, int):
                raise UsageFault(
                    f"{part.name} has no address",
                    remedy="add it to addresses of the board's flasher, or give a hex file",
                )
        words = ("esptool", *self._words(), *self._write_words(parts))
        writes = [Action("write", where=part.where, size=part.size) for part in parts]
        reads = [
            Action("read back", ("esptool", *self._words(), *self._read_words(part)), part.where, part.size)
            for part in parts
        ]
        reset = Action(f"restart ({self._after})", ("esptool", *self._words(after=self._after), "chip-id"))
        whole = Action("flash", words, size=sum(part.size for part in parts))
        return FlashPlan(tuple(parts), (whole, *writes, *reads, reset))

    def write(self, plan: FlashPlan, progress: Progress) -> None:
        """Raises Refused for a chip with flash encryption when nobody said how; UnitFailed, LinkError."""
        found = self._asked or self.identify()
        self._check_encryption(dict(found.facts))
        for part in plan.parts:
            keep(self._folder, part)
        total = sum(part.size for part in plan.parts)
        said = self._run(
            self._words(), self._write_words(plan.parts), doing="write", limit_s=_limit_s(total, self._baud),
            on_line=progress_of(_PERCENT, total, progress),
        )  # fmt: skip
        verified = said.text.count("Hash of data verified")
        if self._encrypted != "by-chip" and verified < len(plan.parts):
            raise self._esptool.failed(said, "verify what it wrote")
        progress(total, total)

    def read_back(self, plan: FlashPlan, progress: Progress) -> tuple[ReadBack, ...]:
        """Read out and compared; what the chip encrypted cannot be. Raises UnitFailed."""
        if self._encrypted == "by-chip":
            detail = "the chip encrypted it, so that nothing can be compared; esptool reported no error"
            return tuple(ReadBack(p.name, p.where, p.size, p.sha256, "accepted", detail) for p in plan.parts)
        return compare(plan.parts, self._read, progress)

    def reset(self) -> None:
        """Into the app. Raises LinkError."""
        self._run(self._words(after=self._after), ("chip-id",), doing="restart the chip", limit_s=ASK_S)

    def close(self) -> None:
        """Nothing is open between two runs."""

    def _read(self, part: Part) -> bytes:
        words = self._read_words(part)
        file = Path(words[-1])
        file.unlink(missing_ok=True)
        self._run(self._words(), words, doing="read back", limit_s=_limit_s(part.size, self._baud))
        return left_by_tool(file)

    def _words(self, after: str = "no-reset") -> tuple[str, ...]:
        stub = () if self._stub else ("--no-stub",)
        where = ("--port", self._port, "--baud", str(self._baud), "--before", self._before, "--after", after)
        return ("--chip", self._chip, *where, *stub)

    def _write_words(self, parts: Sequence[Part]) -> tuple[str, ...]:
        # `keep`: esptool would else change bytes of a bootloader's header, and no file would be what it says.
        keep = ("--flash-mode", "keep", "--flash-freq", "keep", "--flash-size", "keep")
        files = [word for part in parts for word in (hex(_address(part)), str(file_of(self._folder, part)))]
        return ("write-flash", *keep, *_HOW[self._encrypted], *files)

    def _read_words(self, part: Part) -> tuple[str, ...]:
        back = file_of(self._folder, part).with_suffix(".back")
        return ("read-flash", hex(_address(part)), str(part.size), str(back))

    def _run(
        self, first: Sequence[str], then: Sequence[str], *, doing: str, limit_s: float, on_line: OnLine | None = None
    ) -> Said:
        self._check_free()
        said = self._esptool.run([*first, *then], doing=doing, limit_s=limit_s, on_line=on_line)
        if said.status != 0:
            raise _failure(self._esptool, said, doing, self._port)
        return said

    def _check_free(self) -> None:
        """esptool opens a port that a terminal has open, too, and the two take each other's bytes."""
        if others := programs_with(self._port):
            raise PlaceBusy(f"{self._port} is open in {', '.join(others)}", remedy="end it, then do it again")

    def _check_version(self) -> None:
        said = self._esptool.run(["version"], doing="tell its version", limit_s=ASK_S)
        told = [match for line in said.lines if (match := _VERSION.search(line))]
        found = (int(told[-1][1]), int(told[-1][2])) if told else (0, 0)
        if found < VERSION_MIN:
            raise ToolMissing(
                f"esptool {found[0]}.{found[1]} is too old, {VERSION_MIN[0]}.{VERSION_MIN[1]} is needed", remedy=INSTALL
            )

    def _burnt(self) -> tuple[str, str]:
        """Whether flash encryption and secure boot are on, as the eFuses say. Never "off" for what was not told."""
        words = ("--chip", self._chip, "--port", self._port, "--before", self._before, "summary", "--format", "json")
        self._check_free()
        said = self._espefuse.run(words, doing="read the eFuses", limit_s=ASK_S)
        if said.status != 0:
            raise _failure(self._espefuse, said, "read the eFuses", self._port)
        try:
            told = json.loads(said.text[said.text.index("{") : said.text.rindex("}") + 1])
            raw = {name: int(told[name]["raw_value"], 16) for name in _TELL if name in told}
        except (ValueError, KeyError, TypeError) as error:
            raise self._espefuse.failed(said, "tell the eFuses") from error
        counts = [raw[name] for name in _ENCRYPTION_COUNTS if name in raw]
        boots = [raw[name] for name in _SECURE_BOOT if name in raw]
        if not counts or not boots:
            raise InfrastructureError(
                f"espefuse does not tell of this {self._chip} whether flash encryption and secure boot are on",
                remedy=f"such a chip cannot be flashed here; see what it said: {said.file}",
            )
        encryption = any(count.bit_count() % 2 for count in counts)
        return ("on" if encryption else "off"), ("on" if any(boots) else "off")

    def _check_encryption(self, facts: dict[str, str]) -> None:
        is_on = facts["flash encryption"] == "on"
        if is_on and self._encrypted == "refuse":
            raise Refused(
                "the chip's flash encryption is on: a plain image would not start, and may be the last one",
                remedy='say how in the board TOML: encrypted = "by-chip" (the chip encrypts what it gets) or '
                '"beforehand" (the files are encrypted already); nothing was written',
            )
        if not is_on and self._encrypted != "refuse":
            raise Refused(
                f'the board TOML says encrypted = "{self._encrypted}", and the chip\'s flash encryption is off',
                remedy="is it the right chip? A new one has to be set up first; nothing was written",
            )


def open_esptool(
    address: str,
    *,
    folder: Path,
    port: str,
    chip: str,
    baud: int = BAUD,
    before: str = "default-reset",
    after: str = "hard-reset",
    stub: bool = True,
    encrypted: str = "refuse",
) -> EsptoolFlasher:
    """Driver `esptool`: on the unit's own port, or the one at `address`. `chip`, `before`, `after` are esptool's words,
    `baud` is bit/s while flashing; `encrypted` says how a chip with flash encryption is written. Raises UsageFault.
    """
    if encrypted not in _HOW:
        raise UsageFault(f"encrypted = {encrypted!r} is nothing that can be done", remedy=f"one of: {', '.join(_HOW)}")
    where = address or port
    if not where:
        raise UsageFault("esptool needs a serial port", remedy="give the place a usb or port in bench.toml")
    how: Encrypted = encrypted  # type: ignore[assignment]
    return EsptoolFlasher(where, chip, baud, before, after, stub, how, folder)


def _limit_s(size: int, baud: int) -> float:
    """For `size` bytes over a line of `baud` bit/s, half of which may be frames and waiting: 16 MB at 115200 bit/s take
    24 minutes.
    """
    return LINE_S + 2 * size * BITS_PER_BYTE / baud


def _address(part: Part) -> int:
    assert isinstance(part.where, int)
    return part.where


_PORT = "check cable and port; give yourself the port's group (sudo usermod -aG dialout $USER, then log in again)"
_FAILURES: tuple[tuple[str, type[AssayError], str], ...] = (
    (r"This chip is .*, not", WrongBoard, "connect the right board, or correct chip in the board TOML"),
    (r"Permission denied", LinkError, _PORT),
    (r"Could not open|could not open port|port is busy or doesn't exist", LinkError, _PORT),
    (
        r"Failed to connect|No serial data received",
        LinkError,
        "hold BOOT while you press and let go RESET; is it this port?",
    ),
    (r"MD5 of file does not match|Verification failed|verify failed", UnitFailed, "flash it again; is its flash worn?"),
    (r"secure download mode", Refused, "such a chip tells and reads nothing: flash it by its own update"),
)


_BUSY = re.compile(r"Could not exclusively lock|Resource temporarily unavailable|Device or resource busy")


def _failure(tool: ToolProgram, said: Said, doing: str, port: str) -> AssayError:
    if _BUSY.search(said.text):
        others = ", ".join(programs_with(port)) or "another program"
        return PlaceBusy(f"{port} is used by {others}", remedy="wait until it is done, or end it")
    for pattern, kind, remedy in _FAILURES:
        line = next((line.strip() for line in said.lines if re.search(pattern, line, re.IGNORECASE)), None)
        if line is not None:
            return kind(f"{tool.program} on {port} could not {doing}: {line}", remedy=remedy)
    failed: InfrastructureError = tool.failed(said, doing)
    return failed
