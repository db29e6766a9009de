# SPDX-License-Identifier: Apache-2.0
"""The radio's part of an update: the second image of a board, which goes with the app or not at all.

Guards: a radio is refused for what can be known before the first byte. What the unit holds is computed by it over
flash, when it is asked: its evidence is about the app alone. Pure but for `held`.
Leaves to others: the app's part (`plan`), the walk (`execute`), keeping both together (the bootloader: ADR 0091).
"""

from __future__ import annotations

from assay.errors import Refused, WrongBoard
from assay.interfaces.device import Device, DeviceRefusal
from assay.model.artifact import Release
from assay.model.identifiers import Version
from assay.model.plan import PlanRadio, UnitState, UpdateRules

IMAGE = 1
"""Its number for MCUmgr."""
PRIMARY_SLOT, SECONDARY_SLOT = 3, 4
"""Its slots, as `measure` numbers them (device contract)."""


def held(device: Device, slot: int) -> bytes:
    """Hash of what a slot holds, recomputed by the unit; empty when there is no image. Raises LinkError."""
    try:
        return device.measure(slot).image_hash
    except DeviceRefusal:
        return b""


def planned(radio: Release | None) -> PlanRadio | None:
    """The radio's release, as a plan names it."""
    if radio is None:
        return None
    image = radio.image
    return PlanRadio(
        release=radio.reference, file_sha256=image.file_sha256, image_hash=image.image_hash, size=image.size
    )


def check(unit: UnitState, radio: Release, rules: UpdateRules) -> None:
    """Whether `radio` may go in beside an app. Raises `WrongBoard` or `Refused` with the one reason why not."""
    reference = radio.reference
    if radio.kind != "radio":
        raise Refused(
            f"{reference} is a {radio.kind}, not a radio", remedy="name the app first, and its radio by --radio"
        )
    if radio.board != unit.board or radio.min_revision > unit.revision:
        raise WrongBoard(
            f"{reference} is for {radio.board} from revision {radio.min_revision} on, "
            f"unit {unit.serial} is a {unit.board} revision {unit.revision}",
            remedy="name a radio's release for this board",
        )
    if radio.artifact.update is not None and radio.artifact.update.policy == "none":
        raise Refused(
            f"{reference} is not updated in the field (policy none in its module.toml)",
            remedy="update the app alone, or release the radio with another policy",
        )
    if unit.radio_hash != radio.image.image_hash:
        _check_newer(unit, radio, rules)


def _check_newer(unit: UnitState, radio: Release, rules: UpdateRules) -> None:
    """As far as the version of what is there is known: the unit tells no more than its hash."""
    there = unit.modules.get(radio.name)
    if there is None or rules.allow_older_version or Version(radio.version) > Version(there):
        return
    same = radio.version == there
    raise Refused(
        f"unit {unit.serial} has {radio.name} {there}, {radio.reference} is "
        + ("the same version with another image" if same else "older"),
        remedy="name a newer version, or say --unsafe-allow-older-version REASON",
    )
