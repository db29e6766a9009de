# SPDX-License-Identifier: Apache-2.0
"""The steps of an episode, and bringing a unit that was cut to the goal: a host's part, over the ROM's loader and SMP.

Guards: each step ends when the unit has answered, so that all it ordered of its flash is recorded; a unit is at the
goal when it runs that image, confirmed, also after its power was off.
Leaves to others: which steps (the plan), power and port (`UnitAtHand`).
"""

from __future__ import annotations

from typing import Protocol

from assay.errors import AssayError, UnitFailed
from assay.interfaces.device import Device
from assay.interfaces.loader import RomLoader
from assay.model.powercut import Step
from assay.stages.powercut.coming_up import SILENT, CameUp, asked, wait_up
from assay.stages.powercut.images import Images

UP_TIMEOUT_S = 30.0
"""Seconds; an emulated board needs 0.1 to 0.5, on a busy host ten times that."""
LINE_TIMEOUT_S = 0.6
"""Seconds until a unit that says nothing is asked; it comes up in 0.2 on an idle host."""
ASKED_MAX = 12
"""Questions to a unit that says nothing; each has a time-out of its own, of some seconds."""
ROM_TIMEOUT_S = 30.0
RADIO_SLOT = 3
"""The radio's primary slot, as the device's `measure` counts."""
ROUNDS_MAX = 8
"""From nothing to the goal: bootloader, recovery, upload, test, confirm, and two to spare."""


class UnitAtHand(Protocol):
    """A unit whose port and power are ours."""

    @property
    def device(self) -> Device:
        """The unit over SMP; another object after each power cycle."""
        ...

    @property
    def loader(self) -> RomLoader:
        """The ROM's loader on the same port."""
        ...

    def power_cycle(self) -> None:
        """Off and on; what its flash holds stays."""
        ...


def do_step(unit: UnitAtHand, step: Step, images: Images) -> None:
    """Do one step. Raises what the device raises; UnitFailed when the unit does not come up again."""
    word, _, image = step.partition(" ")
    device = unit.device
    if word == "upload":
        upload(device, images, image)
    elif word == "test":
        device.set_pending(images.sent(image).image_hash)
    elif word == "confirm":
        device.confirm()
    elif word == "erase":
        device.erase()
    elif word == "reset":
        device.console_lines()
        device.reset()
        come_up(unit, images)
    elif word == "power-cycle":
        unit.power_cycle()
        come_up(unit, images)
    else:
        send_bootloader(unit, images)


def upload(device: Device, images: Images, word: str) -> None:
    """Send what `word` names, or what is missing of it."""
    image = images.sent(word)
    device.upload(image.data, image.file_sha256, image=images.number(word))


def send_bootloader(unit: UnitAtHand, images: Images) -> None:
    """The ROM writes the bootloader and starts it."""
    unit.loader.wait_banner(ROM_TIMEOUT_S)
    unit.loader.send(images.bootloader.data)
    come_up(unit, images)


def come_up(unit: UnitAtHand, images: Images) -> CameUp:
    """Wait until the unit serves: it says so, or answers when it is asked. Raises UnitFailed when it does not."""
    found = CameUp(SILENT)
    for _ in range(ASKED_MAX):
        found = wait_up(unit.device, images, LINE_TIMEOUT_S, settled=True)
        if found.word != SILENT:
            break
        # What it said may have gone to the ROM's loader, and a bootloader that was written to says nothing unasked.
        found = asked(unit.device, images) or found
        if found.word != SILENT:
            break
    if found.word not in (*images.apps, "recovery", "rom"):
        raise UnitFailed(f"the unit does not come up as it should: {found}", remedy="see what it said: uart.txt")
    return found


def complete(unit: UnitAtHand, images: Images, goal: str, radio: str | None = None) -> None:
    """Bring a unit that comes up right now to the image `goal`, and its radio to `radio`, together.

    Raises UnitFailed that says where it stuck.
    """
    wanted = [goal] if radio is None else [radio, goal]
    found = CameUp("nothing")
    for _ in range(ROUNDS_MAX):
        try:
            found = come_up(unit, images)
            if found.word == goal and found.detail == "confirmed":
                break
            _one_round(unit, images, wanted, found)
        except AssayError as error:
            message = f"the update cannot be completed from {found}: {error.message}"
            raise UnitFailed(message, remedy="see what it said: uart.txt") from error
    else:
        message = f"the update is not complete after {ROUNDS_MAX} rounds: {found}"
        raise UnitFailed(message, remedy="see what it said: uart.txt")
    if radio is not None and unit.device.measure(RADIO_SLOT).image_hash != images.radios[radio].image_hash:
        raise UnitFailed(f"completed, and the radio is not {radio}", remedy="see what it said: uart.txt")
    unit.power_cycle()
    after = come_up(unit, images)
    if (after.word, after.detail) != (goal, "confirmed"):
        raise UnitFailed(f"completed, and after a power cycle the unit runs {after}", remedy="see uart.txt")


def _one_round(unit: UnitAtHand, images: Images, wanted: list[str], found: CameUp) -> None:
    """One step nearer to what is `wanted`, the app last, ending with the unit about to come up."""
    device = unit.device
    if found.word == "rom":
        unit.loader.wait_banner(ROM_TIMEOUT_S)
        unit.loader.send(images.bootloader.data)
        return
    if found.word == "recovery":
        for word in wanted:
            upload(device, images, word)
    elif found.word == wanted[-1]:
        device.confirm()
    else:
        if found.detail.startswith("testing"):
            device.confirm()  # while an image is under test, the other slot is the way back
        for word in wanted:
            upload(device, images, word)
        for word in wanted:
            device.set_pending(images.sent(word).image_hash)
    device.console_lines()
    device.reset()
