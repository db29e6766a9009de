# SPDX-License-Identifier: Apache-2.0
"""`assay bench`: the places of this host, what is on them, and who uses them now.

Guards: looking never disturbs: no port is opened and no lock is taken.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from assay.cli.bench_ask import ask
from assay.cli.bench_hold import acquire, release
from assay.cli.bench_host_key import host_key
from assay.cli.bench_quarantine import quarantine
from assay.cli.bench_scan import scan
from assay.cli.bench_top import top
from assay.cli.columns import in_columns
from assay.cli.near_commands import NearCommands
from assay.cli.place_names import complete_place
from assay.cli.session import Answer, Session, verb
from assay.errors import UsageFault

if TYPE_CHECKING:
    from assay.interfaces.lock import Holder
    from assay.model.bench import Place
    from assay.pipeline.bench_watch import PlaceRow

BENCH_FILE = "bench.toml"


@click.group(cls=NearCommands)
def command() -> None:
    """Places of this host: find boards, list places, see who holds them."""


for part in (acquire, ask, host_key, quarantine, release, scan, top):
    command.add_command(part)


bench_option = click.option(
    "--bench", type=click.Path(path_type=Path, dir_okay=False), help="The bench file [default: bench.toml]."
)


@command.command(name="list")
@bench_option
@verb
def list_(session: Session, bench: Path | None) -> Answer:
    """List the places of the bench file and the twins of the site, with their holders, and which are in quarantine."""
    from assay.drivers.usb_ports import seen_ports

    rows = bench_rows(session, bench)
    away, doubt = _quarantined(session)
    known = {row.port for row in rows}
    free = [port for port in seen_ports() if port.device not in known]
    lines = _lines(rows, away) or ["no places: assay bench scan, or assay twin create NAME --board BOARD"]
    lines += [f"port without a place: {port}" for port in free]
    lines += [f"nobody knows which places are in quarantine: {doubt}"] if doubt else []
    places = [{**asdict(row), "quarantine": None if doubt else away.get(row.name, "")} for row in rows]
    return Answer("\n".join(lines), {"places": places, "other_ports": [port.device for port in free]})


def _quarantined(session: Session) -> tuple[dict[str, str], str]:
    """Why tests keep away from which places; and why that cannot be told, since a list is wanted all the same."""
    from assay.errors import AssayError
    from assay.pipeline.quarantine import states

    try:
        return {name: state.why for name, state in states(session.site).items() if state.quarantined}, ""
    except AssayError as error:
        return {}, str(error)


@command.command()
@click.argument("place", required=False, shell_complete=complete_place)
@bench_option
@verb
def who(session: Session, place: str | None, bench: Path | None) -> Answer:
    """Say who uses PLACE (a name, or a port) now, and who waits for it; without PLACE, every place of this host."""
    if place is None:
        return _everybody()
    rows = bench_rows(session, bench)
    row = next((row for row in rows if place in (row.name, row.port)), None)
    if row is None and "/" in place:
        row = _row(place, "", place, "port", "")
    if row is None:
        raise UsageFault(f"no place called {place!r}", remedy=f"known: {', '.join(row.name for row in rows) or 'none'}")
    lines = [f"{row.name} is used by {row.used_by}" if row.used_by else f"{row.name} is free"]
    return Answer("\n".join([*lines, *(f"  waits: {each}" for each in row.waiting)]), asdict(row))


def _everybody() -> Answer:
    from assay.drivers.locks.file_lock import FileLocks

    holders = FileLocks().held()
    rows = [(holder.place, f"is used by {_who(holder)}") for holder in holders]
    lines = in_columns(rows) or ["nobody holds a place of this host"]
    facts = [{**asdict(holder), "since": holder.since.isoformat()} for holder in holders]
    return Answer("\n".join(lines), {"holders": facts})


def _who(holder: Holder) -> str:
    from assay.drivers.locks.ancestors import is_stopped

    return f"{holder}; that process is stopped" if is_stopped(holder.pid) else str(holder)


def bench_rows(session: Session, bench: Path | None) -> list[PlaceRow]:
    """The places of the bench file, and the twins of the site that none of them is, as they are now. Raises what
    reading them raises.
    """
    from assay.drivers.twin.twin_folder import twin_names

    rows, placed = [], set()
    for entry in bench_places(bench):
        placed |= {entry.name, entry.twin}
        if entry.twin is None:
            port, state = _where(entry)
            rows.append(_row(entry.name, entry.board, port, _kind(entry), state, entry.doors))
        else:
            rows.append(_twin_row(session, entry.name, entry.twin))
    return rows + [_twin_row(session, name, name) for name in twin_names(session.site.twins_dir) if name not in placed]


def _twin_row(session: Session, name: str, twin: str) -> PlaceRow:
    from assay.drivers.twin.control import TwinControl
    from assay.drivers.twin.twin_folder import TwinFolder

    folder = TwinFolder(session.site.twins_dir / twin)
    if not folder.settings.exists():
        return _row(name, "", str(folder.tty), "twin", "no such twin")
    status = TwinControl(folder).status()
    state = f"power {status.power}" if status.running else "stopped"
    return _row(name, status.board, str(folder.tty), "twin", state)


def _where(place: Place) -> tuple[str, str]:
    """The place's port now (what it is, where there is none or no single one), and its state."""
    from assay.drivers.usb_ports import seen_ports
    from assay.model.seen_port import matching

    if place.usb is None and place.port is None:
        return place.without_port, "not asked"
    if place.usb is None:
        port = place.port or ""
        return port, "there" if "://" in port or Path(port).exists() else "port missing"
    found = matching(place.usb, seen_ports())
    if len(found) == 1:
        return found[0].device, "there"
    return str(place.usb), "ambiguous" if found else "not connected"


def _kind(place: Place) -> str:
    if place.usb or place.port:
        return "usb" if place.usb else "port"
    return place.without_port.partition(":")[0]


def _row(name: str, board: str, port: str, kind: str, state: str, doors: tuple[str, ...] = ()) -> PlaceRow:
    from assay.drivers.locks.file_lock import FileLocks
    from assay.drivers.port_users import programs_with
    from assay.pipeline.bench_watch import PlaceRow

    holder = FileLocks().holder_of((port, *doors))
    # A program that takes no locks (a terminal, another tool) is a user too.
    used_by = _who(holder) if holder else ", ".join(programs_with(port)) or None
    facts = {**asdict(holder), "since": holder.since.isoformat()} if holder else None
    return PlaceRow(name, board, port, kind, state, facts, used_by, tuple(FileLocks().waiting_of((port, *doors))))


def bench_places(bench: Path | None) -> tuple[Place, ...]:
    """The places of `bench`, or of the project's bench file; none where there is none. Raises `ManifestFault`."""
    from assay.pipeline.manifest_files import load_bench, project_root

    if bench is None:
        try:
            bench = project_root(Path.cwd()) / BENCH_FILE
        except UsageFault:  # outside of a project there is no bench file, and twins are listed all the same
            return ()
        if not bench.exists():
            return ()
    return load_bench(bench).places


def _lines(rows: list[PlaceRow], away: dict[str, str]) -> list[str]:
    """Of each place a line, and under it where it is."""
    firsts = in_columns([(row.name, row.board, row.kind, row.state, _used(row)) for row in rows])
    lines: list[str] = []
    for row, first in zip(rows, firsts, strict=True):
        lines += [first, f"  port  {row.port}"]
        lines += [f"  QUARANTINE: {away[row.name]}"] if away.get(row.name) else []
    return lines


def _used(row: PlaceRow) -> str:
    waits = f", {len(row.waiting)} wait" if row.waiting else ""
    return (f"used by {row.used_by}" if row.used_by else "free") + waits
