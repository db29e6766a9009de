# SPDX-License-Identifier: Apache-2.0
"""One verb at several places at a time: a process for each, their lines together, one answer.

Guards: what happens at one place stops no other; each has a run, a record and a result of its own; a signal reaches all
of them, and is answered when each has said in what state its unit is; they end with us. A signal comes while nobody is
in the middle of a word: not between a fork and what follows, not while something is read or told.
Leaves to others: what is done at a place. They are forked, so that programs and models are loaded once (ADR 0294).
"""

from __future__ import annotations

import ctypes
import json
import os
import selectors
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import click

from assay.cli.session import Answer, Session, carry_out
from assay.cli.signals import signals_heeded, signals_held
from assay.cli.upload_progress import Display, upload_progress
from assay.errors import ExitStatus, Interrupted, UsageFault, gravest
from assay.formats.visible_text import visible
from assay.interfaces.readiness import readable
from assay.interfaces.step_book import Say

AtPlace = Callable[[Session, str], Answer]

_PDEATHSIG = 1  # PR_SET_PDEATHSIG, linux/prctl.h
_PROGRESS = "\x1e"  # RS, RFC 7464: what follows in the line is JSON, and no line for a person
_TEXT = "text"  # in a worker's document: what the verb would have printed for people
_READ_BYTES = 65_536  # what a pipe holds: one read takes all that a worker that has ended left in it


@dataclass
class _Worker:
    """The process of one place, and what it has said."""

    place: str
    pid: int
    answer: int  # file descriptor of its JSON document; nobody else has the other end, so that it ends with the process
    lines: int  # of what it tells, and what programs tell that it starts
    document: bytes = b""
    told: bytes = b""
    status: int | None = None  # as `os.waitpid` gives it

    def close(self) -> None:
        """Nothing is read any more."""
        os.close(self.answer)
        os.close(self.lines)

    def result(self) -> dict[str, Any]:
        """Its document; one that died without a word has an ERROR."""
        with suppress(ValueError):
            return {"place": self.place, **json.loads(self.document)}
        how = "was ended" if self.status is None or os.WIFSIGNALED(self.status) else "ended without an answer"
        return {
            "place": self.place,
            "status": int(ExitStatus.ERROR),
            "result": ExitStatus.ERROR.name,
            "error": f"the process of place {self.place} {how}",
            "remedy": "give the verb again for this place: it goes on from where the unit is",
        }


def at_places(session: Session, places: Sequence[str], one: AtPlace) -> Answer:
    """What `one` finds at each of `places`, at the same time; the status is the gravest. Raises `UsageFault`.

    One place is done as it ever was, in this process.
    """
    if len(places) == 1:
        return one(session, places[0])
    if twice := sorted({place for place in places if places.count(place) > 1}):
        raise UsageFault(f"place {twice[0]} is named twice", remedy="name each place once")
    with signals_held(), _workers(session, places, one) as workers, upload_progress(session) as display:
        crew = _Crew(workers, display, session.say if "CI" in os.environ else display.say)
        try:
            crew.listen()
        except Interrupted as interrupted:
            crew.stop(interrupted)
            raise
    return _answer([worker.result() for worker in workers])


@contextmanager
def _workers(session: Session, places: Sequence[str], one: AtPlace) -> Iterator[list[_Worker]]:
    """Forked before anything of ours has threads; none is left behind."""
    workers: list[_Worker] = []
    prctl = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None
    try:
        for place in places:
            workers.append(_fork(workers, place, lambda at, bars: _at_place(session, at, bars, one), prctl))
        yield workers
    finally:
        for worker in workers:
            if worker.status is None:
                os.kill(worker.pid, signal.SIGTERM)
                worker.close()  # else it might wait for us to read
                with signals_heeded():
                    _, worker.status = os.waitpid(worker.pid, 0)


def _fork(
    earlier: Sequence[_Worker],
    place: str,
    work: Callable[[str, bool], NoReturn],
    prctl: Callable[[int, int], int] | None,
) -> _Worker:
    sys.stdout.flush()
    sys.stderr.flush()
    bars = "CI" not in os.environ and sys.stderr.isatty()
    (answer, answer_in), (lines, lines_in) = os.pipe(), os.pipe()
    us = os.getpid()
    pid = os.fork()
    if pid:
        os.close(answer_in)
        os.close(lines_in)
        return _Worker(place, pid, answer, lines)
    status: int = ExitStatus.ERROR
    try:
        if prctl is not None and (prctl(_PDEATHSIG, signal.SIGTERM) != 0 or os.getppid() != us):
            os._exit(status)
        for pipe in (answer, lines, *(end for worker in earlier for end in (worker.answer, worker.lines))):
            os.close(pipe)  # who writes into one finds out that we are gone, and does not wait for a reader
        _speak_into(answer_in, lines_in)
        work(place, bars)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else ExitStatus.ERROR
    finally:
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _speak_into(answer: int, lines: int) -> None:
    """Where a worker writes, away from the terminal: signals come from us, and nobody can be asked anything, since all
    would ask at a time. Programs that it starts do not get `answer`: what they print is told.
    """
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(lines, 1)
    os.dup2(lines, 2)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 (until the process ends)
    sys.stdout = open(answer, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115


def _at_place(session: Session, place: str, bars: bool, one: AtPlace) -> NoReturn:
    ours = Session(session.site_dir, True, _display(bars))
    ours.site = session.site  # with what was loaded before the fork

    def call() -> Answer:
        try:
            with signals_heeded():  # and no longer: what was found is told whole
                answer = one(ours, place)
        except click.ClickException as error:
            raise UsageFault(error.format_message(), remedy="see --help") from error
        return replace(answer, data={_TEXT: answer.text, **answer.data})

    carry_out(ours, call)


def _display(bars: bool) -> Display:
    """Lines go out as they are; progress goes out for bars that are drawn by who reads them."""

    def tell(line: str) -> None:
        with suppress(OSError):  # nobody reads any more; the work goes on
            click.echo(line, err=True)

    def progress_for(what: str) -> Callable[[int, int], None]:
        return lambda done, total: tell(_PROGRESS + json.dumps([what, done, total])) if bars else None

    return Display((lambda _line: None) if "CI" in os.environ else tell, progress_for)


def _progress_in(line: str) -> tuple[str, int, int] | None:
    """What the line of a worker says of an upload; None for a line for people, whatever is in it."""
    if line.startswith(_PROGRESS):
        with suppress(ValueError):
            match json.loads(line.removeprefix(_PROGRESS)):
                case [str(what), int(done), int(total)]:
                    return what, done, total
    return None


@dataclass
class _Crew:
    """All workers, listened to at once. `tell`: where their lines go; `display`: what is shown of how far they are."""

    workers: list[_Worker]
    display: Display
    tell: Say
    bars: dict[tuple[str, str], Callable[[int, int], None]] = field(default_factory=dict)

    def listen(self) -> None:
        """Until each has ended. Raises `Interrupted` while nothing is said."""
        with selectors.DefaultSelector() as ready:
            for worker in self.workers:
                if worker.status is None:
                    ready.register(worker.answer, selectors.EVENT_READ, worker)
                    ready.register(worker.lines, selectors.EVENT_READ, worker)
            while ready.get_map():
                with signals_heeded():
                    heard = ready.select()
                for key, _ in heard:
                    if key.data.status is None:
                        self._hear(ready, key.fd, key.data)

    def _hear(self, ready: selectors.BaseSelector, pipe: int, worker: _Worker) -> None:
        """Take what is in `pipe`. A worker has ended when its answer has, whoever else writes lines for it."""
        data = os.read(pipe, _READ_BYTES)
        if not data:
            ready.unregister(pipe)
        if pipe == worker.lines:
            self._take_lines(worker, data)
        elif data:
            worker.document += data
        else:
            with suppress(KeyError):
                ready.unregister(worker.lines)
            self._take_end(worker)

    def _take_end(self, worker: _Worker) -> None:
        _, worker.status = os.waitpid(worker.pid, 0)
        if readable(worker.lines, 0.0):
            self._take_lines(worker, os.read(worker.lines, _READ_BYTES))
        worker.close()
        if worker.told:
            self._take_lines(worker, b"\n")
        result = worker.result()
        if "error" not in result:  # an error was told as it came
            with suppress(OSError):
                self.display.say(f"{worker.place}: {result['result']}")

    def _take_lines(self, worker: _Worker, data: bytes) -> None:
        *lines, worker.told = (worker.told + data).split(b"\n")
        for line in lines:
            with suppress(OSError):  # nobody reads any more; the work goes on
                self._show(worker.place, line.decode(errors="backslashreplace"))

    def _show(self, place: str, line: str) -> None:
        if (progress := _progress_in(line)) is None:
            self.tell(line if line.startswith(f"{place}: ") else f"{visible(place)}: {line}")
            return
        what, done, total = progress
        if (place, what) not in self.bars:
            self.bars[place, what] = self.display.progress_for(what if what.startswith(place) else f"{place}: {what}")
        self.bars[place, what](done, total)

    def stop(self, interrupted: Interrupted) -> None:
        """Hand the signal on, and hear from each in what state its unit is; `interrupted` gets that as notes."""
        interrupted.settled = True
        for worker in self.workers:
            if worker.status is None:
                os.kill(worker.pid, signal.Signals[interrupted.signal_name])
        self.listen()
        for worker in self.workers:
            result = worker.result()
            interrupted.add_note(f"{worker.place}: {result.get('error', result['result'])}")
            for note in result.get("notes", ()):
                interrupted.add_note(f"{worker.place}: {note}")


def _answer(results: list[dict[str, Any]]) -> Answer:
    status = gravest([ExitStatus(result["status"]) for result in results])
    texts = [result.pop(_TEXT, None) or _why_not(result) for result in results]
    passed = sum(result["status"] == ExitStatus.PASS for result in results)
    texts.append(f"{_word(status)}: {passed} of {len(results)} places passed")
    return Answer("\n".join(texts), {"places": results}, status)


def _why_not(result: dict[str, Any]) -> str:
    lines = [f"{result['result']} on {visible(result['place'])}: {result['error']}"]
    lines += [f"  {note}" for note in result.get("notes", ())]
    return "\n".join(lines + ([f"  next: {result['remedy']}"] if result.get("remedy") else []))


def _word(status: ExitStatus) -> str:
    return status.name.replace("_", " ")
