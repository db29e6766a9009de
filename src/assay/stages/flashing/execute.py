# SPDX-License-Identifier: Apache-2.0
"""Flash a release at the bench: make the unit run it, and read its hash back.

Guards: only a `VerifiedImage` is written, to a board that it was made for; what was refused was refused before the
first byte; the hash that the unit recomputes over its flash equals the one recomputed from the file, else FAIL.
Leaves to others: what an update asks beyond that (`stages.field`): version, policy, health, going back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from assay.errors import Refused, UnitFailed, WrongBoard
from assay.interfaces import lasting_upload
from assay.interfaces.device import Device, DeviceInfo, DeviceRefusal, Stage
from assay.interfaces.loader import RomBanner
from assay.interfaces.place import Found, UnitPlace
from assay.interfaces.step_book import DETAIL, StepBook
from assay.model.artifact import Release, VerifiedImage
from assay.model.board import Board

SWAP_TIMEOUT_S = 60.0
"""Seconds for a reset that swaps two slots: 384 KiB in sectors of 4 KiB at 45 ms each way (typical NOR flash)."""
PRIMARY_SLOT, SECONDARY_SLOT, BOOTLOADER_SLOT = 0, 1, 2


@dataclass(frozen=True)
class FlashReport:
    """What the unit holds now: `read_back` is its own hash of `slot`, and `how` it came to it; bytes on the line."""

    slot: int
    read_back: str
    how: Literal["recomputed", "verified-at-boot"]
    bytes_sent: int


def check_fits(release: Release, board: Board, found: Found) -> None:
    """Raises `WrongBoard` or `Refused` when `release` cannot go onto what was found; nothing is written."""
    if release.board != board.name or release.min_revision > board.revision:
        raise WrongBoard(
            f"{release.reference} is for {release.board} from revision {release.min_revision} on, "
            f"this is {board.name} revision {board.revision}",
            remedy="flash a release for this board, or name another place",
        )
    if release.kind == "rom":
        raise Refused("a mask ROM cannot be flashed", remedy="start the twin with it: assay twin start NAME --rom FILE")
    if release.kind == "radio":
        raise Refused(
            f"{release.reference} is the second image of its board: it goes with the app, not alone",
            remedy=f"assay update APP@VERSION --radio {release.reference}",
        )
    if isinstance(found, RomBanner) and release.kind != "bootloader":
        raise Refused(
            f"the chip has no bootloader ({found.reason}); {release.reference} is an app",
            remedy="provision the unit first: assay provision",
        )


def check_state(place: UnitPlace, found: Found, image: VerifiedImage) -> None:
    """Raises `Refused` when what the unit holds would be lost; nothing is written."""
    if isinstance(found, RomBanner):
        return
    expected = bytes.fromhex(image.release.image.image_hash)
    if image.release.kind == "bootloader":
        there = place.device.measure(BOOTLOADER_SLOT).image_hash
        if there != expected:
            raise Refused(
                f"the unit has another bootloader ({there.hex()[:16]}); only a ROM writes one, to a blank chip",
                remedy="erase the chip first",
            )
    elif found.stage is Stage.APP and found.state != "confirmed" and found.image_hash != expected:
        raise Refused(
            f"the unit tests {found.name} {found.version}: another image would be lost",
            remedy="switch its power off and on: it goes back to its confirmed version",
        )


def bootloader_there(place: UnitPlace, found: Found) -> str | None:
    """The hash (hex) of the bootloader on the unit, recomputed over its flash; None when only the ROM answers."""
    return None if isinstance(found, RomBanner) else place.device.measure(BOOTLOADER_SLOT).image_hash.hex()


def flash(place: UnitPlace, found: Found, image: VerifiedImage, book: StepBook) -> FlashReport:
    """Make the unit hold and run `image`, which `check_fits` and `check_state` let pass.

    Raises `UnitFailed`, link errors.
    """
    if image.release.kind == "bootloader":
        return _flash_bootloader(place, found, image, book)
    assert isinstance(found, DeviceInfo)
    expected = bytes.fromhex(image.release.image.image_hash)
    if found.stage is Stage.APP and found.image_hash == expected and found.state == "confirmed":
        book.run("find", lambda: {DETAIL: f"{image.release.reference} runs already"})
        how: Literal["recomputed", "verified-at-boot"] = "recomputed" if place.board.ssh else "verified-at-boot"
        return FlashReport(PRIMARY_SLOT, expected.hex(), how, 0)
    if found.stage is Stage.BOOT:
        return _through_recovery(place.device, image, book)
    return _through_app(place.device, found, image, book)


def _flash_bootloader(place: UnitPlace, found: Found, image: VerifiedImage, book: StepBook) -> FlashReport:
    expected = bytes.fromhex(image.release.image.image_hash)
    if isinstance(found, RomBanner):
        progress = book.progress_for(f"bootloader {image.release.reference}")
        sent = book.run("write", lambda: {"hash": place.loader.send(image.data, progress).hex()})
        _compare(bytes.fromhex(sent["hash"]), expected, "the ROM read back")
        return FlashReport(BOOTLOADER_SLOT, expected.hex(), "recomputed", len(image.data))
    return FlashReport(BOOTLOADER_SLOT, expected.hex(), "recomputed", 0)


def _through_recovery(device: Device, image: VerifiedImage, book: StepBook) -> FlashReport:
    """The bootloader waits: the image goes to the primary slot, and counts as confirmed."""
    sent = _upload(device, image, book)
    book.run("reset", lambda: _reset(device, image))
    return _read_back(device, image, book, sent)


def _through_app(device: Device, found: DeviceInfo, image: VerifiedImage, book: StepBook) -> FlashReport:
    """The app takes the image into the secondary slot; the bootloader swaps it in, and it is confirmed at once."""
    expected = bytes.fromhex(image.release.image.image_hash)
    sent = 0
    if found.image_hash != expected:
        sent = _upload(device, image, book)
        _compare(device.measure(SECONDARY_SLOT).image_hash, expected, "the secondary slot holds")
        book.run("mark", lambda: _mark(device, expected))
        book.run("reset", lambda: _reset(device, image))
    report = _read_back(device, image, book, sent)
    book.run("confirm", device.confirm)
    return report


def _upload(device: Device, image: VerifiedImage, book: StepBook) -> int:
    sent = 0

    def act() -> dict[str, object]:
        nonlocal sent
        progress = book.progress_for(image.release.reference)
        report = lasting_upload.upload(device, image.travels, progress)
        sent = report.size - report.resumed_from
        return {"bytes_sent": sent, "resumed_from": report.resumed_from, DETAIL: f"{sent} bytes sent"}

    book.run("upload", act)
    return sent


def _mark(device: Device, expected: bytes) -> dict[str, object]:
    try:
        device.set_pending(expected)
    except DeviceRefusal:  # of a second request: the power went when the unit had done the first
        if device.wait_ready(Stage.APP, SWAP_TIMEOUT_S).image_hash != expected:
            raise
        return {DETAIL: "the unit restarted, and runs the image under test"}
    return {}


def _reset(device: Device, image: VerifiedImage) -> dict[str, object]:
    info = device.info()
    if (info.image_hash or b"").hex() != image.release.image.image_hash:
        device.reset()
        info = device.wait_ready(Stage.APP, SWAP_TIMEOUT_S)
    if (info.image_hash or b"").hex() != image.release.image.image_hash:
        raise UnitFailed(
            f"after the reset the unit runs {info.name} {info.version} and not {image.release.reference}",
            remedy="see why it did not stay: assay update does the same with a health check and the unit's reason",
        )
    return {DETAIL: f"{info.name} {info.version} runs"}


def _read_back(device: Device, image: VerifiedImage, book: StepBook, sent: int) -> FlashReport:
    measured = ""

    def act() -> dict[str, object]:
        nonlocal measured
        slot = device.measure(PRIMARY_SLOT)
        _compare(slot.image_hash, bytes.fromhex(image.release.image.image_hash), "the primary slot holds")
        measured = slot.image_hash.hex()
        return {"image_hash": measured, DETAIL: f"hash {measured[:16]} read back, as in the file"}

    book.run("read-back", act)
    return FlashReport(PRIMARY_SLOT, measured, "recomputed", sent)


def _compare(found: bytes, expected: bytes, what: str) -> None:
    if found != expected:
        raise UnitFailed(
            f"{what} {found.hex()}, the verified file has {expected.hex()}",
            remedy="flash it again; when it stays so, the unit's flash is bad",
        )
