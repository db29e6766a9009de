# SPDX-License-Identifier: Apache-2.0
"""What every verb shares: the site folder, `--json`, the answer, and errors told in one way.

Guards: with `--json` exactly one JSON document goes to stdout; progress and messages go to stderr; an `AssayError` becomes its exit
status. Leaves to others: what a verb does.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from assay.errors import AssayError, ExitStatus

if TYPE_CHECKING:
    from assay.pipeline.site import Site

SITE_FOLDER = ".assay"


@dataclass(frozen=True)
class Answer:
    """What a verb found: `text` for people, `data` for `--json`, and the exit status."""

    text: str
    data: dict[str, Any] = field(default_factory=dict)
    status: ExitStatus = ExitStatus.PASS


@dataclass
class Session:
    """One call of one verb."""

    site_dir: Path
    json: bool

    @functools.cached_property
    def site(self) -> Site:
        """The site's parts, made when they are asked for."""
        from assay.pipeline.site import Site

        return Site(self.site_dir)

    def say(self, text: str) -> None:
        """A line of progress for people: stderr."""
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
        session = Session(site.absolute() if site else find_site(Path.cwd()), as_json)
        try:
            answer = function(session, *args, **options)
        except AssayError as error:
            leave(session, error)
        _show(session, answer)
        sys.exit(answer.status)

    return callback


def leave(session: Session, error: AssayError) -> NoReturn:
    """Tell `error` in one way, and exit with its status."""
    word = "REFUSED" if error.status is ExitStatus.REFUSED else error.status.name.replace("_", " ")
    if session.json:
        document = {"status": int(error.status), "result": word, "error": error.message, "remedy": error.remedy}
        click.echo(json.dumps(document, ensure_ascii=False))
    click.echo(f"{click.style(word, fg='red')}: {error.message}", err=True)
    if error.remedy:
        click.echo(f"  next: {error.remedy}", err=True)
    sys.exit(error.status)


def _show(session: Session, answer: Answer) -> None:
    if session.json:
        document = {"status": int(answer.status), "result": answer.status.name.replace("_", " "), **answer.data}
        click.echo(json.dumps(document, ensure_ascii=False))
    elif answer.text:
        click.echo(answer.text)
