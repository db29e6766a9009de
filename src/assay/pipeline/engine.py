# SPDX-License-Identifier: Apache-2.0
"""Runs a pipeline: each step is an ordinary verb in a process of its own, and what is done stays done.

Guards: only the expected outcome lets the next step begin; a run that was interrupted goes on after its last done step,
and only once no verb of its earlier process lives any more.
Leaves to others: what verbs do, how events look (`cli.run_view`).
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import selectors
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.backends.builders.sandbox_strays import end_strays
from assay.errors import AssayError, ExitStatus, StorageError, gravest
from assay.model.outcome import Outcome
from assay.model.pipeline import Pipeline, PipelineStep
from assay.pipeline.engine_events import Event, RunResult, RunStarted, StepEnded, StepLine, StepOutcome, StepStarted
from assay.pipeline.lifeline import Lifeline
from assay.pipeline.run_results import keep_step
from assay.pipeline.variables import BUILT_IN, capture, check, expand, groups, start_values
from assay.pipeline.verb_process import VerbProcess, VerbResult, command_line

if TYPE_CHECKING:
    from assay.pipeline.run_journal import Run
    from assay.pipeline.site import Site

SETUP = "(set-up)"
"""The journal's step that holds what the run was begun with; no step of a pipeline can be called so."""

CLOSING = {ExitStatus.PASS: Outcome.PASS, ExitStatus.FAIL: Outcome.FAIL}
"""A verdict ends the run; after anything else it can be taken up again where it stopped."""

_POLL_S = 0.1
_READ_BYTES = 65536


@dataclass(frozen=True)
class Order:
    """What is asked: a pipeline from `file`, with variables `chosen`, run in `root`; `fresh` begins anew."""

    file: Path
    pipeline: Pipeline
    root: Path
    chosen: dict[str, str] = field(default_factory=dict)
    results: Path | None = None
    fresh: bool = False

    @property
    def key(self) -> str:
        """What tells runs apart in the journal."""
        return f"{self.file} {json.dumps(self.chosen, sort_keys=True)}"

    @property
    def digest(self) -> str:
        """SHA-256 of the pipeline's content: a run goes on only with the steps that it began with."""
        return hashlib.sha256(self.pipeline.model_dump_json(by_alias=True).encode()).hexdigest()


class Engine:
    """One run of one pipeline; `tell` is called with each event."""

    def __init__(self, site: Site, order: Order, tell: Callable[[Event], None]) -> None:
        self._site = site
        self._order = order
        self._tell = tell
        self._values: dict[str, str] = {}
        self._ended: list[StepEnded] = []
        self._results = Path()

    def run(self) -> RunResult:
        """Run it, or go on with it. Raises what journal and manifest raise; a step's outcome is in the answer."""
        check(self._order.pipeline)
        start_values(self._order.pipeline, dict.fromkeys(BUILT_IN, ""), self._order.chosen)  # wrong: no run is begun
        started_s = time.monotonic()
        with ExitStack() as stack:
            run = stack.enter_context(self._open())
            setup = self._setup(run)
            self._results = results = Path(setup["results"])
            stack.push(self._tell_results)
            lifeline = stack.enter_context(Lifeline(results))
            end_strays()
            done = [step for step in self._order.pipeline.steps if self._is_done(run, step)]
            names = tuple(step.name for step in done)
            steps = len(self._order.pipeline.steps)
            self._tell(RunStarted(self._order.pipeline.name, setup["run"], results, steps, names))
            status = self._walk(run, lifeline)
            if status in CLOSING:
                run.finish(CLOSING[status], "")
        duration_s = time.monotonic() - started_s
        return RunResult(
            self._order.pipeline.name, setup["run"], results, status, duration_s, tuple(self._ended), self._values
        )

    def _tell_results(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """What stops the engine says where the results are."""
        if error is not None:
            where = _short(self._results, self._order.root)
            error.add_note(f"results so far: {where}/")

    def _open(self) -> Run:
        """The run to go on with, if its steps are still the same and it is wanted; else a new one."""
        run = self._site.journals.open_run("run", self._order.key)
        setup = run.result(SETUP)
        if setup is None or (setup["digest"] == self._order.digest and self._wanted(setup)):
            return run
        from assay.pipeline.recovery import recover, settle

        with run:
            settle(self._site, run)
        recover(self._site)  # what its verbs left behind, nobody takes up again
        return self._site.journals.open_run("run", self._order.key)

    def _wanted(self, setup: dict[str, Any]) -> bool:
        asked = self._order.results
        same_folder = asked is None or asked.absolute() == Path(setup["results"])
        return not self._order.fresh and same_folder and Path(setup["results"]).is_dir()

    def _setup(self, run: Run) -> dict[str, Any]:
        setup = run.result(SETUP)
        if setup is None:
            number = 1 + [state.run_id for state in self._site.journals.runs("run")].index(run.run_id)
            name = f"{number:04d}-{secrets.token_hex(2)}"
            results = self._order.results or self._order.root / "build" / self._order.pipeline.name / name
            _make_folder(results)
            setup = {"digest": self._order.digest, "number": number, "run": name, "results": str(results.absolute())}
            run.done(SETUP, setup)
        built_in = {
            "name": self._order.pipeline.name,
            "number": str(setup["number"]),
            "pid": str(os.getpid()),
            "results": _short(Path(setup["results"]), self._order.root),
            "run": setup["run"],
        }
        self._values = start_values(self._order.pipeline, built_in, self._order.chosen)
        return setup

    def _is_done(self, run: Run, step: PipelineStep) -> bool:
        """Done, and what it made is still there; takes its captured variables, which later steps may use."""
        found = run.result(step.name)
        if found is None:
            return False
        self._values |= found["captured"]
        made = [expand(text, self._values) for text in (*step.creates, *([step.stdout] if step.stdout else []))]
        return not step.again and all((self._order.root / path).exists() for path in made)

    def _walk(self, run: Run, lifeline: int) -> ExitStatus:
        index = 1
        for group in groups(self._order.pipeline.steps):
            numbered = list(enumerate(group, index))
            index += len(group)
            statuses = self._group(run, numbered, lifeline)
            if any(status is not ExitStatus.PASS for status in statuses):
                return gravest(statuses)
        return ExitStatus.PASS

    def _group(self, run: Run, numbered: list[tuple[int, PipelineStep]], lifeline: int) -> list[ExitStatus]:
        waiting = []
        for index, step in numbered:
            if self._is_done(run, step):
                self._end(index, step, StepOutcome.DONE_BEFORE, VerbResult(ExitStatus.PASS, {}, "", "", 0.0), {})
            else:
                waiting.append((index, step))
        running: dict[VerbProcess, tuple[int, PipelineStep]] = {}
        try:
            for index, step in waiting:
                running[self._start(run, index, step, lifeline)] = (index, step)
            self._listen(running)
            return [self._judge(run, *running[process], process) for process in running]
        finally:
            for process in running:
                process.end()

    def _start(self, run: Run, index: int, step: PipelineStep, lifeline: int) -> VerbProcess:
        words, stdout = self._words(step)
        run.begin(step.name)
        self._tell(StepStarted(index, step.name, expand(step.title, self._values), command_line(words, stdout)))
        file = self._order.root / stdout if stdout else None
        return VerbProcess(words, folder=self._order.root, site=self._site.folder, stdout=file, lifeline=lifeline)

    def _words(self, step: PipelineStep) -> tuple[tuple[str, ...], str | None]:
        words = tuple(expand(word, self._values) for word in step.run)
        return words, expand(step.stdout, self._values) if step.stdout else None

    def _listen(self, running: dict[VerbProcess, tuple[int, PipelineStep]]) -> None:
        """Pass lines of progress on until all streams are at their end."""
        with selectors.DefaultSelector() as selector:
            for process, (index, _) in running.items():
                for descriptor, take in process.streams().items():
                    selector.register(descriptor, selectors.EVENT_READ, (index, take))
            while selector.get_map():
                ready = selector.select(_POLL_S)
                if not ready and not any(process.lives() for process in running):
                    return  # something that a verb left behind holds its streams open; nobody writes to them
                for key, _ in ready:
                    data = os.read(key.fd, _READ_BYTES)
                    number, take = key.data
                    for line in take(data):
                        self._tell(StepLine(number, line))
                    if not data:
                        selector.unregister(key.fd)

    def _judge(self, run: Run, index: int, step: PipelineStep, process: VerbProcess) -> ExitStatus:
        """Compare with what was expected; what is as expected is journaled."""
        result = process.result()
        keep_step(self._results, index, step.name, result.answer, process.stderr_text())
        expected = ExitStatus.PASS if step.expect == "PASS" else ExitStatus.FAIL
        captured: dict[str, str] = {}
        status = result.status
        if status is expected:
            try:
                captured = capture(step, result.answer)
            except AssayError as error:
                status, result = error.status, VerbResult(error.status, {}, error.message, error.remedy, 0.0)
        if status is not expected:
            if status is ExitStatus.PASS:
                status = ExitStatus.FAIL
                result = VerbResult(status, {}, f"{step.name} passed, and had to FAIL", "", result.duration_s)
            self._end(index, step, StepOutcome.UNEXPECTED, result, {})
            return status
        run.done(step.name, {"captured": captured, "duration_s": round(result.duration_s, 3)})
        self._values |= captured
        word = StepOutcome.PASS if expected is ExitStatus.PASS else StepOutcome.FAIL_EXPECTED
        self._end(index, step, word, result, captured)
        return ExitStatus.PASS

    def _end(
        self, index: int, step: PipelineStep, outcome: StepOutcome, result: VerbResult, captured: dict[str, str]
    ) -> None:
        words, stdout = self._words(step)
        output = (self._order.root / stdout).read_text("utf-8", "replace") if stdout and step.show else ""
        ended = StepEnded(
            index,
            step.name,
            expand(step.title, self._values),
            command_line(words, stdout),
            outcome,
            result.status,
            result.duration_s,
            result.message,
            result.remedy,
            captured,
            output,
        )
        self._ended.append(ended)
        self._tell(ended)


def _short(path: Path, root: Path) -> str:
    """Relative to the project where it lies in it: what is typed and recorded names no machine's folders."""
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"the results folder {path} cannot be made: {error.strerror}", remedy="name another one with --results"
        ) from error
