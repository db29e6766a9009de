# SPDX-License-Identifier: Apache-2.0
"""Flash a board from outside by a flasher: who it has to be, where may be written, and what was read back.

Guards: another probe, chip or kind of chip than the bench and the board TOML say is refused before the first byte, and
so is a byte outside the memories that the flasher may write; what is read back is each part, whole.
Leaves to others: the tool (`drivers.flash`), whether images are to be trusted, the record (`pipeline.flasher_record`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from assay.errors import InfrastructureError, Refused, WrongBoard, WrongUnit, at_layer
from assay.interfaces.flasher import Action, Flasher, FlashPlan, Identity, ReadBack
from assay.interfaces.step_book import DETAIL, StepBook
from assay.model.flasher_settings import FlasherSettings

NOTHING_WRITTEN = "nothing was written"
WRITE = "write"
"""The `what` of an action that writes `size` bytes to `where`."""


@dataclass(frozen=True)
class Expected:
    """Which unit it has to be: as the bench names its probe and chip (None: it does not), and its board its kind."""

    place: str
    board: str
    probe: str | None = None
    chip: str | None = None
    kind: str | None = None


def check_identity(wanted: Expected, found: Identity) -> None:
    """Raises `WrongUnit`, `WrongBoard`; also when it cannot be told what the bench wants to know."""
    if wanted.kind is not None and wanted.kind.casefold() not in (found.kind or "").casefold():
        says = f"says that it is {found.kind!r}" if found.kind else "does not say what it is"
        raise WrongBoard(
            f"what is on {wanted.place} {says}; the board TOML of {wanted.board} expects {wanted.kind!r}",
            remedy=f"connect the right board, or correct kind in its flasher; {NOTHING_WRITTEN}",
        )
    for word, want, have in (("probe", wanted.probe, found.probe), ("chip", wanted.chip, found.chip)):
        if want is not None and (have is None or want.casefold() != have.casefold()):
            there = f"is {word} {have}" if have else f"is one whose {word} cannot be told"
            raise WrongUnit(
                f"on {wanted.place} {there}, the bench says {want}",
                remedy=f"connect the right unit, or correct {word} of the place in bench.toml; {NOTHING_WRITTEN}",
            )


def check_plan(settings: FlasherSettings, plan: FlashPlan) -> None:
    """Raises `Refused` for a byte outside the memories that may be written, or written twice."""
    writes = [action for action in plan.actions if action.what == WRITE and isinstance(action.where, int)]
    for action in writes:
        address, size = _range(action)
        if not settings.holds(address, size):
            memories = ", ".join(f"{each.base:#x} to {each.end - 1:#x}" for each in settings.memory)
            raise Refused(
                f"{size} bytes at {address:#x} do not fit into what {settings.called} may write ({memories})",
                remedy=f"correct the address, or memory of the board's flasher; {NOTHING_WRITTEN}",
            )
    _check_overlaps(sorted(_range(action) for action in writes))


def _check_overlaps(ranges: Sequence[tuple[int, int]]) -> None:
    for (address, size), (following, _) in pairwise(ranges):
        if following < address + size:
            raise Refused(
                f"two images overlap: {size} bytes at {address:#x}, and others from {following:#x} on",
                remedy=f"correct their addresses, or give one of them; {NOTHING_WRITTEN}",
            )


def _range(action: Action) -> tuple[int, int]:
    assert isinstance(action.where, int)
    return action.where, action.size or 0


def identify(flasher: Flasher, wanted: Expected) -> Identity:
    """Who is there, and it is who it has to be. Raises `WrongUnit`, `WrongBoard`, `InfrastructureError`."""
    with at_layer("flasher"):
        found = flasher.identify()
    check_identity(wanted, found)
    return found


def flash(flasher: Flasher, plan: FlashPlan, book: StepBook) -> tuple[ReadBack, ...]:
    """Write, read back, reset. Raises `UnitFailed`, `InfrastructureError`."""
    read: list[ReadBack] = []

    def write() -> dict[str, object]:
        flasher.write(plan, book.progress_for("flash"))
        return {DETAIL: f"{sum(part.size for part in plan.parts)} bytes by {flasher.name}"}

    def read_back() -> dict[str, object]:
        read.extend(flasher.read_back(plan, book.progress_for("compare")))
        _check_all(plan, read)
        return {DETAIL: ", ".join(dict.fromkeys(_in_words(each) for each in read))}

    with at_layer("flasher"):
        book.run("flash", write)
        book.run("compare", read_back)
        book.run("restart", flasher.reset)
    return tuple(read)


def _check_all(plan: FlashPlan, read: Sequence[ReadBack]) -> None:
    """A driver that forgets a part, or a piece of it, proves nothing. A file with addresses of its own has pieces."""
    for part in plan.parts:
        mine = [each for each in read if each.name == part.name]
        whole = not isinstance(part.where, int) or sum(each.size for each in mine) == part.size
        same = part.where is None or len(mine) != 1 or mine[0].sha256 == part.sha256
        if not mine or not whole or not same:
            raise InfrastructureError(
                f"what the flasher read back does not prove that {part.name} is there", remedy="tell the driver's maker"
            )


def _in_words(each: ReadBack) -> str:
    words = {
        "bytes": f"{each.name} read out and compared",
        "tool": f"{each.name} compared by the tool",
        "device": f"{each.name}: the device told its hash",
        "accepted": f"{each.name} was taken, and nothing reads it back",
    }
    return words[each.by]
