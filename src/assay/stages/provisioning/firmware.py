# SPDX-License-Identifier: Apache-2.0
"""Bootloader and app onto a blank unit: the first by the chip's ROM loader, the second by serial recovery.

Guards: only a `VerifiedImage` is written, and what flash holds afterwards has the hash recomputed from it, else FAIL.
What is there already is not written again; what is there and is something else is not touched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from assay.errors import DeviceTimeout, Refused, UnitFailed
from assay.interfaces import lasting_upload
from assay.interfaces.clock import Clock
from assay.interfaces.device import Device, DeviceInfo, DeviceRefusal, Stage
from assay.interfaces.loader import MediumLoader, RomBanner
from assay.interfaces.place import Found, UnitPlace
from assay.interfaces.step_book import DETAIL, StepBook
from assay.interfaces.tries import LONGEST_S, longer_each_time
from assay.model.artifact import VerifiedImage

UP_TIMEOUT_S = 15.0
"""Seconds for a bootloader that was just written, or an app, to answer; it verifies a signature first."""
STAGE_TRY_S = 0.3
PRIMARY_SLOT = 0
BOOTLOADER_SLOT = 2


@dataclass(frozen=True)
class Written:
    """What writing the app found out: seconds from reset to answer, bytes and seconds of the upload, if done."""

    info: DeviceInfo
    boot_s: float | None = None
    upload_bytes: int | None = None
    upload_s: float | None = None


def write_bootloader(place: UnitPlace, found: Found, image: VerifiedImage, book: StepBook) -> dict[str, Any]:
    """The bootloader in flash is `image`. Raises `UnitFailed`, `Refused`, link errors."""
    expected = bytes.fromhex(image.release.image.image_hash)
    if not isinstance(found, RomBanner):
        there = place.device.measure(BOOTLOADER_SLOT)
        if there.image_hash != expected:
            raise Refused(
                f"the unit has another bootloader ({there.image_hash.hex()[:16]}) than {image.release.reference}",
                remedy="provision with the bootloader that it has, or erase the chip: a ROM writes to blank chips only",
            )
        return _bootloader_result(image, f"{image.release.reference} is there already", 0)
    written = place.loader.send(image.data, book.progress_for(f"bootloader {image.release.reference}"))
    if written != expected:
        raise UnitFailed(
            f"the ROM read back bootloader hash {written.hex()}, the file has {expected.hex()}",
            remedy="the unit's flash is bad: take it out of production",
        )
    return _bootloader_result(image, f"{image.release.reference} written by the ROM and read back", len(image.data))


def write_app(place: UnitPlace, image: VerifiedImage, book: StepBook, clock: Clock) -> Written:
    """The app in the primary slot is `image`, and it runs. Raises `UnitFailed`, `Refused`, link errors."""
    if isinstance(place.loader, MediumLoader) and place.loader.lacks_app():
        written = _write_medium(place, place.loader, image, book, clock)
    else:
        written = Written(wait_up(place.device, clock))
    if written.info.stage is Stage.BOOT:
        written = _recover(place.device, image, book, clock)
    expected = bytes.fromhex(image.release.image.image_hash)
    slot, ran = place.device.measure(PRIMARY_SLOT), written.info.image_hash or b""
    if slot.image_hash == expected == ran:
        return written
    if written.upload_bytes is None:
        raise Refused(
            f"the unit runs another app ({written.info.name} {written.info.version}) than {image.release.reference}",
            remedy="bring it to this release with `assay update`, or provision with the release that it has",
        )
    raise UnitFailed(
        f"after writing {image.release.reference} flash holds {slot.image_hash.hex()} and {ran.hex()} was started; "
        f"the file has {expected.hex()}",
        remedy="the unit's flash is bad: take it out of production",
    )


def _write_medium(
    place: UnitPlace, loader: MediumLoader, image: VerifiedImage, book: StepBook, clock: Clock
) -> Written:
    """The system of a Linux module, while it is off; then it is switched on."""
    begun_s = clock.monotonic_s()
    written = loader.send_app(image.data, book.progress_for(f"system {image.release.reference}"))
    if written.hex() != image.release.image.image_hash:
        raise UnitFailed(
            f"the medium holds an image with hash {written.hex() or 'none'}, the file has "
            f"{image.release.image.image_hash}",
            remedy="the unit's medium is bad: take it out of production",
        )
    on_s = clock.monotonic_s()
    info = place.device.wait_ready(Stage.APP, UP_TIMEOUT_S)
    return Written(info, clock.monotonic_s() - on_s, len(image.data), on_s - begun_s)


def wait_up(device: Device, clock: Clock, timeout_s: float = UP_TIMEOUT_S) -> DeviceInfo:
    """The bootloader or the app, whichever answers first."""
    deadline_s = clock.monotonic_s() + timeout_s
    for try_s in longer_each_time(STAGE_TRY_S):
        for stage in (Stage.BOOT, Stage.APP):
            try:
                return device.wait_ready(stage, try_s)
            except DeviceTimeout:
                if clock.monotonic_s() > deadline_s:
                    raise
    raise AssertionError("tries do not end")


def _recover(device: Device, image: VerifiedImage, book: StepBook, clock: Clock) -> Written:
    progress = book.progress_for(f"app {image.release.reference}")
    report = lasting_upload.upload(device, image.travels, progress)
    device.reset()
    begun_s = clock.monotonic_s()
    try:
        info = device.wait_ready(Stage.APP, UP_TIMEOUT_S)
    except DeviceTimeout as error:
        _explain_refusal(device, image, error)
        raise
    sent = report.size - report.resumed_from
    return Written(info, clock.monotonic_s() - begun_s, sent, report.duration_s)


def _explain_refusal(device: Device, image: VerifiedImage, error: DeviceTimeout) -> None:
    """`UnitFailed` when the bootloader still answers: it got all of a verified image and does not start it."""
    try:
        device.wait_ready(Stage.BOOT, LONGEST_S)
        said = "; ".join(f"{note.kind}: {note.reason}" for note in device.notes()[-2:])
    except (DeviceTimeout, DeviceRefusal):
        said = ""
    else:
        raise UnitFailed(
            f"the bootloader does not start {image.release.reference}" + (f" ({said})" if said else ""),
            remedy="see that the bootloader was built with the public key that signs the app",
        ) from error


def _bootloader_result(image: VerifiedImage, detail: str, sent: int) -> dict[str, Any]:
    return {"image_hash": image.release.image.image_hash, "bytes_sent": sent, DETAIL: detail}
