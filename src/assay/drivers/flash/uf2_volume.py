# SPDX-License-Identifier: Apache-2.0
"""Flashing by a UF2 bootloader, which shows itself as a small USB disk: driver `uf2`.

Guards: the volume is chosen by its Board-ID and the USB serial number or socket of its disk, never by luck; a file for
another family is refused; what is written is synced, and written only when the volume has gone as it should.
Leaves to others: mounting (the desktop, udisks), the format (`formats.uf2`).

A bootloader restarts into the app when it has the last block, so mostly nothing can be read back: that is said.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from assay.errors import DeviceTimeout, LinkError, NotVerified, Refused, StorageError, UnitFailed, UsageFault
from assay.formats.uf2 import PAYLOAD_BYTES, Segment, is_uf2, read_uf2, write_uf2
from assay.formats.visible_text import visible
from assay.interfaces.device import Progress
from assay.interfaces.flasher import Action, FlashPlan, Identity, Part, ReadBack

MOUNTS = Path("/proc/self/mounts")
BLOCKS = Path("/sys/class/block")
FILE_SYSTEMS = ("vfat", "msdos", "fuse.fusefat")
INFO = "INFO_UF2.TXT"
CURRENT = "CURRENT.UF2"
INFO_BYTES_MAX = 4096
FILE_NAME = "ASSAY.UF2"
COPY_BYTES = 32 * 1024
LAST_BYTES = 4096
"""The file is synced once more so many bytes before its end at the most: a disk that goes away before has not got all
of it. In these last bytes a pulled cable looks like a board that restarts. A page, so that none is written twice.
"""
POLL_S = 0.1


@dataclass(frozen=True)
class Volume:
    """A mounted UF2 volume: its INFO_UF2.TXT, and the USB device that it is on, as far as Linux tells."""

    path: Path
    board_id: str
    info: tuple[str, ...]
    serial: str | None = None
    location: str | None = None

    def __str__(self) -> str:
        serial = f", serial number {self.serial}" if self.serial else ""
        location = f", in socket {self.location}" if self.location else ""
        return f"{self.path} ({self.board_id}{serial}{location})"


class Uf2Flasher:
    """One board with a UF2 bootloader. `address` is a serial number, a socket, or the folder that is the volume."""

    def __init__(self, address: str, family: int, board_id: str, taken_timeout_s: float, wait_s: float) -> None:
        self._address, self._family, self._board_id = address, family, board_id
        self._taken_timeout_s, self._wait_s = taken_timeout_s, wait_s
        self._volume: Volume | None = None
        self.name = f"the UF2 volume {address or board_id}"

    def identify(self) -> Identity:
        """The volume's Board-ID and its USB serial number. Raises LinkError, UsageFault listing candidates."""
        self._volume = self._wait()
        facts = tuple(_fact(line) for line in self._volume.info)
        where = (("volume", str(self._volume.path)), ("socket", self._volume.location or "unknown"))
        return Identity(probe=self._volume.serial, kind=self._volume.board_id, facts=(*facts, *where))

    def plan(self, parts: Sequence[Part]) -> FlashPlan:
        """One file for all parts. Raises Refused for another family, UsageFault for a binary without address."""
        segments = [segment for part in parts for segment in self._segments(part)]
        _check_blocks(segments)
        actions = [Action("write", where=each.address, size=len(each.data)) for each in segments]
        size = len(self._file(segments))
        copy = Action(f"copy a file for family {self._family:#010x} to {self.name}", size=size)
        return FlashPlan(tuple(parts), (copy, *actions, Action("wait until the volume has gone")))

    def write(self, plan: FlashPlan, progress: Progress) -> None:
        """Copy, sync, and wait until the bootloader has taken it. Raises LinkError, DeviceTimeout."""
        volume = self._volume or self._wait()
        data = self._file([segment for part in plan.parts for segment in self._segments(part)])
        had = 0

        def moved(done: int, total: int) -> None:
            nonlocal had
            had = done
            progress(done, total)

        try:
            _copy(volume.path / FILE_NAME, data, moved)
        except OSError as error:
            self._check_why(volume, had, len(data), error)
        if not self._has_gone(volume, self._taken_timeout_s):
            raise DeviceTimeout(
                f"waited {self._taken_timeout_s:g} s for {volume} to go after the last block: its bootloader did not "
                "take the file",
                remedy="is the file for this chip (family), and whole? See INFO_UF2.TXT there",
            )
        self._volume = None

    def _check_why(self, volume: Volume, had: int, size: int, error: OSError) -> None:
        """The board restarts at the last block, often before the file system has said its last word: that is no fault.

        Raises LinkError for a volume that had no more than `had` bytes of `size`, StorageError for one that is there.
        """
        if not self._has_gone(volume, min(1.0, self._taken_timeout_s)):
            raise StorageError(
                f"cannot write to {volume}: {error.strerror}",
                remedy="is it mounted for you, and writable? udisksctl mount -b DEVICE",
            ) from error
        if size - had > LAST_BYTES:
            raise LinkError(
                f"{volume} went away when it had {had} of {size} bytes: {error.strerror}",
                remedy="check its cable, bring the board into its bootloader again, then flash it again",
            ) from error

    def read_back(self, plan: FlashPlan, progress: Progress) -> tuple[ReadBack, ...]:
        """Compared with CURRENT.UF2 where the volume is there again and has one; else accepted is all that is known."""
        current = self._current()
        read = []
        for part in plan.parts:
            for segment in self._segments(part):
                by = "accepted" if current is None else "bytes"
                if current is not None:
                    _check_held(current, segment)
                detail = "the bootloader took every block and restarted; nothing can be read back"
                digest = Part(part.name, segment.address, segment.data)
                read.append(
                    ReadBack(
                        part.name, segment.address, len(segment.data), digest.sha256, by,  # type: ignore[arg-type]
                        detail if current is None else f"as {CURRENT} has it",
                    )
                )  # fmt: skip
        progress(len(read), len(read))
        return tuple(read)

    def reset(self) -> None:
        """The bootloader has done that."""

    def close(self) -> None:
        """Nothing is open."""

    def _segments(self, part: Part) -> tuple[Segment, ...]:
        if not is_uf2(part.data):
            if not isinstance(part.where, int):
                raise UsageFault(
                    f"{part.name} is a binary without an address",
                    remedy="add it to addresses of the board's flasher, or give a UF2 file",
                )
            return (Segment(part.where, part.data),)
        families = read_uf2(part.data).families
        other = [family for family, _ in families if family != self._family]
        if other:
            told = ", ".join("no family" if family is None else f"family {family:#010x}" for family in other)
            raise Refused(
                f"{part.name} is a UF2 file for {told}, the board takes {self._family:#010x}",
                remedy="give the file for this chip; nothing was written",
            )
        return families[0][1]

    def _file(self, segments: Sequence[Segment]) -> bytes:
        return write_uf2([(each.address, each.data) for each in segments], self._family)

    def _wait(self) -> Volume:
        """The volume, which may come while somebody presses buttons."""
        deadline_s = time.monotonic() + self._wait_s
        while True:
            try:
                return self._find()
            except LinkError:
                if time.monotonic() > deadline_s:
                    raise
            time.sleep(POLL_S)

    def _find(self) -> Volume:
        folder = Path(self._address)
        there = [_volume(folder)] if folder.is_absolute() else [_volume(path) for path in _mounted()]
        seen = [volume for volume in there if volume is not None]
        found = [each for each in seen if each.board_id == self._board_id and self._is_meant(each)]
        if len(found) == 1:
            return found[0]
        listed = "; ".join(map(str, found or seen)) or "none"
        if found:
            raise UsageFault(
                f"{len(found)} UF2 volumes can be it: {listed}",
                remedy="name its serial number, or its socket where they share one, under flash of the place",
            )
        raise LinkError(
            f"there is no UF2 volume {self._board_id}{' at ' + self._address if self._address else ''}",
            remedy=f"bring the board into its bootloader and mount its disk; UF2 volumes here: {listed}",
        )

    def _is_meant(self, volume: Volume) -> bool:
        folder = Path(self._address)
        return folder.is_absolute() or self._address in ("", volume.serial, volume.location)

    def _has_gone(self, volume: Volume, timeout_s: float) -> bool:
        deadline_s = time.monotonic() + timeout_s
        while _volume(volume.path) is not None:
            if time.monotonic() > deadline_s:
                return False
            time.sleep(POLL_S)
        return True

    def _current(self) -> tuple[Segment, ...] | None:
        with suppress(LinkError, UsageFault, NotVerified, OSError):
            volume = self._find()
            families = read_uf2((volume.path / CURRENT).read_bytes()).families
            return tuple(segment for _, segments in families for segment in segments)
        return None


def open_uf2(
    address: str, *, family: int, board_id: str, taken_timeout_s: float = 30.0, wait_s: float = 0.0
) -> Uf2Flasher:
    """Driver `uf2`: `family` is the UF2 family that the chip takes, `board_id` what INFO_UF2.TXT has to say.
    `wait_s` is how long the volume may take to come, `taken_timeout_s` to go. Raises UsageFault.
    """
    if isinstance(family, bool) or not isinstance(family, int) or not 0 < family <= 0xFFFFFFFF:
        raise UsageFault(f"{family!r} is no UF2 family", remedy="write its number: family = 0xe48bff56")
    return Uf2Flasher(address, family, board_id, float(taken_timeout_s), float(wait_s))


def _copy(file: Path, data: bytes, progress: Progress) -> None:
    last = (len(data) - 1) // LAST_BYTES * LAST_BYTES
    ends = sorted({*range(COPY_BYTES, len(data), COPY_BYTES), last, len(data)} - {0})
    with file.open("wb") as opened:
        for at, end in pairwise([0, *ends]):
            opened.write(data[at:end])
            opened.flush()
            os.fsync(opened.fileno())
            progress(end, len(data))


def _check_blocks(segments: Sequence[Segment]) -> None:
    """Raises Refused for segments that share a block: its end is filled with zeros, over what is written there."""
    for one, following in pairwise(sorted(segments, key=lambda each: each.address)):
        end = one.address + len(one.data)
        if following.address < end + -len(one.data) % PAYLOAD_BYTES:
            raise Refused(
                f"what is written to {following.address:#x} is in the last block of what ends at {end:#x}",
                remedy=f"begin it {PAYLOAD_BYTES} bytes further on, or give one file with both; nothing was written",
            )


def _check_held(current: Sequence[Segment], wanted: Segment) -> None:
    end = wanted.address + len(wanted.data)
    for each in current:
        if each.address <= wanted.address and end <= each.address + len(each.data):
            at = wanted.address - each.address
            if each.data[at : at + len(wanted.data)] == wanted.data:
                return
    raise UnitFailed(
        f"{CURRENT} does not hold what was written to {wanted.address:#x}", remedy="flash it again; is its flash worn?"
    )


def _mounted() -> list[Path]:
    """Where file systems are mounted; blanks are written as octal there (proc(5))."""
    with suppress(OSError):
        fields = [line.split() for line in MOUNTS.read_text(errors="replace").splitlines()]
        return [Path(each[1].replace("\\040", " ")) for each in fields if len(each) > 2 and each[2] in FILE_SYSTEMS]
    return []


def _volume(path: Path) -> Volume | None:
    try:
        with (path / INFO).open("rb") as file:
            info = file.read(INFO_BYTES_MAX).decode("utf-8", "replace")
    except OSError:
        return None
    lines = tuple(visible(line.strip()) for line in info.splitlines() if line.strip())
    board_id = next((line.partition(":")[2].strip() for line in lines if line.lower().startswith("board-id:")), "")
    serial, location = _usb_of(path)
    return Volume(path, board_id, lines, serial, location)


def _usb_of(path: Path) -> tuple[str | None, str | None]:
    """Serial number and socket of the USB device that the mounted disk is on."""
    with suppress(OSError):
        number = path.stat().st_dev
        device = next(
            (each for each in BLOCKS.iterdir() if _text(each / "dev") == f"{os.major(number)}:{os.minor(number)}"), None
        )
        for folder in device.resolve().parents if device is not None else ():
            if (folder / "idVendor").exists():
                return _text(folder / "serial") or None, folder.name
    return None, None


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace").strip()
    except OSError:
        return ""


def _fact(line: str) -> tuple[str, str]:
    key, colon, value = line.partition(":")
    return (key.strip(), value.strip()) if colon else ("bootloader", line)
