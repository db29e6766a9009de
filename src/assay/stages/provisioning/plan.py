# SPDX-License-Identifier: Apache-2.0
"""Whether a profile fits a board and two releases, and the steps that it asks for. Pure.

Guards: everything that can be refused is refused here, before the first byte is written.
"""

from __future__ import annotations

from assay.errors import ManifestFault, Refused, WrongBoard
from assay.model.artifact import Release
from assay.model.board import Board
from assay.model.compatibility import check_needs, offer_of, offers_of_board
from assay.model.profile import Profile, ProfileStep

ORDER = ("write-bootloader", "write-app", "make-identity", "check")
"""The only order that works: each step needs what the one before it left on the unit."""
NEEDED = ORDER[:3]


def plan_provisioning(
    profile: Profile, profile_file: str, board: Board, bootloader: Release, app: Release
) -> tuple[ProfileStep, ...]:
    """The steps of `profile` for a unit of `board`. Raises `Refused`, `WrongBoard`, `ManifestFault`."""
    _check_board(profile, board)
    for release, kind, expected in ((bootloader, "bootloader", profile.bootloader), (app, "app", profile.app)):
        _check_release(release, kind, expected, profile, board)
    names = [step.name for step in profile.steps]
    if names != [name for name in ORDER if name in names] or not set(NEEDED) <= set(names):
        raise ManifestFault(
            profile_file, None, f"the steps are {', '.join(ORDER)}, in this order; check may be left out"
        )
    on_board = offers_of_board(board)
    check_needs(bootloader, on_board)
    check_needs(app, (*on_board, offer_of(bootloader)))
    return profile.steps


def _check_board(profile: Profile, board: Board) -> None:
    if board.name not in profile.boards:
        raise WrongBoard(
            f"profile '{profile.name}' is for {', '.join(profile.boards)}, not for {board.name}",
            remedy="use a profile for this board, or another place",
        )
    if board.emulated and not profile.allow_emulated:
        raise Refused(
            f"{board.name} is emulated, and profile '{profile.name}' makes products",
            remedy="use a real board, or a profile with allow_emulated for a demonstration",
        )


def _check_release(release: Release, kind: str, expected: str, profile: Profile, board: Board) -> None:
    if release.kind != kind or release.name != expected:
        raise Refused(
            f"profile '{profile.name}' wants the {kind} {expected}, not {release.reference} ({release.kind})",
            remedy=f"give a release of {expected}",
        )
    if release.board != board.name or release.min_revision > board.revision:
        raise WrongBoard(
            f"{release.reference} is for {release.board} from revision {release.min_revision} on, "
            f"this is {board.name} revision {board.revision}",
            remedy="publish it for this board, or use another place",
        )
