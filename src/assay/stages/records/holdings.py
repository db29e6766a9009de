# SPDX-License-Identifier: Apache-2.0
"""What a record says about which image a unit holds. Pure functions; a record that says nothing of it gives nothing.

Guards: what an update, or a run that was cut short, leaves open is said to be uncertain, so that a unit is listed for
both images rather than for none; a board that has no serial number, since it was flashed from outside, is listed by its
probe or its place, and never takes the place of another board that was there before.
Leaves to others: that the record verifies, and in which order records came.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from assay.model.parts import Holding
from assay.model.predicates import (
    EvidenceRecord,
    Flash,
    ForeignFlash,
    InterruptedRun,
    Provisioning,
    RunHeader,
    ToolFlash,
    Update,
)
from assay.model.record import RecordType

KindOf = Callable[[str], tuple[str, str] | None]
"""Image hash and kind (`app`, `bootloader`, `radio`) of the release whose image file has this SHA-256."""

Found = list[Holding]

_IMAGE_HASH = re.compile("[0-9a-f]{64}")


def holdings_of(kind: RecordType, predicate: Mapping[str, Any], index: int, kind_of: KindOf) -> Found:
    """The holdings that the record at `index` of the log tells. Raises `pydantic.ValidationError`."""
    reader = _READERS.get(kind)
    return [] if reader is None else reader(predicate, index, kind_of)


def _provisioning(predicate: Mapping[str, Any], index: int, _kind_of: KindOf) -> Found:
    said = Provisioning.model_validate(predicate, strict=False)
    return [
        Holding(said.serial, "bootloader", said.bootloader.image_hash, index),
        Holding(said.serial, "app", said.app.image_hash, index),
    ]


def _flash(predicate: Mapping[str, Any], index: int, kind_of: KindOf) -> Found:
    said = Flash.model_validate(predicate, strict=False)
    slot = _slot(kind_of(said.image.file_sha256))
    if said.serial is None:
        return [Holding(_at_place(said.run), slot, said.read_back, index, certain=False)]
    return [Holding(said.serial, slot, said.read_back, index)]


def _foreign_flash(predicate: Mapping[str, Any], index: int, kind_of: KindOf) -> Found:
    said = ForeignFlash.model_validate(predicate, strict=False)
    images = {each.image_hash: each.file_sha256 for each in said.images}
    hashes = dict.fromkeys((*images, *(each.image_hash for each in said.read_back)))
    return [
        Holding(_at_place(said.run), _slot(kind_of(images.get(each, ""))), each, index, certain=False)
        for each in hashes
        if _IMAGE_HASH.fullmatch(each)
    ]


def _tool_flash(predicate: Mapping[str, Any], index: int, kind_of: KindOf) -> Found:
    """A file that is no MCUboot image is the release that has this file, if one has."""
    said = ToolFlash.model_validate(predicate, strict=False)
    holder = f"probe:{said.found.probe}" if said.found.probe else _at_place(said.run)
    slots = dict[str, str]()
    for each in said.images:
        image = kind_of(each.file_sha256)
        slots[image[0] if image else each.image_hash or ""] = _slot(image)
    for image_hash in said.runs:
        slots.setdefault(image_hash, "app")
    return [
        Holding(holder, slot, each, index, certain=False) for each, slot in slots.items() if _IMAGE_HASH.fullmatch(each)
    ]


def _update(predicate: Mapping[str, Any], index: int, _kind_of: KindOf) -> Found:
    said = Update.model_validate(predicate, strict=False)
    if said.after is not None:
        found = [Holding(said.serial, "app", said.after.image_hash, index)]
    else:
        hashes = (said.before.image_hash, said.image.image_hash)
        found = [Holding(said.serial, "app", each, index, certain=False) for each in hashes]
    if (radio := said.radio) is None:
        return found
    if radio.after is not None:
        return [*found, Holding(said.serial, "radio", radio.after, index)]
    either = [each for each in (radio.before, radio.image.image_hash) if each]
    return [*found, *(Holding(said.serial, "radio", each, index, certain=False) for each in either)]


def _evidence(predicate: Mapping[str, Any], index: int, _kind_of: KindOf) -> Found:
    said = EvidenceRecord.model_validate(predicate, strict=False)
    return [
        Holding(said.serial, "bootloader", said.bootloader_hash, index),
        Holding(said.serial, "app", said.report.image_hash, index),
    ]


def _interrupted(predicate: Mapping[str, Any], index: int, kind_of: KindOf) -> Found:
    """What was to be written may be there, or not."""
    said = InterruptedRun.model_validate(predicate, strict=False)
    found, holder = [], said.serial or _at_place(said.run)
    for file_sha256 in (said.images or {}).values():
        image = kind_of(file_sha256)
        if image is not None:
            found.append(Holding(holder, _slot(image), image[0], index, certain=False))
    return found


def _at_place(run: RunHeader) -> str:
    """A board without a serial number: no serial number has a colon."""
    return f"place:{run.place}"


def _slot(image: tuple[str, str] | None) -> str:
    return image[1] if image is not None and image[1] in ("bootloader", "radio") else "app"


_READERS: Mapping[RecordType, Callable[[Mapping[str, Any], int, KindOf], Found]] = {
    RecordType.PROVISIONING: _provisioning,
    RecordType.FLASH: _flash,
    RecordType.FOREIGN_FLASH: _foreign_flash,
    RecordType.TOOL_FLASH: _tool_flash,
    RecordType.UPDATE: _update,
    RecordType.EVIDENCE: _evidence,
    RecordType.RUN: _interrupted,
}
