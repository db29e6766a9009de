# SPDX-License-Identifier: Apache-2.0
"""What the image of an artifact says besides its payload: from the artifact and the board, nothing else.

Guards: what a device checks before it starts an image (board, revision, counter) is what was built and attested.
"""

from __future__ import annotations

from assay.errors import Refused, UsageFault
from assay.model.artifact import Artifact
from assay.model.board import Board
from assay.model.image_parameters import ImageParameters

_AREAS = {"app": ("primary", "secondary"), "bootloader": ("boot",), "radio": ("radio_primary", "radio_secondary")}
"""The flash areas that an image of this kind must fit."""

_NUMBERS = {"radio": 1, "bootloader": 255}
"""Of the kinds that are not image 0 of their board."""


def image_parameters(artifact: Artifact, board: Board) -> ImageParameters:
    """Raises `Refused` for a ROM, which is no image, `UsageFault` for another board than the artifact's."""
    if artifact.kind not in _AREAS:
        raise Refused(f"a {artifact.kind} is not signed: it is no MCUboot image", remedy="sign a bootloader or an app")
    if artifact.board != board.name:
        raise UsageFault(f"the artifact is for {artifact.board}, not for {board.name}", remedy="use that board's file")
    return ImageParameters(
        version=artifact.version,
        slot_size=_slot_size(artifact.kind, board),
        alignment=board.flash.write_alignment,
        security_counter=artifact.security_counter,
        board=artifact.board,
        min_revision=artifact.min_revision,
        name=artifact.module,
        image_number=image_number(artifact),
    )


def image_number(artifact: Artifact) -> int:
    """As MCUmgr counts the images of a board."""
    return _NUMBERS.get(artifact.kind, 0)


def image_numbers(artifact: Artifact) -> tuple[int, ...]:
    """Those that an image of this artifact may carry; bootloaders signed before they had a number carry 0."""
    return (255, 0) if artifact.kind == "bootloader" else (image_number(artifact),)


def _slot_size(kind: str, board: Board) -> int:
    """Bytes: of the smaller slot, since the image is swapped between them."""
    names = _AREAS[kind]
    if any(name not in board.flash.areas for name in names):
        raise UsageFault(f"{board.name} has no {kind}: no flash area {' and '.join(names)}", remedy="use another board")
    return min(board.flash.areas[name].size for name in names)
