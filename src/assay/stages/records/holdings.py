# SPDX-License-Identifier: Apache-2.0
"""What a record says about which image a unit holds. Pure functions; a record that says nothing of it gives nothing.

Guards: what an update, or a run that was cut short, leaves open is said to be uncertain, so that a unit is listed for
both images rather than for none. Leaves to others: that the record verifies, and in which order records came.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from assay.model.parts import Holding
from assay.model.predicates import EvidenceRecord, Flash, InterruptedRun, Provisioning, Update
from assay.model.record import RecordType

KindOf = Callable[[str], tuple[str, str] | None]
"""Image hash and kind (`app`, `bootloader`, `radio`) of the release whose image file has this SHA-256."""

Found = list[Holding]


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
    if said.serial is None:
        return []
    return [Holding(said.serial, _slot(kind_of(said.image.file_sha256)), said.read_back, index)]


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
    if said.serial is None:
        return []
    found = []
    for file_sha256 in (said.images or {}).values():
        image = kind_of(file_sha256)
        if image is not None:
            found.append(Holding(said.serial, _slot(image), image[0], index, certain=False))
    return found


def _slot(image: tuple[str, str] | None) -> str:
    return image[1] if image is not None and image[1] in ("bootloader", "radio") else "app"


_READERS: Mapping[RecordType, Callable[[Mapping[str, Any], int, KindOf], Found]] = {
    RecordType.PROVISIONING: _provisioning,
    RecordType.FLASH: _flash,
    RecordType.UPDATE: _update,
    RecordType.EVIDENCE: _evidence,
    RecordType.RUN: _interrupted,
}
