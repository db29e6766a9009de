# SPDX-License-Identifier: Apache-2.0
"""What a person is told who stops a run: the unit's state by the step, and that port and place are free."""

from __future__ import annotations

import pytest

from assay.errors import Interrupted
from assay.interfaces.left_behind import unit_after
from assay.interfaces.step_book import StepBook


class Journal:
    """Keeps nothing."""

    resumed = False

    def begin(self, _step: str) -> int:
        return 1

    def done(self, _step: str, _result: dict[str, object]) -> None:
        """Kept."""

    def result(self, _step: str) -> None:
        return None


def stop() -> None:
    raise Interrupted("SIGINT")


@pytest.mark.parametrize(
    ("step", "word"),
    [
        ("upload", "runs what it ran"),
        ("reset", "under test"),
        ("confirm", "which it keeps if"),
        ("write-bootloader", "mask ROM waits"),
        ("write-app", "until then waits for the rest"),
        ("make-identity", "stay its own"),
        ("check", "has firmware and identity"),
        ("make-key", "step make-key was under way, and can be done again"),
    ],
)
def test_a_step_that_is_stopped_says_what_the_unit_is_left_with(step: str, word: str) -> None:
    book = StepBook(Journal(), lambda _text: None, lambda _what: lambda _done, _total: None)
    with pytest.raises(Interrupted) as caught:
        book.run(step, stop)
    assert caught.value.__notes__ == [unit_after(step)] and word in unit_after(step)


@pytest.mark.parametrize("when", ["begin", "done"])
def test_a_step_that_is_stopped_while_it_is_written_down_says_it_too(when: str) -> None:
    """The journal may have it already, and then says that the run stopped in it."""
    journal = Journal()
    setattr(journal, when, lambda *_: stop())
    book = StepBook(journal, lambda _text: None, lambda _what: lambda _done, _total: None)
    with pytest.raises(Interrupted) as caught:
        book.run("check", dict)
    assert caught.value.__notes__ == [unit_after("check")]
