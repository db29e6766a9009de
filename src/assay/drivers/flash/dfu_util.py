# SPDX-License-Identifier: Apache-2.0
"""Flashing by USB DFU and the program dfu-util (GPL: run as a program): driver `dfu-util`.

Guards: the device is named by its serial number or its socket, its alternate setting by name or number, and what
answers is listed before a byte is written; a DfuSe device (ST's ROM) is read back by an upload and compared.
Leaves to others: bringing the board into its DFU mode.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from assay.drivers.flash.compared import compare, file_of, keep, left_by_tool, progress_of
from assay.drivers.flash.probe_failures import Failures, failure
from assay.drivers.flash.tool_program import ToolProgram
from assay.drivers.usb_devices import check_permission
from assay.errors import LinkError, Refused, UnitFailed, UsageFault
from assay.formats.visible_text import visible
from assay.interfaces.device import Progress
from assay.interfaces.flasher import Action, FlashPlan, Identity, Part, ReadBack

INSTALL = "apt-get install dfu-util"
LIST_S = 15.0
WRITE_S = 600.0
NO_MORE_DEVICE = (0, 74)
"""After `:leave` the device is gone before dfu-util has asked how it went, which is status 74 then."""

_LINE = re.compile(
    r"^Found (DFU|Runtime): \[([0-9a-f]{4}):([0-9a-f]{4})\] ver=(\S+), devnum=(\d+), cfg=(\d+), intf=(\d+), "
    r'path="([^"]*)", alt=(\d+), name="([^"]*)", serial="([^"]*)"'
)
_PERCENT = re.compile(r"(?:Download|Upload)\s*\[[= ]*\]\s*(\d+)%")


@dataclass(frozen=True)
class DfuDevice:
    """One alternate setting of a device in DFU mode, as `dfu-util -l` lists it."""

    mode: str
    vendor: int
    product: int
    path: str
    alt: int
    alt_name: str
    serial: str

    def __str__(self) -> str:
        ids = f"{self.vendor:04x}:{self.product:04x}"
        return f"{ids} serial number {self.serial}, in socket {self.path}, alt {self.alt} ({self.alt_name})"


def listed(text: str) -> list[DfuDevice]:
    """The devices in what `dfu-util -l` said."""
    found = [_LINE.match(line.strip()) for line in text.splitlines()]
    return [
        DfuDevice(each[1], int(each[2], 16), int(each[3], 16), each[8], int(each[9]), visible(each[10]), each[11])
        for each in found
        if each is not None
    ]


class DfuFlasher:
    """One device. `address` is its serial number or socket, or empty where vendor and product tell it alone."""

    def __init__(self, address: str, ids: tuple[int, int], alt: str, dfuse: bool, folder: Path) -> None:
        self._address, self._ids, self._alt, self._dfuse, self._folder = address, ids, alt, dfuse, folder
        self._tool = ToolProgram("dfu-util", INSTALL, folder)
        self._found: DfuDevice | None = None
        self.name = f"dfu-util on {ids[0]:04x}:{ids[1]:04x} {address}".rstrip()

    def identify(self) -> Identity:
        """The device in DFU mode. Raises LinkError, UsageFault listing candidates, ToolMissing."""
        self._found = self._find()
        found = self._found
        facts = (("device", f"{found.vendor:04x}:{found.product:04x}"), ("alt", found.alt_name), ("socket", found.path))
        return Identity(probe=found.serial, kind=found.alt_name, facts=facts)

    def plan(self, parts: Sequence[Part]) -> FlashPlan:
        """Raises UsageFault for a part that this kind of device cannot place."""
        for part in parts:
            if self._dfuse != isinstance(part.where, int):
                raise UsageFault(
                    f"{part.name} {'has no address' if self._dfuse else 'has an address'}",
                    remedy="a DfuSe device needs addresses in the board's flasher, any other takes none",
                )
        if not self._dfuse and len(parts) != 1:
            raise UsageFault("such a device takes one image at a time", remedy="give one image")
        actions = []
        for part in parts:
            actions.append(Action("download", ("dfu-util", *self._select(), *self._down(part))))
            actions.append(Action("write", where=part.where, size=part.size))
            if self._dfuse:
                actions.append(
                    Action("read back", ("dfu-util", *self._select(), *self._up(part)), part.where, part.size)
                )
        return FlashPlan(tuple(parts), (*actions, Action("restart")))

    def write(self, plan: FlashPlan, progress: Progress) -> None:
        """Raises UnitFailed when the device says no, LinkError."""
        self._found = self._found or self._find()
        total, done = sum(part.size for part in plan.parts), 0
        for part in plan.parts:
            keep(self._folder, part)
            self._run(self._down(part), "write", part.size, lambda n, _all, done=done: progress(done + n, total))  # type: ignore[misc]
            done += part.size
            progress(done, total)

    def read_back(self, plan: FlashPlan, progress: Progress) -> tuple[ReadBack, ...]:
        """Uploaded and compared, where the device can; else it took everything and its status was good."""
        if not self._dfuse:
            detail = "the device took it and reported no error; it has no addresses to read back"
            return tuple(ReadBack(p.name, p.where, p.size, p.sha256, "accepted", detail) for p in plan.parts)
        return compare(plan.parts, self._read, progress)

    def reset(self) -> None:
        """Leave DFU mode. A device without addresses did so when it had everything."""
        if not self._dfuse or self._found is None:
            return
        said = self._tool.run([*self._select(), "-s", ":leave"], doing="start the app", limit_s=LIST_S)
        if said.status not in NO_MORE_DEVICE:
            raise failure(self._tool, said, "start the app", _FAILURES)

    def close(self) -> None:
        """Nothing is open between two runs."""

    def _select(self) -> list[str]:
        """The words that choose this device alone; before it was found, those that are known."""
        ids = f"{self._ids[0]:04x}:{self._ids[1]:04x}"
        found = self._found
        if found is None:
            return ["-d", f",{ids}", *(["-S", f",{self._address}"] if self._address else []), "-a", self._alt]
        return ["-d", f",{ids}", "-S", f",{found.serial}", "-p", found.path, "-a", str(found.alt)]

    def _down(self, part: Part) -> list[str]:
        where = ["-s", f"{part.where:#x}"] if isinstance(part.where, int) else ["-R"]
        return [*where, "-D", str(file_of(self._folder, part))]

    def _up(self, part: Part) -> list[str]:
        assert isinstance(part.where, int)
        return ["-s", f"{part.where:#x}:{part.size}", "-U", str(file_of(self._folder, part).with_suffix(".back"))]

    def _read(self, part: Part) -> bytes:
        words = self._up(part)
        file = Path(words[-1])
        file.unlink(missing_ok=True)  # dfu-util never writes over a file
        self._run(words, "read back", part.size, lambda _done, _all: None)
        return left_by_tool(file)

    def _run(self, words: Sequence[str], doing: str, size: int, progress: Progress) -> None:
        said = self._tool.run(
            [*self._select(), *words], doing=doing, limit_s=WRITE_S, on_line=progress_of(_PERCENT, size, progress)
        )
        if said.status != 0:
            raise failure(self._tool, said, doing, _FAILURES)

    def _find(self) -> DfuDevice:
        check_permission(lambda device: (device.vendor, device.product) == self._ids)
        said = self._tool.run(["-l"], doing="list the devices", limit_s=LIST_S)
        if said.status != 0:
            raise failure(self._tool, said, "list the devices", _FAILURES)
        there = listed(said.text)
        found = [each for each in there if self._is_meant(each)]
        if len(found) == 1:
            return found[0]
        words = "; ".join(map(str, found or there)) or "none"
        if found:
            raise UsageFault(
                f"{len(found)} devices can be it: {words}",
                remedy="name its serial number, or its socket where they share one, under flash of the place; or alt",
            )
        raise LinkError(
            f"no device {self._ids[0]:04x}:{self._ids[1]:04x} {self._address} with alt {self._alt!r} is in DFU mode",
            remedy=f"bring the board into DFU mode (its manual says how); devices that can DFU: {words}",
        )

    def _is_meant(self, device: DfuDevice) -> bool:
        is_it = device.mode == "DFU" and (device.vendor, device.product) == self._ids
        alt = self._alt in (str(device.alt), device.alt_name) or device.alt_name.startswith(f"@{self._alt}")
        return is_it and alt and self._address in ("", device.serial, device.path)


def open_dfu(
    address: str, *, folder: Path, vendor: int, product: int, alt: str = "0", dfuse: bool = False
) -> DfuFlasher:
    """Driver `dfu-util`: `address` is the serial number or socket of the device in DFU mode; `alt` number or name of
    the alternate setting, `dfuse` for devices with addresses. Raises UsageFault.
    """
    for word, value in (("vendor", vendor), ("product", product)):
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 0xFFFF:
            raise UsageFault(f"{word} = {value!r} is no USB id", remedy="write it as 0x0483")
    return DfuFlasher(address, (vendor, product), str(alt), dfuse, folder)


_FAILURES: Failures = (
    (r"No DFU capable USB device available", LinkError, "is it still in DFU mode, and plugged in?"),
    (r"More than one DFU capable USB device found", UsageFault, "name its serial number under flash of the place"),
    (r"Last page at .* is not writeable|not writeable", Refused, "correct the address"),
    (
        r"errVENDOR|dfuERROR, status\(11\)",
        Refused,
        "an STM32 says so whose memory is protected: take that off by hand, which erases all of it",
    ),
    (r"errTARGET|errFILE|dfuERROR, status\([12]\)", Refused, "correct the address, or the file"),
    (
        r"errVERIFY|errWRITE|errERASE|errCHECK_ERASED|errPROG|errADDRESS|dfuERROR, status\([3-8]\)",
        UnitFailed,
        "flash it again; is it protected?",
    ),
    (r"Cannot open DFU device|can't detach", LinkError, "check cable and power"),
)
