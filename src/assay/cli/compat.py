# SPDX-License-Identifier: Apache-2.0
"""`assay compat`: which release fits which hardware and which others, and which versions of formats are read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from assay.cli.product import parse_day
from assay.cli.session import Answer, Session, verb
from assay.errors import UsageFault

if TYPE_CHECKING:
    from assay.model.board import Board
    from assay.pipeline.compat_matrix import Row
    from assay.pipeline.format_table import Format

WORDS_MAX = 78
"""Characters of an explanation in a row for people; `--json` has all of it."""


@click.command()
@click.option("--board", "only", metavar="BOARD", help="Only releases for this board.")
@click.option("--revision", "revisions", metavar="BOARD=N", multiple=True, help="Instead of the one in its file.")
@click.option("--at", "day", metavar="DATE", help="The day for deprecations, 2026-11-26 [default: today, UTC].")
@verb
def command(session: Session, only: str | None, revisions: tuple[str, ...], day: str | None) -> Answer:
    """Print the matrix of releases in the store, hardware revisions and other releases, and of format versions.

    A release fits with those that offer what the board does not. Nothing is verified: that is done where a release is
    used.
    """
    from assay.pipeline.compat_matrix import matrix
    from assay.pipeline.format_table import formats

    boards = _boards(revisions)
    rows = [
        row for row in matrix(session.site.store, boards, parse_day(session, day)) if only in (None, row.release.board)
    ]
    every = formats()
    text = "\n".join((*_release_lines(rows), "", *_format_lines(every)))
    data = {"releases": [_row_data(row) for row in rows], "formats": [_format_data(each) for each in every]}
    return Answer(text, data)


def _boards(revisions: tuple[str, ...]) -> dict[str, Board]:
    """The boards of the project around here that the firmware is built for; none outside of a project."""
    from assay.model.board import Board
    from assay.pipeline.manifest_files import board_file, board_names, load_any_board, project_root

    try:
        root = project_root(Path.cwd())
    except UsageFault:
        return {}
    found = [load_any_board(board_file(root, name)) for name in board_names(root)]
    boards = {board.name: board for board in found if isinstance(board, Board)}
    for text in revisions:
        name, _, number = text.partition("=")
        if name not in boards or not number.isdecimal():
            raise UsageFault(f"{text!r} is no revision of a board here", remedy="write it as BOARD=2")
        boards[name] = boards[name].model_copy(update={"revision": int(number)})
    return boards


def _release_lines(rows: list[Row]) -> list[str]:
    if not rows:
        return ["no releases in the store"]
    return [line for row in rows for line in _row_lines(row)]


def _row_lines(row: Row) -> list[str]:
    release = row.release
    first, last = _revisions(row)
    span = f"revision {first} and later" if last is None else f"revisions {first} to {last}"
    lines = [f"{release.reference} for {release.board}: {release.kind}, {span}"]
    lines += [f"  {row.state}  {_short(row.why)}"] if row.why else []
    for fit in row.hardware:
        on = f"{fit.board} revision {fit.revision}"
        lines.append(f"  fits      {on}" if fit.why_not is None else f"  not on    {on}: {_short(fit.why_not)}")
    if row.fits_with:
        lines.append(f"  with      {_short(', '.join(row.fits_with))}")
    elif row.unserved:
        lines.append(f"  unserved  {_short(row.unserved)}")
    return lines


def _short(text: str) -> str:
    return text if len(text) <= WORDS_MAX else text[: WORDS_MAX - 3] + "..."


def _revisions(row: Row) -> tuple[int, int | None]:
    contract = row.release.artifact.contract
    return row.release.min_revision, contract.max_revision if contract is not None else None


def _format_lines(every: tuple[Format, ...]) -> list[str]:
    lines = ["format                                   writes  reads"]
    for each in every:
        reads = f"{each.oldest}" if each.oldest == each.newest else f"{each.oldest} to {each.newest}"
        lines.append(f"{each.name:<40} {each.newest:>6}  {reads}")
    return lines


def _row_data(row: Row) -> dict[str, Any]:
    release = row.release
    return {
        "reference": release.reference,
        "kind": release.kind,
        "board": release.board,
        "revisions": list(_revisions(row)),
        "state": row.state,
        "why": row.why,
        "hardware": [{"board": fit.board, "revision": fit.revision, "why_not": fit.why_not} for fit in row.hardware],
        "needs_others": not row.alone,
        "fits_with": list(row.fits_with),
        "unserved": row.unserved,
    }


def _format_data(each: Format) -> dict[str, Any]:
    return {"name": each.name, "kind": each.kind, "newest": each.newest, "reads": list(each.versions)}
