# SPDX-License-Identifier: Apache-2.0
"""What somebody else's board tells once it was reset: waited for while it comes up, and put into words when it runs
something else.
"""

from __future__ import annotations

from collections.abc import Sequence

from assay.errors import UnitFailed
from assay.interfaces.smp_server import Slots
from assay.model.foreign_board import ForeignBoard
from assay.stages.flashing.foreign_unit import ForeignUnit, Numbered, active, is_active

RESET_SETTLES_S = 1.5
"""Seconds after which an answer that shows the old state is taken for one of after the reset: Zephyr waits 250 ms."""
ASK_AGAIN_S = 0.3


def state_after_reset(unit: ForeignUnit, before: Slots, rest: Sequence[Numbered]) -> Slots:
    """The image state once the reset was done. An app that was told to reset answers a little longer."""
    timeout_s, clock = unit.board.smp.reset_timeout_s, unit.clock
    begun_s = clock.monotonic_s()
    unit.app.listen(unit.board.smp.reset_quiet_s, timeout_s)
    while True:
        waited_s = clock.monotonic_s() - begun_s
        slots = unit.app.wait_for_slots(max(round(timeout_s - waited_s, 1), ASK_AGAIN_S), "the app after the reset")
        waited_s = clock.monotonic_s() - begun_s
        if all(is_active(slots, each) for each in rest):
            return slots
        by_app = any(row.active for row in slots)
        if by_app and slots != before:
            return slots
        not_yet = any(row.pending for row in slots) or not by_app
        if waited_s > (timeout_s if not_yet else RESET_SETTLES_S):
            return slots
        clock.sleep(ASK_AGAIN_S)


def not_started(board: ForeignBoard, each: Numbered, slots: Slots) -> UnitFailed:
    running = active(slots, each.number)
    if running is None and any(row.active for row in slots):
        return UnitFailed(
            f"the app names no slot of image {each.number} as active: whether {each.name} runs cannot be said",
            remedy="see its console; some firmware does not tell the state of another core's image",
        )
    if running is None:
        return UnitFailed(
            f"after the reset the bootloader answers, and no app: whether {each.name} runs cannot be said",
            remedy="see its console; a bootloader that listens for a moment stays when it is asked: set "
            "smp.reset_quiet_s to that time",
        )
    why = {
        "swap": "MCUboot refused its signature, or went back since it did not come up",
        "overwrite-only": "MCUboot refused its signature, or the copy was not done",
        "direct-xip": "MCUboot refused its signature, or another slot holds a higher version",
        "ram-load": "MCUboot refused its signature or its load address, or another slot holds a higher version",
    }[board.mcuboot.mode]
    if running.pending:
        why = "it is still marked for the next reset: the reset was not done"
    return UnitFailed(
        f"after the reset slot {running.slot} runs {running.version}, not {each.name}: {why}",
        remedy="see the bootloader's lines on the console, and the key that signed the image",
    )
