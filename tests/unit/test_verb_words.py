# SPDX-License-Identifier: Apache-2.0
"""Why a step of a pipeline stopped it: words from wherever the verb left them."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay.errors import StorageError
from assay.pipeline.verb_words import why


def test_an_answer_speaks_for_itself() -> None:
    assert why({"error": "bad", "remedy": "mend"}, ["noise"], None) == ("bad", "mend")
    assert why({"outcome": "FAIL", "reason": "the unit went back"}, [], None)[0] == "the unit went back"


def test_broken_links_of_a_trace_are_named() -> None:
    broken = [{"link": "log", "faults": ["changed"]}, {"link": "x", "faults": ["gone"]}]
    message, remedy = why({"broken": broken}, [], None)
    assert message == "2 links are broken: log: changed; x: gone"
    assert remedy


@pytest.mark.parametrize("word", ["REFUSED", "NOT RECORDED", "ERROR", "USAGE", "FAIL", "ABORTED"])
def test_an_error_on_stderr_gives_message_notes_and_remedy(word: str) -> None:
    lines = ["progress", f"{word}: it cannot be", "  it stopped in step x", "  next: do this", ""]
    assert why({}, lines, None) == ("it cannot be\n  it stopped in step x", "do this")


def test_the_last_lines_count_when_nothing_looks_like_an_error() -> None:
    assert why({}, ["one", "", "Traceback: x"], None) == ("one\nTraceback: x", "")
    assert why({}, [], None) == ("it said nothing", "")


def test_the_file_that_the_output_went_to_is_read(tmp_path: Path) -> None:
    file = tmp_path / "trace.txt"
    file.write_text("tree\n" * 100_000 + "\nBROKEN: 1 of 33 links\n  log: the signature is wrong\nemulated: x\n")
    message, remedy = why({}, [], file)
    assert message.splitlines()[:2] == ["BROKEN: 1 of 33 links", "  log: the signature is wrong"]
    assert str(file) in remedy
    file.write_bytes(b"\xff\n" * 9)
    assert len(why({}, [], file)[0].splitlines()) == 5
    file.write_text("")
    assert why({}, [], file)[0] == "it said nothing"
    file.unlink()
    with pytest.raises(StorageError):
        why({}, [], file)
