# SPDX-License-Identifier: Apache-2.0
"""`assay console`: what a unit says, with the time, in a file, filtered; and what you type, to it.

Guards: the terminal stays as it was, however this ends; Ctrl-C is a clean end; nothing that a unit sends moves the
cursor. Leaves to others: the link (`pipeline.console_watch`).
"""

from __future__ import annotations

import re
import sys
import time
from collections import deque
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from assay.cli.place_names import complete_place
from assay.cli.session import Answer, Session, verb
from assay.errors import Interrupted, StorageError, UsageFault
from assay.interfaces.readiness import readable

if TYPE_CHECKING:
    from assay.pipeline.console_watch import Heard

FILE = click.Path(path_type=Path, dir_okay=False)
LINES_KEPT = 1000  # for --json
CHUNK_BYTES = 64  # of a file that is sent: as much as a UART's buffer takes at once
ENDS = {"lf": b"\n", "cr": b"\r", "crlf": b"\r\n"}


class EndOfInput(Exception):
    """Ctrl-D."""


@click.command()
@click.argument("place", shell_complete=complete_place)
@click.option("--log", type=FILE, help="Append every line to this file, with date and time.")
@click.option("--filter", "pattern", metavar="REGEX", help="Show only lines in which this is found.")
@click.option("--send", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Send this file first.")
@click.option("--listen", is_flag=True, help="Never open the port: only listen beside whoever has it.")
@click.option("--frames", is_flag=True, help="Show SMP frames, too: where they are, not what is in them.")
@click.option("--no-time", is_flag=True, help="Show no time.")
@click.option("--eol", type=click.Choice(sorted(ENDS)), default="lf", help="What ends a line that you type.")
@click.option("--seconds", type=click.FloatRange(min=0), help="End after so long.")
@click.option("--bench", type=FILE, help="The bench file [default: bench.toml of the project].")
@verb
def command(
    session: Session,
    place: str,
    log: Path | None,
    pattern: str | None,
    send: Path | None,
    listen: bool,
    frames: bool,
    no_time: bool,
    eol: str,
    seconds: float | None,
    bench: Path | None,
) -> Answer:
    """Show what PLACE says, and send what you type, line by line. Ctrl-C or Ctrl-D ends it.

    When somebody uses the place (a test, an update, another console) this one listens beside it, and takes the port
    when it is free. A unit that is reset or unplugged is waited for.
    """
    from assay.pipeline.console_watch import watch

    if send is not None and listen:
        raise UsageFault("--listen sends nothing", remedy="leave out --send or --listen")
    typed = _Typed(send.read_bytes() if send else b"", ENDS[eol], ask=not session.json)
    screen = _Screen(session, _wanted(pattern), frames, not no_time)
    end_s = None if seconds is None else time.monotonic() + seconds
    heard = watch(session.site, place, bench=bench, typed=typed, listen=listen, own=send is not None, say=session.say)
    with _opened(log) as file:
        try:
            for event in heard:
                if event is not None:
                    screen.show(event, file)
                if end_s is not None and time.monotonic() >= end_s:
                    break
        except EndOfInput:
            pass
        except Interrupted as interrupted:
            if interrupted.signal_name != "SIGINT":
                raise
        finally:
            heard.close()  # type: ignore[attr-defined]  # it is a generator: port, lock and tap are given back now
    return Answer("", {"place": place, "lines": list(screen.lines), "count": screen.count})


class _Typed:
    """What is to be sent next: the file first, then what a person types."""

    def __init__(self, first: bytes, end: bytes, *, ask: bool) -> None:
        self._rest = first
        self._end = end
        self._ask = ask and sys.stdin.isatty()

    def __call__(self) -> bytes:
        if self._rest:
            part, self._rest = self._rest[:CHUNK_BYTES], self._rest[CHUNK_BYTES:]
            return part
        if not self._ask or not readable(sys.stdin, 0):
            return b""
        line = sys.stdin.readline()
        if not line:
            raise EndOfInput
        return line.rstrip("\n").encode() + self._end


class _Screen:
    """Lines on stdout (with `--json` none), notes on stderr."""

    def __init__(self, session: Session, wanted: re.Pattern[str] | None, frames: bool, with_time: bool) -> None:
        self._session = session
        self._wanted, self._frames, self._with_time = wanted, frames, with_time
        self.lines: deque[str] = deque(maxlen=LINES_KEPT)
        self.count = 0

    def show(self, event: Heard, log: IO[str] | None) -> None:
        now = datetime.now().astimezone()
        mark = {"line": "", "frame": "# ", "note": "# "}[event.kind]
        if log is not None:
            log.write(f"{now.isoformat(timespec='milliseconds')} {mark}{event.text}\n")
            log.flush()
        stamp = f"[{now:%H:%M:%S}.{now.microsecond // 1000:03d}] " if self._with_time else ""
        if event.kind == "note":
            self._session.say(f"{stamp}{mark}{event.text}")
        elif event.kind == "frame":
            if self._frames:
                self._put(f"{stamp}{mark}{event.text}")
        elif self._wanted is None or self._wanted.search(event.text):
            self.count += 1
            self.lines.append(event.text)
            self._put(f"{stamp}{event.text}")

    def _put(self, line: str) -> None:
        if not self._session.json:
            try:
                click.echo(line)
            except BrokenPipeError as error:  # `| head` has seen enough
                sys.stdout = open("/dev/null", "w")  # noqa: SIM115, PTH123  # nothing is flushed into the pipe at exit
                raise EndOfInput from error


def _wanted(pattern: str | None) -> re.Pattern[str] | None:
    try:
        return None if pattern is None else re.compile(pattern)
    except re.error as error:
        raise UsageFault(f"{pattern!r} is no regular expression: {error}", remedy="correct --filter") from error


class _opened:  # noqa: N801 (used as a function)
    """The log, opened to append; None without one. Raises StorageError."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def __enter__(self) -> IO[str] | None:
        if self._path is not None:
            try:
                self._file = self._path.open("a", encoding="utf-8")
            except OSError as error:
                raise StorageError(
                    f"cannot write {self._path}: {error.strerror}", remedy="name another file with --log"
                ) from error
        return self._file

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
