# SPDX-License-Identifier: Apache-2.0
"""What a person sees of a pipeline: commands before they run, one line for what is done, and where everything is."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from assay.cli.run_view import PlainView, TerminalView, summary
from assay.errors import ExitStatus
from assay.pipeline.engine_events import Event, RunResult, RunStarted, StepEnded, StepOutcome, StepStarted

STARTED = StepStarted(2, "sign", "Sign it", "assay sign x")


def ended(index: int, name: str, outcome: StepOutcome) -> StepEnded:
    return StepEnded(index, name, f"{name} it", f"assay {name} x", outcome, ExitStatus.PASS, 1.0)


def shown(kind: str, *events: Event) -> list[str]:
    """The lines that stay on the screen or in the log."""
    text = io.StringIO()
    view = (
        PlainView(lambda line: print(line, file=text))
        if kind == "plain"
        else TerminalView(Console(file=text, force_terminal=True, width=200, no_color=True, legacy_windows=False))
    )
    with view as tell:
        tell(RunStarted("demo", "0001-ab", Path("/r"), 3, ("build",)))
        for event in events:
            tell(event)
    return [line.rpartition("\x1b")[2].lstrip("[0123456789;mK") or line for line in text.getvalue().splitlines()]


@pytest.mark.parametrize("kind", ["plain", "terminal"])
def test_a_command_is_shown_before_it_runs(kind: str) -> None:
    assert any("$ assay sign x" in line for line in shown(kind, STARTED))
    whole = "\n".join(shown(kind, STARTED, ended(2, "sign", StepOutcome.PASS)))
    assert whole.count("$ assay sign x") == 1
    assert whole.index("Sign it") < whole.index("$ assay sign x") < whole.index("PASS")


@pytest.mark.parametrize("kind", ["plain", "terminal"])
def test_a_step_that_was_done_before_takes_one_line(kind: str) -> None:
    before, after = shown(kind), shown(kind, ended(1, "build", StepOutcome.DONE_BEFORE))
    added = [line for line in after if line not in before]
    assert len(added) == 1 and "done before" in added[0] and "build it" in added[0]


def test_the_end_lists_files_and_folders_of_the_results(tmp_path: Path) -> None:
    for name in ("trace.txt", ".lifeline"):
        (tmp_path / name).touch()
    for name in ("test-1.0.0", "steps"):
        (tmp_path / name).mkdir()
    result = RunResult("demo", "0001-ab", tmp_path, ExitStatus.PASS, 1.0, (), {})
    assert summary(result, tmp_path.parent).splitlines()[-4:] == [
        f"results: {tmp_path.name}/", "  steps/", "  test-1.0.0/", "  trace.txt",
    ]  # fmt: skip
