# SPDX-License-Identifier: Apache-2.0
"""How many bytes of an update travelled, over all attempts of its run, and what they were.

Guards: what an attempt sent stays counted when it fails or is killed (then to `KEPT_EACH_BYTES`), and what did not
travel is not said to have. Leaves to others: sending it (`interfaces.lasting_upload`), the run's journal.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assay.model.predicates import UpdateWay

if TYPE_CHECKING:
    from assay.interfaces.journal import Journal
    from assay.model.plan import Plan

KEPT_EACH_BYTES = 16 * 1024
"""A killed upload forgets fewer bytes than this; at 115,200 baud the journal is written every 2 s."""
REFUSED = "refused"
"""Key of a step's result: why the unit did not take the patch."""


@dataclass(frozen=True)
class Travel:
    """What travelled, how many bytes in all attempts of this run, and why the unit did not take the patch, if so.

    `patch_refused` may be empty after a process that died: the refusal was told to that one.
    """

    way: UpdateWay
    bytes_sent: int
    patch_refused: str = ""


def travel_of(journal: Journal, plan: Plan) -> Travel:
    """What travelled in the run of `journal`; a radio counts as a whole image. The walk sends the whole image of a
    `plan` with a patch only when the unit did not take the patch.
    """
    patch, full = journal.moved("upload-patch"), journal.moved("upload") + journal.moved("upload-radio")
    results = [journal.result(step) or {} for step in ("upload-patch", "apply-patch")]
    refused = next((str(result[REFUSED]) for result in results if REFUSED in result), "")
    way: UpdateWay = "none"
    if full:
        way = "full" if plan.patch is None else "patch-then-full"
    elif patch:
        way = "patch"
    return Travel(way, patch + full, refused)


class SentBytes:
    """Counts what one attempt of `step` sends, by its progress, and keeps it in `journal`."""

    def __init__(self, journal: Journal, step: str) -> None:
        self._journal = journal
        self._step = step
        self._last: int | None = None
        self._sent = 0
        self._kept = 0

    def reached(self, done: int) -> None:
        """The device has `done` bytes; the first call of an upload says where it begins."""
        if self._last is not None and done > self._last:
            self._sent += done - self._last
        self._last = done
        if self._sent - self._kept >= KEPT_EACH_BYTES:
            self._keep()

    def at_least(self, sent: int) -> None:
        """The upload's own count, with the bytes before its first progress."""
        self._sent = max(self._sent, sent)

    def _keep(self) -> None:
        if self._sent > self._kept:
            self._journal.move(self._step, self._sent - self._kept)
            self._kept = self._sent

    @contextmanager
    def kept(self) -> Iterator[SentBytes]:
        """Whatever ends the upload, what it sent is in the journal."""
        try:
            yield self
        finally:
            self._keep()
