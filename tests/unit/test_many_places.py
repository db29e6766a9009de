# SPDX-License-Identifier: Apache-2.0
"""One verb at several places: what their processes say, leave behind and inherit, and signals at bad moments."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from assay.cli.many_places import _answer

WITHIN_S = 120.0  # a run takes a third of a second on an idle machine, and many on one that is starved

VERB = """
import os, signal, subprocess, sys, time
from pathlib import Path
from assay.cli.many_places import at_places
from assay.cli.session import Answer, Session, carry_out
from assay.cli.signals import raise_on_signals

{one}

raise_on_signals()
{before}
session = Session(Path("no-site"), True)
carry_out(session, lambda: at_places(session, ["a", "b"], one))
"""

PASSES = """
def one(session, place):
    return Answer(place, {})
"""


def run(
    tmp_path: Path, one: str = PASSES, before: str = "", *, stderr: int = subprocess.PIPE, ci: bool = False
) -> subprocess.CompletedProcess[str]:
    """A verb whose work at a place is the function `one` of that text."""
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    environment |= {"CI": "true", "ASSAY_DEBUG": "1"} if ci else {}
    words = [sys.executable, "-c", VERB.format(one=one, before=before)]
    pipe = subprocess.PIPE
    return subprocess.run(
        words, text=True, timeout=WITHIN_S, cwd=tmp_path, env=environment, check=False, stdout=pipe, stderr=stderr
    )


def results(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [each["result"] for each in json.loads(done.stdout)["places"]]


def test_what_a_place_leaves_behind_is_not_waited_for(tmp_path: Path) -> None:
    one = """
def one(session, place):
    left = subprocess.Popen(["sleep", "60"])
    Path(place).write_text(str(left.pid))
    return Answer(place, {})
"""
    try:
        assert results(run(tmp_path, one)) == ["PASS", "PASS"]
    finally:
        for place in ("a", "b"):
            os.kill(int((tmp_path / place).read_text()), 9)


def test_what_programs_of_a_place_say_is_told_and_is_no_part_of_its_answer(tmp_path: Path) -> None:
    one = r"""
def one(session, place):
    subprocess.run(["printf", "said\nand more"])
    return Answer(place, {})
"""
    done = run(tmp_path, one)
    assert results(done) == ["PASS", "PASS"]
    assert {"a: said", "a: and more", "a: PASS"} <= set(done.stderr.splitlines())


def test_a_line_that_is_no_progress_is_told_as_it_is(tmp_path: Path) -> None:
    one = r"""
def one(session, place):
    session.say("\x1e{")
    session.say('\x1e["erase", "much", 1]')
    return Answer(place, {})
"""
    done = run(tmp_path, one)
    assert results(done) == ["PASS", "PASS"]
    assert "a: \x1e{" in done.stderr.split("\n")  # splitlines() splits there, too


def test_a_place_has_no_pipe_of_another(tmp_path: Path) -> None:
    one = """
def one(session, place):
    links = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if fd > "2"
             and os.path.exists(f"/proc/self/fd/{fd}")]
    return Answer(place, {"pipes": [link for link in links if link.startswith("pipe:")]})
"""
    first, second = (set(each["pipes"]) for each in json.loads(run(tmp_path, one).stdout)["places"])
    assert first and second and not first & second


@pytest.mark.parametrize("who", ["child", "parent"])
def test_a_signal_between_fork_and_work_is_answered_by_each_place_and_once(tmp_path: Path, who: str) -> None:
    one = """
def one(session, place):
    time.sleep(20)
    return Answer(place, {})
"""
    then = "signal.SIGTERM if os.getpid() == us else 0" if who == "parent" else "signal.SIGTERM"
    before = f"us = os.getpid()\nos.register_at_fork(after_in_{who}=lambda: os.kill(os.getpid(), {then}))"
    done = run(tmp_path, one, before)
    document = json.loads(done.stdout)  # one, and not one of each process
    if who == "child":
        assert [each["error"] for each in document["places"]] == ["stopped by SIGTERM"] * 2
    else:
        assert (done.returncode, document["error"]) == (3, "stopped by SIGTERM")
        assert [note for note in document["notes"] if "stopped by" in note] == [
            "a: stopped by SIGTERM",
            "b: stopped by SIGTERM",
        ]


def test_nobody_says_that_nothing_is_half_done_where_a_place_cannot_tell(tmp_path: Path) -> None:
    one = """
def one(session, place):
    if place == "a":
        return Answer(place, {})
    children = Path(f"/proc/{os.getppid()}/task/{os.getppid()}/children")
    while len(children.read_text().split()) > 1:  # until what `a` said was heard
        time.sleep(0.01)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it dies without a word, also if the signal comes back in between
    os.kill(os.getppid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = run(tmp_path, one)
    notes = json.loads(done.stdout)["notes"]
    assert notes == ["a: PASS", "b: the process of place b was ended"]
    assert done.stderr.splitlines().count("a: PASS") == 1


def test_work_goes_on_when_nobody_reads_what_is_told(tmp_path: Path) -> None:
    one = """
def one(session, place):
    for number in range(20):
        session.display.say(f"step {number}")
    return Answer(place, {})
"""
    read, write = os.pipe()
    os.close(read)
    try:
        done = run(tmp_path, one, stderr=write)
    finally:
        os.close(write)
    assert (done.returncode, results(done)) == (0, ["PASS", "PASS"])


def test_what_is_an_error_in_ci_is_told_there_too(tmp_path: Path) -> None:
    one = """
def one(session, place):
    raise ValueError(place)
"""
    done = run(tmp_path, one, ci=True)
    assert results(done) == ["ERROR", "ERROR"]
    assert "a: ValueError: a" in done.stderr.splitlines()


def test_a_place_with_a_strange_name_is_shown_in_one_line() -> None:
    answer = _answer([{"place": "a\nb\x1b[2J", "status": 2, "result": "USAGE", "error": "no such place"}])
    assert len(answer.text.splitlines()) == 2 and "\x1b" not in answer.text
