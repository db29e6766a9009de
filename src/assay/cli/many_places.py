# SPDX-License-Identifier: Apache-2.0
"""One verb at several places at a time: a process for each, their lines together, one answer.

Guards: what happens at one place stops no other; each has a run, a record and a result of its own; a signal reaches all
of them, and is answered when each has said in what state its unit is; they end with us.
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
from assay.cli.upload_progress import Display, upload_progress
from assay.errors import ExitStatus, Interrupted, UsageFault, gravest

AtPlace = Callable[[Session, str], Answer]

_PDEATHSIG = 1  # PR_SET_PDEATHSIG, linux/prctl.h
_PROGRESS = "\x1e"  # RS, RFC 7464: what follows in the line is JSON, and no line for a person
_TEXT = "text"  # in a worker's document: what the verb would have printed for people
_READ_BYTES = 65_536


@dataclass
class _Worker:
    """The process of one place, and what it has said."""

    place: str
    pid: int
    answer: int  # file descriptor of its JSON document
    lines: int  # of what it tells
    document: bytes = b""
    told: bytes = b""
    status: int | None = None  # as `os.waitpid` gives it

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
    with _workers(session, places, one) as workers, upload_progress(session) as display:
        crew = _Crew(workers, display)
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
            workers.append(_fork(session, place, one, prctl))  # noqa: PERF401 (each is ended, should the next fail)
        yield workers
    finally:
        for worker in workers:
            if worker.status is None:
                os.kill(worker.pid, signal.SIGTERM)
                _, worker.status = os.waitpid(worker.pid, 0)


def _fork(session: Session, place: str, one: AtPlace, prctl: Callable[[int, int], int] | None) -> _Worker:
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
        _speak_into(answer_in, lines_in)
        _at_place(Session(session.site_dir, True, _display(bars)), place, one)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else ExitStatus.ERROR
    finally:
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _speak_into(answer: int, lines: int) -> None:
    """Standard output and error of a worker, away from the terminal: signals come from us, and nobody can be asked
    anything, since all would ask at a time.
    """
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(answer, 1)
    os.dup2(lines, 2)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 (until the process ends)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115


def _at_place(session: Session, place: str, one: AtPlace) -> NoReturn:
    def call() -> Answer:
        try:
            answer = one(session, place)
        except click.ClickException as error:
            raise UsageFault(error.format_message(), remedy="see --help") from error
        return replace(answer, data={_TEXT: answer.text, **answer.data})

    carry_out(session, call)


def _display(bars: bool) -> Display:
    """Lines go out as they are; progress goes out for bars that are drawn by who reads them."""

    def tell(line: str) -> None:
        with suppress(OSError):  # nobody reads any more; the work goes on
            click.echo(line, err=True)

    def progress_for(what: str) -> Callable[[int, int], None]:
        return lambda done, total: tell(_PROGRESS + json.dumps([what, done, total])) if bars else None

    return Display((lambda _line: None) if "CI" in os.environ else tell, progress_for)


@dataclass
class _Crew:
    """All workers, listened to at once."""

    workers: list[_Worker]
    display: Display
    bars: dict[tuple[str, str], Callable[[int, int], None]] = field(default_factory=dict)

    def listen(self) -> None:
        """Until each has ended."""
        with selectors.DefaultSelector() as ready:
            for worker in self.workers:
                for pipe in (worker.answer, worker.lines):
                    if worker.status is None:
                        ready.register(pipe, selectors.EVENT_READ, worker)
            while ready.get_map():
                for key, _ in ready.select():
                    if not self._heard(key.fd, key.data):
                        ready.unregister(key.fd)
        for worker in self.workers:
            if worker.status is None:
                _, worker.status = os.waitpid(worker.pid, 0)

    def _heard(self, pipe: int, worker: _Worker) -> bool:
        """Take what is in `pipe`; False at its end."""
        data = os.read(pipe, _READ_BYTES)
        if pipe == worker.answer:
            worker.document += data
            if not data and "error" not in (result := worker.result()):  # an error was told as it came
                self.display.say(f"{worker.place}: {result['result']}")
            return bool(data)
        *lines, worker.told = (worker.told + data).split(b"\n")
        for line in lines:
            self._show(worker.place, line.decode(errors="backslashreplace"))
        return bool(data)

    def _show(self, place: str, line: str) -> None:
        if line.startswith(_PROGRESS):
            what, done, total = json.loads(line.removeprefix(_PROGRESS))
            name = what if what.startswith(place) else f"{place}: {what}"
            if (place, what) not in self.bars:
                self.bars[place, what] = self.display.progress_for(name)
            self.bars[place, what](done, total)
        else:
            self.display.say(line if line.startswith(f"{place}: ") else f"{place}: {line}")

    def stop(self, interrupted: Interrupted) -> None:
        """Hand the signal on, and hear from each in what state its unit is; `interrupted` gets that as notes."""
        for worker in self.workers:
            with suppress(ProcessLookupError):
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
    lines = [f"{result['result']} on {result['place']}: {result['error']}"]
    lines += [f"  {note}" for note in result.get("notes", ())]
    return "\n".join(lines + ([f"  next: {result['remedy']}"] if result.get("remedy") else []))


def _word(status: ExitStatus) -> str:
    return status.name.replace("_", " ")
