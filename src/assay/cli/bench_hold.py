# SPDX-License-Identifier: Apache-2.0
"""`assay bench acquire` and `release`: have a place for a command, a shell or a CI job.

Guards: a hold ends with what it is for, and nobody else can end it. Leaves to others: locks (`drivers.locks`).
"""

from __future__ import annotations

import os
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from assay.backends.signers.withheld import withheld, without_secrets
from assay.cli.command_behind import CommandBehind
from assay.cli.place_names import complete_place
from assay.cli.session import Answer, Session, verb
from assay.errors import UsageFault

if TYPE_CHECKING:
    from assay.drivers.labgrid.hold import LabgridHold
    from assay.drivers.locks.file_lock import HeldDoors
    from assay.pipeline.places import PlaceAddress

VERB = "bench acquire"
PLACE_VARIABLE = "ASSAY_HELD_PLACE"
FILE = click.Path(path_type=Path, dir_okay=False)
_TIME = re.compile(r"([0-9]+(?:\.[0-9]+)?)(s|m|h)")
_UNIT_S = {"s": 1, "m": 60, "h": 3600}


@click.command(cls=CommandBehind)
@click.argument("place", shell_complete=complete_place)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND...]")
@click.option("--wait", "wait_s", type=click.FloatRange(min=0), default=0.0, help="Seconds to wait, in the line.")
@click.option("--note", default="", metavar="TEXT", help="What for; others are shown it.")
@click.option("--for", "limit", metavar="TIME", help="At most this long: 90s, 10m, 2h.")
@click.option("--pid", type=click.IntRange(min=2), help="The process to hold it for [default: the one that calls us].")
@click.option("--bench", type=FILE, help="The bench file [default: bench.toml of the project].")
@click.option(
    "--secrets", is_flag=True, help="COMMAND gets the PINs and identity tokens, so that verbs in it can sign."
)
@verb
def acquire(
    session: Session,
    place: str,
    words: tuple[str, ...],
    wait_s: float,
    note: str,
    limit: str | None,
    pid: int | None,
    bench: Path | None,
    secrets: bool,
) -> Answer:
    """Hold PLACE for COMMAND, or for the shell that you are in.

    With a COMMAND the place is held while it runs, and its exit status is ours. Without, it is held until the calling
    shell ends, the time is over, or `assay bench release`. What runs below the holder shares the place; everybody else
    is told who has it. COMMAND finds no PIN and no identity token in its environment, unless --secrets is given.
    Options stand before PLACE or behind it. COMMAND begins behind --, or at the first word behind PLACE that is no
    option; what is behind that is COMMAND's.
    """
    from assay.drivers.locks.file_lock import FileLocks
    from assay.drivers.locks.keeper import start_keeper
    from assay.pipeline.place_hold import say_who_is_waited_for
    from assay.pipeline.places import find_place

    words = words[1:] if words[:1] == ("--",) else words
    if secrets and not words:
        raise UsageFault("--secrets is for a COMMAND", remedy="leave it out")
    if words and (limit or pid):
        raise UsageFault("--for and --pid are for a hold without a command", remedy="leave them out")
    limit_s = None if limit is None else _seconds(limit)
    address = find_place(session.site, place, bench=bench)
    bound_to = None if words else _caller(pid)
    doors = (address.port, *address.doors)
    say_who_is_waited_for(place, doors, wait_s, session.say)
    lock = FileLocks().acquire_all(doors, verb=VERB, place=place, wait_s=wait_s, note=note, bound_to=bound_to)
    labgrid = _of_labgrid(lock, address, wait_s)
    if words:
        environment = {**os.environ, **withheld()} if secrets else without_secrets()
        _run(session, lock, labgrid, words, {**environment, PLACE_VARIABLE: place})
    assert bound_to is not None
    holder = lock.holder
    keeper = start_keeper(lock, bound_to, limit_s)
    if labgrid is not None:
        labgrid.hand_over()
    until = f"until process {bound_to} ends" + (f", at most {limit}" if limit else "")
    facts = {**asdict(holder), "since": holder.since.isoformat(), "keeper": keeper}
    return Answer(f"{place} is held {until}; give it back: assay bench release {place}", {"holder": facts})


def _of_labgrid(lock: HeldDoors, address: PlaceAddress, wait_s: float) -> LabgridHold | None:
    """The place in labgrid, too, where it is one of labgrid's; this host's lock is free again when that fails."""
    if address.labgrid is None or lock.lent:
        return None
    from assay.drivers.labgrid.hold import LabgridHold

    try:
        return LabgridHold(address.labgrid, wait_s=wait_s)
    except BaseException:
        lock.release()
        raise


def _run(
    session: Session,
    lock: HeldDoors,
    labgrid: LabgridHold | None,
    words: tuple[str, ...],
    environment: dict[str, str],
) -> None:
    from assay.drivers.locks.held_command import run_held

    with lock:
        try:
            status = run_held(words, environment)
        finally:
            if labgrid is not None and (said := labgrid.release()):
                session.say(said)
    raise click.exceptions.Exit(status)


def _caller(pid: int | None) -> int:
    """The process that the hold is for. Raises UsageFault when there is none of that id."""
    from assay.drivers.locks.ancestors import started

    wanted = os.getppid() if pid is None else pid
    if wanted <= 1 or started(wanted) is None:
        raise UsageFault(f"there is no process {wanted} to hold a place for", remedy="name one with --pid")
    return wanted


def _seconds(text: str) -> float:
    match = _TIME.fullmatch(text)
    if match is None or not float(match[1]):
        raise UsageFault(f"{text!r} is no time", remedy="write it as 90s, 10m or 2h")
    return float(match[1]) * _UNIT_S[match[2]]


@click.command()
@click.argument("place", shell_complete=complete_place)
@click.option("--bench", type=FILE, help="The bench file [default: bench.toml of the project].")
@verb
def release(session: Session, place: str, bench: Path | None) -> Answer:
    """Give PLACE back that this shell holds by `assay bench acquire`; one that is free stays free, with status 0."""
    from assay.drivers.locks.file_lock import FileLocks
    from assay.pipeline.places import check_names

    holder = FileLocks().end_hold(place)  # by its name: who has a place gives it back from wherever it is
    if holder is None:
        check_names(session.site, [place], bench=bench)
        return Answer(f"{place} is free: nobody held it", {"was_held": False})
    return Answer(f"{place} is free", {"was_held": True})
