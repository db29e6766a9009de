# SPDX-License-Identifier: Apache-2.0
"""Files that a flasher is to write: read, cut into parts with addresses, and what is known of who made them.

Guards: a file that nobody could verify is written because somebody said so. Leaves to others: where parts go in a chip
(`drivers.flash`), the signatures of MCUboot images (`formats.foreign_image`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from assay.backends.named_file import read_named
from assay.errors import NotVerified, UsageFault
from assay.formats.foreign_image import CheckedForeignImage, Signature, verify_foreign_image
from assay.formats.intel_hex import FILE_BYTES_MAX, read_intel_hex
from assay.formats.uf2 import is_uf2
from assay.interfaces.flasher import Part
from assay.interfaces.step_book import Say
from assay.model.flasher_settings import FlasherSettings
from assay.model.foreign_board import ForeignBoard
from assay.model.trust import TrustFile
from assay.pipeline.manifest_files import AnyBoard
from assay.stages.flashing import foreign_checks
from assay.stages.flashing.foreign_unit import Numbered

NO_NAME = ""
"""The name of an image that was given without one."""


@dataclass(frozen=True)
class ImageFile:
    """A file that is to be written, its parts, and what is known of who made it."""

    name: str
    path: Path
    parts: tuple[Part, ...]
    file_sha256: str
    mcuboot: CheckedForeignImage | None

    @property
    def signature(self) -> Signature:
        """Of an MCUboot image; nothing else has one that could be verified here."""
        return self.mcuboot.signature if self.mcuboot else Signature.NONE


def parse_images(given: Sequence[str]) -> tuple[tuple[str, Path], ...]:
    """`FILE` or `NAME=FILE`, each name once. Raises `UsageFault`."""
    images: dict[str, Path] = {}
    for text in given:
        name, equals, file = text.partition("=")
        at, path = (name, Path(file)) if equals and name and "/" not in name else (NO_NAME, Path(text))
        if at in images:
            raise UsageFault(
                f"image {at or 'without a name'} is given twice", remedy="write --image NAME=FILE for each"
            )
        images[at] = path
    return tuple(images.items())


def read_image(settings: FlasherSettings, trust: TrustFile, board: AnyBoard, name: str, path: Path) -> ImageFile:
    """The file at `path`, in parts with addresses. Raises `NotVerified`, `UsageFault`."""
    data = _bytes_of(path)
    name = name or _only_name(settings, board)
    digest = hashlib.sha256(data).hexdigest()
    if path.suffix.lower() in (".hex", ".ihex"):
        parts = [Part(f"{name}@{at:#x}", at, piece) for at, piece in read_intel_hex(data)]
        return ImageFile(name, path, tuple(parts), digest, None)
    checked = None
    if isinstance(board, ForeignBoard) and name.isdecimal():
        try:
            checked = verify_foreign_image(data, trust, board.name)
        except NotVerified as error:
            raise NotVerified(f"{path}: {error.message}", remedy=error.remedy) from error
        foreign_checks.check_images(board, [Numbered(int(name), checked)])
    where = None if is_uf2(data) else settings.addresses.get(name)
    if where is None and not is_uf2(data) and settings.addresses:
        known = ", ".join(settings.addresses)
        raise UsageFault(
            f"the flasher '{settings.called}' of {board.name} knows no address for '{name}'",
            remedy=f"say which it is: --image NAME=FILE, with one of: {known}",
        )
    return ImageFile(name, path, (Part(name, where, data),), digest, checked)


def _only_name(settings: FlasherSettings, board: AnyBoard) -> str:
    if isinstance(board, ForeignBoard) and "0" in settings.addresses:
        return "0"
    return next(iter(settings.addresses)) if len(settings.addresses) == 1 else "image"


def _bytes_of(path: Path) -> bytes:
    try:
        data = read_named(path, FILE_BYTES_MAX + 1)
    except OSError as error:
        raise UsageFault(f"{path} cannot be read: {error.strerror}", remedy="name the file to be written") from error
    if not 0 < len(data) <= FILE_BYTES_MAX:
        raise UsageFault(f"{path} has {len(data)} bytes", remedy="name the file to be written")
    return data


def check_allowed(images: Sequence[ImageFile], say: Say, *, unverified: bool, dry_run: bool) -> str:
    """Raises `NotVerified`; for a dry run, why the flash itself will, or nothing."""
    for each in images:
        if each.mcuboot is not None:
            for line in (*each.mcuboot.checks, *each.mcuboot.cautions):
                say(f"{each.path.name}: {line}")
        if each.signature is Signature.VERIFIED or unverified:
            continue
        why = each.mcuboot.cautions[-1] if each.mcuboot else "nobody can tell who made it: it is no MCUboot image"
        if dry_run:
            return f"{each.path.name}: {why}; without --accept-unverified-image it will be refused"
        raise NotVerified(
            f"{each.path}: {why}", remedy="say --accept-unverified-image to write it, which the record will tell"
        )
    return ""
