# SPDX-License-Identifier: Apache-2.0
"""Several workers that try cuts at the same time, each a process with twins of its own.

Guards: a worker ends with its parent, however that ends, and its twin with it; Ctrl-C is for the parent, which ends
them; an error in a worker is raised where its answer is waited for.
Leaves to others: what a worker does (`powercut_trial`).
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Self, cast

from assay import errors
from assay.errors import AssayError, InfrastructureError
from assay.interfaces.held_signals import held
from assay.model.powercut import Cut
from assay.pipeline.powercut_trial import Trial, Trier, tried

END_TIMEOUT_S = 5.0
"""Seconds that a worker has to end its twin before it is killed."""

DEAF_TO = (signal.SIGINT, signal.SIGHUP)
"""Signals of a terminal, which its whole process group gets: they are for the parent."""

Task = tuple[str, Cut]


@dataclass(frozen=True)
class Failure:
    """An error of a worker, in a shape that crosses a pipe."""

    kind: str
    message: str
    remedy: str

    @classmethod
    def of(cls, error: Exception) -> Failure:
        """What to send instead of `error`."""
        if isinstance(error, AssayError):
            return cls(type(error).__name__, error.message, error.remedy)
        trace = "".join(traceback.format_exception(error))
        return cls("", f"a worker of the campaign failed: {trace}", "report it: it is a fault in assay itself")

    def error(self) -> AssayError:
        """The error, here."""
        kind = getattr(errors, self.kind, None) if self.kind else None
        known = isinstance(kind, type) and issubclass(kind, AssayError)
        return (kind if known else InfrastructureError)(self.message, remedy=self.remedy)  # type: ignore[misc]


class Pool:
    """A worker for each of `triers`."""

    def __init__(self, triers: list[Trier]) -> None:
        context = multiprocessing.get_context("spawn")
        resource_tracker.ensure_running()  # with the first process it would begin, and let signals through again
        self._ends: list[Connection] = []
        self._processes = []
        try:
            for trier in triers:
                ours, theirs = context.Pipe()
                process = context.Process(target=work, args=(theirs, trier), daemon=True)
                with held(DEAF_TO):  # no Ctrl-C for it, not even while it is still loading
                    process.start()
                theirs.close()
                self._ends.append(ours)
                self._processes.append(process)
        except BaseException:
            self.close()
            raise

    def answers(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, list[Trial]]]:
        """What comes of each task, as it comes."""
        waiting, under_way = iter(tasks), dict[Connection, Task]()
        for end in self._ends:
            self._give(end, waiting, under_way)
        while under_way:
            for ready in wait(list(under_way)):
                end = cast("Connection", ready)
                task = under_way.pop(end)
                answer = self._answer(end)
                self._give(end, waiting, under_way)
                yield task, answer

    def close(self) -> None:
        """End the workers, in the middle of whatever they do."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join(END_TIMEOUT_S)
            if process.is_alive():
                process.kill()
                process.join(END_TIMEOUT_S)
        for end in self._ends:
            end.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _give(self, end: Connection, waiting: Iterator[Task], under_way: dict[Connection, Task]) -> None:
        task = next(waiting, None)
        if task is not None:
            with suppress(OSError):  # a worker that died is told of by its silence
                end.send(task)
            under_way[end] = task

    def _answer(self, end: Connection) -> list[Trial]:
        try:
            answer = end.recv()
        except (EOFError, OSError) as error:
            raise InfrastructureError("a worker of the campaign died", remedy="run the campaign again") from error
        if isinstance(answer, Failure):
            raise answer.error()
        found: list[Trial] = answer
        return found


def work(end: Connection, trier: Trier, do: Callable[[Trier, str, Cut], list[Trial]] = tried) -> None:
    """The life of a worker: until its parent closes the pipe, or ends."""
    for number in DEAF_TO:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    with suppress(EOFError, OSError):
        while True:
            what, cut = end.recv()
            try:
                answer: list[Trial] | Failure = do(trier, what, cut)
            except Exception as error:
                answer = Failure.of(error)
            end.send(answer)


def _leave(_number: int, _frame: object) -> None:
    """At once: QEMU has asked to be told of our end, and what lies in the folder is removed by the parent."""
    os._exit(0)
