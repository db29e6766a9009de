# SPDX-License-Identifier: Apache-2.0
"""The engine: verbs as processes, only the expected outcome goes on, and a run is taken up where it stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from assay.errors import ExitStatus, InfrastructureError, NotRecorded, UsageFault
from assay.model.pipeline import Pipeline, PipelineStep
from assay.pipeline.engine import Engine, Order
from assay.pipeline.engine_events import Event, RunResult, StepLine, StepOutcome, StepStarted
from assay.pipeline.site import Site
from assay.pipeline.variables import capture, check, expand, groups, start_values
from assay.pipeline.verb_process import VerbProcess

LEFT_CHILD_S = 80.0
"""Less than the child lives that a verb leaves behind."""

VERBS = """
import json, os, sys, time
from pathlib import Path

words = [word for word in sys.argv[sys.argv.index("assay") + 1 :] if word != "--json"]
verb, *rest = words
with Path("calls").open("a") as calls:
    calls.write(" ".join(words) + "\\n")
if verb == "give":
    print(json.dumps({"status": 0, "unit": {"serial": rest[0]}, "list": ["a", "b"]}))
elif verb == "end":
    print(json.dumps({"status": int(rest[0]), "error": "the unit is bad", "remedy": "mend it"}))
    sys.exit(int(rest[0]))
elif verb == "end-unless":
    good = Path(rest[0]).exists()
    print(json.dumps({"status": 0 if good else 3}))
    sys.exit(0 if good else 3)
elif verb == "say":
    print("on the way", file=sys.stderr)
    print("text" if "--json" not in sys.argv else "{}")
elif verb == "refuse":
    print("a tree" if "--json" not in sys.argv else "{}")
    if rest == ["loudly"]:
        print("REFUSED: nobody vouches for it\\n  next: sign it again", file=sys.stderr)
    else:
        print("BROKEN: 1 of 3 links\\n  log: changed")
    sys.exit(4)
elif verb == "die":
    os.kill(os.getpid(), 9)
elif verb == "garbage":
    print("{} {}")
elif verb == "leave-child":
    import subprocess
    subprocess.Popen(["sleep", "100"])
    print("{}")
elif verb == "meet":
    Path(rest[0]).touch()
    end = time.monotonic() + 200
    while not Path(rest[1]).exists():
        if time.monotonic() > end:
            sys.exit(3)
        time.sleep(0.02)
    print("{}")
elif verb == "sleep":
    time.sleep(float(rest[0]))
    print("{}")
elif verb == "close-slowly":
    import signal

    def close(number, frame):
        time.sleep(1.0)
        with Path("calls").open("a") as calls:
            calls.write("closed\\n")
        sys.exit(3)

    signal.signal(signal.SIGTERM, close)
    Path("listens").touch()
    time.sleep(30)
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose `assay` is a small script: the engine is tested, not the verbs."""
    (tmp_path / "boards").mkdir()
    (tmp_path / "verbs.py").write_text(VERBS)
    (tmp_path / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "{tmp_path}/verbs.py" "$@"\n')
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    return tmp_path


def pipeline(*steps: dict[str, Any], **variables: str) -> Pipeline:
    rows = [
        {"name": f"s{number}", "title": f"step {number}", **step, "run": tuple(step["run"].split())}
        for number, step in enumerate(steps, 1)
    ]
    return Pipeline(
        schema="assay.pipeline/1",  # type: ignore[call-arg]
        name="try",
        variables=variables,
        steps=tuple(PipelineStep(**row) for row in rows),
    )


def go(project: Path, found: Pipeline, events: list[Event] | None = None, **options: Any) -> RunResult:
    order = Order(project / "p.toml", found, project, **options)
    return Engine(Site(project / "site"), order, (events if events is not None else []).append).run()


def calls(project: Path) -> list[str]:
    return (project / "calls").read_text().splitlines()


def test_variables_go_from_answers_into_arguments(project: Path) -> None:
    found = pipeline(
        {"run": "give S-{board}", "capture": {"serial": "unit.serial", "second": "list.1"}},
        {"run": "say {serial} {second} {{x}}"},
        board="b1",
    )
    result = go(project, found, chosen={"board": "b2"})
    assert result.status is ExitStatus.PASS
    assert calls(project) == ["give S-b2", "say S-b2 b {x}"]
    assert result.variables["serial"] == "S-b2"


@pytest.mark.parametrize("status", [1, 2, 3, 4, 5])
def test_the_first_unexpected_outcome_stops_with_its_status(project: Path, status: int) -> None:
    result = go(project, pipeline({"run": f"end {status}"}, {"run": "say never"}))
    assert result.status == status
    assert calls(project) == [f"end {status}"]
    assert result.stopped_by is not None
    assert (result.stopped_by.message, result.stopped_by.remedy) == ("the unit is bad", "mend it")


@pytest.mark.parametrize(
    ("words", "message", "remedy"),
    [
        ("refuse loudly", "nobody vouches for it", "sign it again"),
        ("refuse", "BROKEN: 1 of 3 links\n  log: changed", "the whole answer is in"),
    ],
)
def test_a_step_whose_output_goes_to_a_file_says_why_it_stopped(
    project: Path, words: str, message: str, remedy: str
) -> None:
    result = go(project, pipeline({"run": words, "stdout": "out.txt"}))
    assert result.status is ExitStatus.REFUSED
    assert result.stopped_by is not None
    assert result.stopped_by.message == message
    assert result.stopped_by.remedy.startswith(remedy)


@pytest.mark.parametrize(("status", "gives"), [(0, 1), (1, 0), (2, 2), (3, 3), (4, 4), (5, 5)])
def test_expect_fail_takes_status_1_and_nothing_else(project: Path, status: int, gives: int) -> None:
    result = go(project, pipeline({"run": f"end {status}", "expect": "FAIL"}))
    assert result.status == gives
    assert (result.steps[0].outcome is StepOutcome.FAIL_EXPECTED) == (gives == 0)


@pytest.mark.parametrize("words", ["die", "garbage", "end 77"])
def test_a_verb_that_died_or_babbled_is_an_error(project: Path, words: str) -> None:
    for expect in ("PASS", "FAIL"):
        result = go(project, pipeline({"run": words, "expect": expect}, x=""), chosen={"x": expect})
        assert result.status is ExitStatus.ERROR


def test_taken_up_again_after_the_last_step_that_is_done(project: Path) -> None:
    found = pipeline(
        {"run": "give S-1", "capture": {"serial": "unit.serial"}},
        {"run": "say start {pid}", "again": True},
        {"run": "end-unless {serial}"},
        {"run": "say last {serial}"},
    )
    first = go(project, found)
    assert first.status is ExitStatus.ERROR
    (project / "S-1").touch()
    second = go(project, found)
    assert (second.status, second.run) == (ExitStatus.PASS, first.run)
    pid = os.getpid()
    assert calls(project) == [
        "give S-1", f"say start {pid}", "end-unless S-1", f"say start {pid}", "end-unless S-1", "say last S-1"
    ]  # fmt: skip
    assert [step.outcome for step in second.steps].count(StepOutcome.DONE_BEFORE) == 1
    third = go(project, found)
    assert third.run != first.run


def test_what_a_done_step_made_has_to_be_there_still(project: Path) -> None:
    found = pipeline({"run": "say hello", "stdout": "{results}/out"}, {"run": "end-unless good"})
    first = go(project, found)
    (first.results / "out").unlink()
    (project / "good").touch()
    assert go(project, found).status is ExitStatus.PASS
    assert calls(project).count("say hello") == 2
    assert (first.results / "out").read_text() == "text\n"


def test_a_verdict_ends_the_run(project: Path) -> None:
    found = pipeline({"run": "give S-1"}, {"run": "end 1"})
    assert go(project, found).run != go(project, found).run


@pytest.mark.parametrize("how", ["fresh", "changed", "no results"])
def test_when_an_interrupted_run_is_not_taken_up(project: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settled: list[str] = []

    def settle(site: Site, run: Any) -> None:
        from assay.model.outcome import Outcome

        settled.append(run.run_id)
        run.finish(Outcome.ABORTED)

    monkeypatch.setattr("assay.pipeline.recovery.settle", settle)
    found = pipeline({"run": "give S-1"}, {"run": "end 3"})
    first = go(project, found)
    if how == "no results":
        first.results.rename(project / "elsewhere")
    changed = pipeline({"run": "give S-2"}, {"run": "end 3"}) if how == "changed" else found
    second = go(project, changed, fresh=how == "fresh")
    assert second.run != first.run
    assert len(settled) == 1


def test_steps_together_run_at_the_same_time_and_the_gravest_counts(project: Path) -> None:
    steps = [{"run": "meet one two", "together": "x"}, {"run": "meet two one", "together": "x"}]
    assert go(project, pipeline(*steps)).status is ExitStatus.PASS
    both = pipeline({"run": "end 1", "together": "x"}, {"run": "end 4", "together": "x"}, {"run": "say never"})
    assert go(project, both).status is ExitStatus.REFUSED


def test_progress_passes_through_and_answers_are_kept(project: Path) -> None:
    events: list[Event] = []
    result = go(project, pipeline({"run": "say a"}, {"run": "give S-9"}), events)
    assert StepLine(1, "on the way") in events
    assert (result.results / "steps" / "01-s1.log").read_text() == "on the way\n"
    assert json.loads((result.results / "steps" / "02-s2.json").read_text())["unit"] == {"serial": "S-9"}


def test_a_child_that_a_verb_left_behind_does_not_hold_the_pipeline(project: Path) -> None:
    before = time.monotonic()
    assert go(project, pipeline({"run": "leave-child"})).status is ExitStatus.PASS
    assert time.monotonic() - before < LEFT_CHILD_S


def test_killed_engine_takes_its_verb_with_it_and_the_next_waits_for_it(project: Path) -> None:
    script = f"""
import sys
from pathlib import Path
sys.executable = {str(project / "python")!r}
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_engine import go, pipeline
go(Path({str(project)!r}), pipeline({{"run": "give S-1"}}, {{"run": "close-slowly"}}))
"""
    engine = subprocess.Popen([os.path.realpath(f"/proc/{os.getpid()}/exe"), "-c", script],
                              env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})  # fmt: skip
    while not (project / "listens").exists():
        time.sleep(0.05)
    engine.send_signal(signal.SIGKILL)
    engine.wait()
    found = pipeline({"run": "give S-1"}, {"run": "close-slowly"})
    with pytest.raises(KeyboardInterrupt):  # before its second step starts
        go(project, found, _StopAtSecondStep())
    assert calls(project) == ["give S-1", "close-slowly", "closed"]
    assert not [line for line in _processes() if f"{project}/verbs.py" in line]


RUN = """
import sys
sys.executable = sys.argv.pop(1)
from assay.cli.main import run
run()
"""


def start_run(project: Path, *words: str, **options: Any) -> subprocess.Popen[str]:
    """`assay run` as a process, with the small script for its verbs."""
    (project / "p.toml").write_text(
        'schema = "assay.pipeline/1"\nname = "p"\n'
        '[[steps]]\nname = "a"\ntitle = "First"\nrun = ["give", "S-1"]\n'
        f'[[steps]]\nname = "b"\ntitle = "Second"\nrun = {json.dumps(words)}\n'
    )
    interpreter = os.path.realpath(f"/proc/{os.getpid()}/exe")
    command = [interpreter, "-c", RUN, str(project / "python"), "run", "p.toml", "--site", str(project / "site")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        command, cwd=project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_verb_in_order_and_the_run_goes_on_later(project: Path, number: signal.Signals) -> None:
    process = start_run(project, "close-slowly")
    while not (project / "listens").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == 3
    assert errors.splitlines()[0] == f"ABORTED: stopped by {number.name}"
    results = next((project / "build" / "p").iterdir())
    assert f"  results so far: {results.relative_to(project)}/" in errors.splitlines()
    assert "stopped in step b; the same command goes on from there" in errors.splitlines()[-1]
    assert calls(project) == ["give S-1", "close-slowly", "closed"]


def test_a_reader_that_goes_away_does_not_stop_the_pipeline(project: Path) -> None:
    process = start_run(project, "meet", "ready", "reader-gone")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    while not (project / "ready").exists():
        assert process.poll() is None
        time.sleep(0.05)
    (project / "reader-gone").touch()
    assert process.wait() == 0
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()


def test_results_that_cannot_be_kept_are_not_recorded(project: Path) -> None:
    results = project / "results"
    results.mkdir()
    (results / "steps").write_text("a file is in the way")
    with pytest.raises(NotRecorded, match="cannot be written"):
        go(project, pipeline({"run": "give S-1"}), results=results)
    (results / "steps").unlink()
    assert go(project, pipeline({"run": "give S-1"}), results=results).status is ExitStatus.PASS


class _StopAtSecondStep(list[Event]):
    def append(self, event: Event) -> None:
        if isinstance(event, StepStarted) and event.name == "s2":
            raise KeyboardInterrupt


def _processes() -> list[str]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


def test_variables_that_nobody_sets_are_found_before_anything_runs(project: Path) -> None:
    with pytest.raises(UsageFault, match="step s2: no variable 'serail'"):
        go(project, pipeline({"run": "give S-1", "capture": {"serial": "unit.serial"}}, {"run": "say {serail}"}))
    assert not (project / "calls").exists()


def test_a_choice_that_the_pipeline_does_not_have_begins_no_run(project: Path) -> None:
    with pytest.raises(UsageFault, match="no variable 'bord'") as told:
        go(project, pipeline({"run": "say {board}"}, board="b1"), chosen={"bord": "b2"})
    assert not getattr(told.value, "__notes__", []) and not (project / "build").exists()


def test_a_captured_variable_is_not_there_for_its_own_group() -> None:
    taken = {"run": "give 1", "capture": {"x": "list.0"}, "together": "g"}
    with pytest.raises(UsageFault, match="no variable 'x'"):
        check(pipeline(taken, {"run": "say {x}", "together": "g"}))
    check(pipeline(taken, {"run": "say {x}"}))


def test_two_steps_of_one_name_are_refused() -> None:
    with pytest.raises(UsageFault, match="two steps"):
        check(pipeline({"run": "say", "name": "a"}, {"run": "say", "name": "a"}))


@pytest.mark.parametrize("text", ["{", "}", "{a b}", "{}"])
def test_lone_braces_are_refused(text: str) -> None:
    with pytest.raises(UsageFault, match="brace"):
        expand(text, {"a": "b"})


def test_choices_are_checked_and_builtins_are_not_overridden() -> None:
    found = pipeline({"run": "say"}, board="b", place="p-{board}")
    assert start_values(found, {"run": "1"}, {"board": "c"})["place"] == "p-c"
    with pytest.raises(UsageFault, match=r"did you mean|no variable 'baord'"):
        start_values(found, {}, {"baord": "c"})
    with pytest.raises(UsageFault, match="set by assay"):
        start_values(pipeline({"run": "say"}, pid="1"), {}, {})


def test_capture_names_what_an_answer_lacks() -> None:
    step = PipelineStep(name="a", title="a", run=("x",), capture={"v": "unit.serial"})
    for answer in ({}, {"unit": []}, {"unit": {"serial": {"a": 1}}}, {"unit": {"serial": None}}):
        with pytest.raises(InfrastructureError, match=r"unit\.serial"):
            capture(step, answer)
    assert capture(step, {"unit": {"serial": 5}}) == {"v": "5"}


def test_groups_keep_the_order() -> None:
    found = pipeline({"run": "a", "together": "x"}, {"run": "b", "together": "x"}, {"run": "c"}, {"run": "d"},
                     {"run": "e", "together": "x"})  # fmt: skip
    assert [[step.run[0] for step in group] for group in groups(found.steps)] == [["a", "b"], ["c"], ["d"], ["e"]]


def test_modules_of_the_project_do_not_run_in_a_verb(tmp_path: Path) -> None:
    """A verb may ask for signatures, and the sources that it works on are not trusted with them."""
    (tmp_path / "click.py").write_text("open('ran', 'w').close()\nraise SystemExit(0)\n")
    lifeline, other = os.pipe()
    try:
        process = VerbProcess(
            ("--version",), folder=tmp_path, site=tmp_path, stdout=tmp_path / "out", lifeline=lifeline
        )
        result = process.result()
    finally:
        os.close(lifeline)
        os.close(other)
    assert not (tmp_path / "ran").exists()
    assert result.status is ExitStatus.PASS
    assert "assay" in (tmp_path / "out").read_text()
