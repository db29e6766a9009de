# SPDX-License-Identifier: Apache-2.0
"""Flashing by pyOCD, for CMSIS-DAP, J-Link and ST-Link probes: driver `pyocd` (extra `pyocd`).

Guards: the probe is named by its unique id, whole; several, or none, are listed; a chip that is locked stays so; what
was written is read out and compared here.
Leaves to others: pyOCD itself, which runs in a process of its own (`drivers.flash.pyocd_worker`).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from assay.drivers.flash.compared import compare, file_of, keep, left_by_tool
from assay.drivers.flash.probe_failures import Failures, failure_in
from assay.drivers.flash.pyocd_worker import MARK
from assay.drivers.flash.tool_program import OnLine, Said, ToolProgram
from assay.drivers.usb_devices import check_permission, same_serial
from assay.errors import AssayError, LinkError, Refused, ToolMissing, UnitFailed, UsageFault
from assay.formats.visible_text import visible
from assay.interfaces.device import Progress
from assay.interfaces.flasher import Action, FlashPlan, Identity, Part, ReadBack

INSTALL = "pip install 'assay[pyocd]'"
WORKER = ("-m", "assay.drivers.flash.pyocd_worker")
ASK_S = 60.0
WRITE_S = 900.0


class PyocdFlasher:
    """One board behind one probe."""

    def __init__(self, uid: str, target: str, settings: dict[str, Any], folder: Path) -> None:
        self._uid, self._target, self._settings, self._folder = uid, target, settings, folder
        self._tool = ToolProgram(sys.executable, INSTALL, folder)
        self.name = f"pyOCD on probe {uid}" if uid else "pyOCD"

    def identify(self) -> Identity:
        """Probe, chip and core. Raises LinkError, UsageFault listing the probes, Refused for a locked chip."""
        told = self._run("identify", (), "ask the chip what it is", ASK_S)
        words = [told.get("kind"), told.get("core")]  # never the part: that is what we said that it is
        facts = (("target of pyOCD", self._target), ("debug port", str(told.get("dpidr", ""))))
        kind = "; ".join(visible(str(word)) for word in words if word)
        return Identity(self._uid, told.get("chip"), kind or None, facts)

    def plan(self, parts: Sequence[Part]) -> FlashPlan:
        """Raises UsageFault for a part without an address."""
        for part in parts:
            if not isinstance(part.where, int):
                raise UsageFault(
                    f"{part.name} has no address",
                    remedy="add it to addresses of the board's flasher, or give a hex file",
                )
        writes = [Action("write", where=part.where, size=part.size) for part in parts]
        reads = [Action("read back", where=part.where, size=part.size) for part in parts]
        first = Action(f"connect by {self.name} to a {self._target}, halt, erase the sectors that are written")
        return FlashPlan(tuple(parts), (first, *writes, *reads, Action("restart")))

    def write(self, plan: FlashPlan, progress: Progress) -> None:
        """Raises UnitFailed, Refused for an address that is no flash, LinkError."""
        total = sum(part.size for part in plan.parts)
        for part in plan.parts:
            keep(self._folder, part)

        def on_line(line: str) -> None:
            if line.startswith(MARK):
                done = json.loads(line.removeprefix(MARK)).get("progress")
                if done is not None:
                    progress(min(total, int(total * done)), total)

        self._run("write", plan.parts, "write", WRITE_S, on_line)
        progress(total, total)

    def read_back(self, plan: FlashPlan, progress: Progress) -> tuple[ReadBack, ...]:
        """Read out and compared. Raises UnitFailed."""
        for part in plan.parts:
            self._back(part).unlink(missing_ok=True)
        self._run("read", plan.parts, "read back", WRITE_S)
        return compare(plan.parts, lambda part: left_by_tool(self._back(part)), progress)

    def reset(self) -> None:
        """Raises LinkError."""
        self._run("reset", (), "restart the board", ASK_S)

    def halt(self) -> None:
        """Stop the core where it is. Raises LinkError."""
        self._run("halt", (), "halt the core", ASK_S)

    def close(self) -> None:
        """Nothing is open between two runs."""

    def _back(self, part: Part) -> Path:
        return file_of(self._folder, part).with_suffix(".back")

    def _run(
        self, do: str, parts: Sequence[Part], doing: str, limit_s: float, on_line: OnLine | None = None
    ) -> dict[str, Any]:
        """Ask the worker, and answer what it told."""
        if find_spec("pyocd") is None:
            raise ToolMissing("the package pyocd is not installed", remedy=INSTALL)
        check_permission(lambda device: same_serial(device.serial, self._uid))
        files = [
            {
                "address": part.where,
                "size": part.size,
                "file": str(file_of(self._folder, part)),
                "back": str(self._back(part)),
            }
            for part in parts
        ]
        asked = {**self._settings, "do": do, "uid": self._uid, "target": self._target, "parts": files}
        asked["folder"] = str(self._folder)
        said = self._tool.run(WORKER, doing=doing, limit_s=limit_s, on_line=on_line, stdin=json.dumps(asked).encode())
        told: dict[str, Any] = {}
        for line in said.lines:
            if line.startswith(MARK):
                told |= json.loads(line.removeprefix(MARK))
        if said.status != 0:
            raise self._failed(said, told, doing)
        return told

    def _failed(self, said: Said, told: dict[str, Any], doing: str) -> AssayError:
        if "probes" in told:
            return self._no_probe(told["probes"])
        words = visible(f"{told.get('error', '')}: {told.get('words', '')}") if "error" in told else said.last_words
        known = failure_in("pyOCD", [words, *said.lines], doing, _FAILURES)
        if known is not None:
            return known
        failed: AssayError = LinkError(f"pyOCD could not {doing}: {words}", remedy=f"see what it said: {said.file}")
        return failed

    def _no_probe(self, there: list[dict[str, str]]) -> AssayError:
        listed = "; ".join(f"{visible(each['uid'])} ({visible(each['description'])})" for each in there) or "none"
        if not self._uid:
            return UsageFault(
                "pyOCD needs the unique id of its probe",
                remedy=f'give the place probe = "ID" in bench.toml; probes of this host: {listed}',
            )
        return LinkError(
            f"there is no probe {self._uid}", remedy=f"plug it in, or correct probe in bench.toml; there is: {listed}"
        )


def open_pyocd(
    address: str,
    *,
    folder: Path,
    target: str,
    frequency: int = -1,
    connect: str = "halt",
    chip_address: int = -1,
    chip_words: int = 2,
    kind_address: int = -1,
) -> PyocdFlasher:
    """Driver `pyocd`: `address` is the probe's unique id, `target` pyOCD's name of the chip, `frequency` in Hz.
    `chip_address` and `chip_words` are where the chip's own number is, `kind_address` a register that tells its kind.
    """
    settings = {
        "frequency": frequency if frequency > 0 else None,
        "connect": connect,
        "chip_address": chip_address if chip_address >= 0 else None,
        "chip_words": chip_words,
        "kind_address": kind_address if kind_address >= 0 else None,
    }
    return PyocdFlasher(address, target, settings, folder)


_FAILURES: Failures = (
    (r"APPROTECT enabled|\b[Ll]ocked\b|readout protection", Refused, "unlock it by hand: that erases all of it"),
    (
        r"No flash region|no flash (region|memory)|not within any flash region|does not.*memory map",
        Refused,
        "correct the address",
    ),
    (
        r"FlashProgramFailure|FlashEraseFailure|FlashFailure",
        UnitFailed,
        "flash it again; is its flash worn or protected?",
    ),
    (
        r"Target type .* not recognized|TargetSupportError",
        UsageFault,
        "correct target in the board TOML (pyocd list --targets), or install its pack: pyocd pack install NAME",
    ),
    (
        r"No ACK|TransferError|TransferTimeoutError",
        LinkError,
        "check cable and power of board and probe",
    ),
)
