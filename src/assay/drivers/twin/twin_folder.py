# SPDX-License-Identifier: Apache-2.0
"""The folder of one twin: which file is what, and how it comes into being.

Guards: a twin exists whole or not at all; its chip id is random and written once, as the maker of silicon does.
Leaves to others: running it (`wire`), talking to it (`control`).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.drivers.twin import linux_disk
from assay.drivers.twin.linux_disk import Outfit
from assay.drivers.twin.machine import Machine, machine_of
from assay.drivers.twin.wire_profile import WireProfile
from assay.errors import StorageError, UsageFault

if TYPE_CHECKING:
    from assay.model.board import Board

SCHEMA = "assay.twin/1"
OTP_MAGIC = b"ASSYOTP1"  # docs: reference/device, Flash areas
CHIP_ID_BYTES = 16
DISK_REMEDY = "make room on the disk, or give another folder with --site"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


@dataclass(frozen=True)
class TwinFolder:
    """Paths of one twin."""

    path: Path

    @property
    def name(self) -> str:
        """The twin's name is its folder's."""
        return self.path.name

    @property
    def flash(self) -> Path:
        """What the flash chip holds, byte for byte."""
        return self.path / "flash.bin"

    @property
    def tty(self) -> Path:
        """The port, while the wire runs."""
        return self.path / "tty"

    @property
    def control(self) -> Path:
        """The wire's control socket."""
        return self.path / "control"

    @property
    def lock(self) -> Path:
        """Held by the wire for as long as it lives."""
        return self.path / "wire.lock"

    @property
    def wire_log(self) -> Path:
        """What the wire did."""
        return self.path / "wire.log"

    @property
    def qemu_log(self) -> Path:
        """What QEMU said since the last power on."""
        return self.path / "qemu.log"

    @property
    def settings(self) -> Path:
        """twin.json."""
        return self.path / "twin.json"

    def read_settings(self) -> TwinSettings:
        """twin.json as values. Raises UsageFault when there is no such twin, StorageError when it is damaged."""
        try:
            data = json.loads(self.settings.read_bytes())
        except (FileNotFoundError, NotADirectoryError) as error:
            raise UsageFault(f"no twin named {self.name!r}", remedy="assay twin create, or assay twin list") from error
        except (OSError, ValueError) as error:
            raise StorageError(f"cannot read {self.settings}: {error}", remedy="create the twin anew") from error
        return TwinSettings.from_json(data)

    def write_settings(self, settings: TwinSettings) -> None:
        """Replace twin.json. Raises StorageError."""
        fresh = self.settings.with_suffix(".new")
        try:
            with fresh.open("w", encoding="utf-8") as file:
                json.dump(settings.as_json(), file, indent=2)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self.settings)
        except OSError as error:
            raise StorageError(f"cannot write {self.settings}: {error.strerror}", remedy=DISK_REMEDY) from error


@dataclass(frozen=True)
class TwinSettings:
    """twin.json: which board, which chip, which mask ROM, what the line is like."""

    board: str
    revision: int
    chip: str
    machine: Machine
    rom: str | None = None
    profile: WireProfile = field(default_factory=WireProfile)

    def as_json(self) -> dict[str, Any]:
        """The file's content."""
        return {
            "schema": SCHEMA,
            "emulated": True,
            "board": self.board,
            "revision": self.revision,
            "chip": self.chip,
            "rom": self.rom,
            "profile": self.profile.as_json(),
            "machine": self.machine.as_json(),
        }

    @classmethod
    def from_json(cls, data: Any) -> TwinSettings:
        """Raises StorageError when it is not a twin.json of ours."""
        if not isinstance(data, dict) or data.get("schema") != SCHEMA:
            raise StorageError(f"twin.json is not of schema {SCHEMA}", remedy="create the twin anew")
        try:
            machine, profile = Machine.from_json(data["machine"]), WireProfile.from_json(data["profile"])
            return cls(data["board"], data["revision"], data["chip"], machine, data["rom"], profile)
        except (KeyError, TypeError, AttributeError) as error:
            raise StorageError(f"twin.json lacks {error}", remedy="create the twin anew") from error


def check_name(name: str) -> str:
    """`name` if it can be a twin's. Raises UsageFault."""
    if not _NAME.fullmatch(name):
        raise UsageFault(
            f"{name[:80]!r} cannot be a twin's name", remedy="use 1 to 63 lower-case letters, digits and '-'"
        )
    return name


def blank_flash(board: Board, chip: bytes) -> bytes:
    """A chip as its maker ships it: all erased but the OTP area (magic and `chip`, the 16-byte chip id)."""
    if len(chip) != CHIP_ID_BYTES:
        raise UsageFault(f"a chip id of {len(chip)} bytes", remedy=f"give {CHIP_ID_BYTES} bytes")
    content = bytearray([board.flash.erased_value]) * board.flash.size
    offset = board.flash.areas["otp"].offset
    content[offset : offset + len(OTP_MAGIC) + CHIP_ID_BYTES] = OTP_MAGIC + chip
    return bytes(content)


def create_twin(
    twins_dir: Path, name: str, board: Board, chip: bytes | None = None, outfit: Callable[[], Outfit] | None = None
) -> TwinFolder:
    """Make a twin with a blank flash and a random chip id, or give the one that is there. `outfit` is what a Linux
    module gets at its maker's.

    Raises UsageFault when a twin of that name is of another board, StorageError when the disk is full or read-only.
    """
    folder = TwinFolder(twins_dir / check_name(name))
    if not folder.settings.exists():
        _make(folder, board, chip or os.urandom(CHIP_ID_BYTES), outfit)
    there = folder.read_settings().board
    if there != board.name:
        raise UsageFault(f"twin {name!r} is a {there}, not a {board.name}", remedy="choose another name")
    return folder


def _write_flash(new: TwinFolder, board: Board, chip: bytes, outfit: Callable[[], Outfit] | None) -> None:
    if board.ssh is None:
        new.flash.write_bytes(blank_flash(board, chip))
        return
    if outfit is None:
        raise UsageFault(f"{board.name} is a Linux module: it has an outfit", remedy="assay twin create makes it")
    made = outfit()
    linux_disk.write_disk(new.flash, board, OTP_MAGIC + chip, made.archive)
    linux_disk.write_environment(new.path / linux_disk.ENVIRONMENT_FILE, board)
    for name, (mode, data) in made.files.items():
        (new.path / name).write_bytes(data)
        (new.path / name).chmod(mode)


def _make(folder: TwinFolder, board: Board, chip: bytes, outfit: Callable[[], Outfit] | None) -> None:
    settings = TwinSettings(board.name, board.revision, chip.hex(), machine_of(board))
    fresh: Path | None = None
    try:
        folder.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.path.parent))
        new = TwinFolder(fresh)
        _write_flash(new, board, chip, outfit)
        with new.flash.open("r+b") as file:
            os.fsync(file.fileno())
        new.write_settings(settings)
        # Somebody may have made the same twin meanwhile: a folder that is not empty is not replaced.
        fresh.rename(folder.path)
    except OSError as error:
        if not folder.settings.exists():
            raise StorageError(
                f"cannot create twin {folder.name!r} in {folder.path.parent}: {error.strerror}", remedy=DISK_REMEDY
            ) from error
    finally:
        if fresh is not None and fresh.exists():
            shutil.rmtree(fresh, ignore_errors=True)


def twin_names(twins_dir: Path) -> list[str]:
    """The twins of a site, sorted."""
    found = twins_dir.glob("*/twin.json") if twins_dir.is_dir() else []
    return sorted(file.parent.name for file in found if _NAME.fullmatch(file.parent.name))
