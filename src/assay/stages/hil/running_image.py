# SPDX-License-Identifier: Apache-2.0
"""Proof that a device runs the image under test: what the bootloader measured at this boot, and what lies in flash now.

Guards: no test counts without both hashes, both equal to the one that was recomputed from the verified file, and from
the chip that the run began with. A device that runs something else is a fault of the bench (nobody flashed it), not of
the unit.
Leaves to others: where the expected hash comes from (the release gate).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from assay.errors import InfrastructureError, WrongBoard, at_layer
from assay.interfaces.device import Device, DeviceInfo, Stage
from assay.model.board import Board
from assay.model.predicates import DeviceReport, HashSource

PRIMARY_SLOT = 0
IMAGE_HASH_BYTES = 32  # SHA-256


@dataclass(frozen=True)
class Expected:
    """What has to be on the port: the image hash (32 bytes), the board, and, once it was seen, the chip; `how` this
    kind of unit comes to the hash of its boot.
    """

    image_hash: bytes
    board: str
    release: str
    chip: bytes | None = None
    how: HashSource = "verified-at-boot"


@dataclass(frozen=True)
class RunningImage:
    """The proof: the device's own words, and the hash of the primary slot that it recomputed just now."""

    info: DeviceInfo
    slot_hash: bytes
    how: HashSource = "verified-at-boot"

    def report(self) -> DeviceReport:
        """For a record."""
        at_boot = (self.info.image_hash or b"").hex()
        state: Literal["confirmed", "testing"] = "confirmed" if self.info.state == "confirmed" else "testing"
        return DeviceReport(version=self.info.version, image_hash=at_boot, how=self.how, state=state)


def how_at_boot(board: Board) -> HashSource:
    """Who took the hash of the boot: a bootloader before it, or the system itself when it had started."""
    return "verified-at-boot" if board.ssh is None else "recomputed"


def prove(device: Device, expected: Expected) -> RunningImage:
    """Ask the device what it runs.

    Raises WrongBoard for another board or chip, InfrastructureError for another image; link errors pass through.
    """
    info = device.info()
    _check_identity(info, expected)
    with at_layer("flasher"):
        if info.stage is not Stage.APP:
            remedy = f"flash it: assay flash {expected.release} --place PLACE --trust TRUST"
            raise InfrastructureError(f"{device.address}: the bootloader answers, no app runs", remedy=remedy)
        _check_hash("was started from", info.image_hash or b"", expected)
        slot = device.measure(PRIMARY_SLOT)
        if slot.how != "recomputed":
            raise InfrastructureError(
                f"the device quotes the hash of its flash ({slot.how}), it did not recompute it",
                remedy="test an image that implements `measure` (docs: reference/device)",
            )
        _check_hash("has in its primary slot", slot.image_hash, expected)
    return RunningImage(info, slot.image_hash, expected.how)


def _check_identity(info: DeviceInfo, expected: Expected) -> None:
    if info.board != expected.board:
        raise WrongBoard(
            f"the board on the port is {info.board}, not {expected.board}",
            remedy="connect the right board, or name the place that has it",
        )
    if expected.chip is not None and info.chip != expected.chip:
        raise WrongBoard(
            f"another unit answers: chip {info.chip.hex()}, expected is {expected.chip.hex()}",
            remedy="connect the unit that the bench says, leave it there until the run ends, and start again",
        )


def _check_hash(what: str, actual: bytes, expected: Expected) -> None:
    if len(actual) == IMAGE_HASH_BYTES and actual == expected.image_hash:
        return
    raise InfrastructureError(
        f"the unit {what} image {actual.hex()[:16] or '(none)'}, "
        f"the image under test is {expected.image_hash.hex()[:16]} ({expected.release})",
        remedy=f"flash it: assay flash {expected.release} --place PLACE --trust TRUST",
    )
