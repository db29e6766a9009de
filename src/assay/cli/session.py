# SPDX-License-Identifier: Apache-2.0
"""What every verb shares: the site folder, `--json`, the answer, and errors told in one way.

Guards: with `--json` exactly one JSON document goes to stdout; progress and messages go to stderr; whatever ends a verb
becomes an exit status, and a fault of our own never looks like FAIL. Leaves to others: what a verb does.
"""

from __future__ import annotations

import errno
import functools
import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from assay.cli.signals import raise_on_signals
from assay.errors import AssayError, ExitStatus, InfrastructureError, Interrupted, UsageFault
from assay.interfaces import last_words

if TYPE_CHECKING:
    from assay.cli.upload_progress import Display
    from assay.pipeline.site import Site

SITE_FOLDER = ".assay"
NAME_SHOWN_MAX = 120
"""Characters of a file name that a message repeats: two lines of a terminal."""


@dataclass(frozen=True)
class Answer:
    """What a verb found: `text` for people, `data` for `--json`, and the exit status."""

    text: str
    data: dict[str, Any] = field(default_factory=dict)
    status: ExitStatus = ExitStatus.PASS


@dataclass
class Session:
    """One call of one verb; `display` is where its run tells what it does, if that is settled already."""

    site_dir: Path
    json: bool
    display: Display | None = None

    @functools.cached_property
    def site(self) -> Site:
        """The site's parts, made when they are asked for."""
        from assay.pipeline.site import Site

        return Site(self.site_dir)

    def need_log(self) -> None:
        """Raises `UsageFault` where nothing was ever recorded: a wrong name, most of the time."""
        if not any((self.site_dir / name).exists() for name in ("log", "records", "outbox.sqlite")):
            raise UsageFault(
                f"there is no log in {self.site_dir}: nothing was recorded there",
                remedy="name a site that builds, provisions or updates, with --site or ASSAY_SITE",
            )

    def say(self, text: str) -> None:
        """A line of progress for people: stderr. Where nobody reads it any more, the work goes on."""
        with suppress(OSError):
            click.echo(text, err=True)


def find_site(start: Path) -> Path:
    """`ASSAY_SITE`, else the nearest `.assay` upwards from `start`, else `.assay` in `start`."""
    if named := os.environ.get("ASSAY_SITE"):
        return Path(named).absolute()
    for folder in (start, *start.parents):
        if (folder / SITE_FOLDER).is_dir():
            return folder / SITE_FOLDER
    return start / SITE_FOLDER


def verb(function: Callable[..., Answer]) -> Callable[..., None]:
    """A click callback from a function `(session, **options) -> Answer`; adds `--json` and `--site`."""

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
    @click.option(
        "--site",
        type=click.Path(path_type=Path, file_okay=False),
        default=None,
        help="The site folder [default: ASSAY_SITE, else the nearest .assay].",
    )
    @functools.wraps(function)
    def callback(*args: Any, as_json: bool, site: Path | None, **options: Any) -> None:
        raise_on_signals()
        session = Session(site.absolute() if site else find_site(Path.cwd()), as_json)
        carry_out(session, lambda: function(session, *args, **options))

    return callback


def carry_out(session: Session, call: Callable[[], Answer]) -> NoReturn:
    """Tell what `call` found, or what ended it, and exit with its status."""
    last_words.tell = lambda error: leave(session, error)
    try:
        answer = call()
    except AssayError as error:
        leave(session, error)
    except Interrupted as interrupted:
        _leave_interrupted(session, interrupted)
    except click.exceptions.Exit:
        raise
    except click.ClickException:
        raise
    except OSError as error:
        _leave_system(session, error)
    except UnicodeEncodeError as error:
        if not error.reason.startswith("surrogates"):  # else bytes of the command line that are no UTF-8
            _leave_fault(session, error)
        leave(session, UsageFault("the command line is not UTF-8", remedy="write it in UTF-8"))
    except Exception as fault:
        _leave_fault(session, fault)
    _show(session, answer)
    sys.exit(answer.status)


def leave(session: Session, error: AssayError) -> NoReturn:
    """Tell `error` in one way, and exit with its status."""
    word = error.status.name.replace("_", " ")
    layer = error.layer if isinstance(error, InfrastructureError) else None
    _tell(session, error.status, word, error.message, error.remedy, getattr(error, "__notes__", []), layer)


def _leave_interrupted(session: Session, interrupted: Interrupted) -> NoReturn:
    """The last lines say what state things are in: unit, run (or that none was open), port and place."""
    notes = getattr(interrupted, "__notes__", [])
    by_journal = any("(in the journal: " in note or note.startswith("where run ") for note in notes)
    if not (by_journal or interrupted.settled):
        notes = ["no run was open: nothing is half done", *notes]
    _tell(session, interrupted.status, "ABORTED", str(interrupted), "", notes)


def _leave_system(session: Session, error: OSError) -> NoReturn:
    """What the system refuses and no part of ours expected, such as a name that is too long: told in one line."""
    if "ASSAY_DEBUG" in os.environ:
        _show_traceback(error)
    named = f"{str(error.filename)[:NAME_SHOWN_MAX]}: " if error.filename else ""
    message = f"{named}{error.strerror or error}"
    if error.errno == errno.ENAMETOOLONG:
        leave(session, UsageFault(message, remedy="give a shorter name"))
    leave(session, InfrastructureError(message, remedy="mend what is named; ASSAY_DEBUG=1 shows where it happened"))


def _leave_fault(session: Session, fault: Exception) -> NoReturn:
    """A fault in assay says nothing about a unit: ERROR, with what a developer needs on stderr."""
    if not session.json or "ASSAY_DEBUG" in os.environ:
        _show_traceback(fault)
    message = f"a fault in assay itself: {type(fault).__name__}: {fault}"
    remedy = "report it with the lines above (ASSAY_DEBUG=1 shows them with --json too)"
    _tell(session, ExitStatus.ERROR, "ERROR", message, remedy, getattr(fault, "__notes__", []))


def _show_traceback(error: BaseException) -> None:
    import traceback

    click.echo("".join(traceback.format_exception(error)), err=True, nl=False)


def _tell(
    session: Session,
    status: ExitStatus,
    word: str,
    message: str,
    remedy: str,
    notes: list[str],
    layer: str | None = None,
) -> NoReturn:
    if session.json:
        document = {"status": int(status), "result": word, "error": message, "remedy": remedy}
        document |= {"layer": layer} if layer else {}
        _print(json.dumps(document | ({"notes": notes} if notes else {}), ensure_ascii=False))
    try:
        click.echo(f"{click.style(word, fg='red')}: {_lines(message)}", err=True)
        for note in notes:
            click.echo(f"  {_lines(note)}", err=True)
        if remedy:
            click.echo(f"  next: {_lines(remedy)}", err=True)
    except OSError:
        pass  # nobody reads stderr any more; the status still tells
    sys.exit(status)


def _lines(text: str) -> str:
    """What is told quotes strangers (a registry, a device): nothing in it moves a cursor or turns a line around."""
    from assay.formats.visible_text import visible

    return "\n".join(visible(line) for line in text.split("\n"))


def _show(session: Session, answer: Answer) -> None:
    if session.json:
        document = {"status": int(answer.status), "result": answer.status.name.replace("_", " "), **answer.data}
        _print(json.dumps(document, ensure_ascii=False))
    elif answer.text:
        _print(answer.text)


def _print(text: str) -> None:
    """To stdout. A reader that went away (`| head`) is no fault; a full disk is."""
    try:
        click.echo(text)
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_stdout()
    except OSError as error:
        _forget_stdout()
        fault = InfrastructureError(f"the answer cannot be written: {error.strerror}", remedy="free disk space")
        click.echo(f"ERROR: {fault}", err=True)
        sys.exit(fault.status)


def _forget_stdout() -> None:
    """Keep Python from trying again at exit, which would change the status."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
