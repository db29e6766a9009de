# SPDX-License-Identifier: Apache-2.0
"""`assay bench scan`: what is plugged in, which places it is, and new places in the bench file.

Guards: no port is opened and no board guessed: what a port is wired to, a person says (`--board`, or the question).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from assay.cli.session import Answer, Session, verb
from assay.cli.site_names import complete_board
from assay.errors import ExitStatus

if TYPE_CHECKING:
    from assay.model.bench import Place
    from assay.model.seen_port import SeenPort
    from assay.pipeline.bench_scan import Scan

FILE = click.Path(path_type=Path, dir_okay=False)
LEAVE_OUT = "-"


@click.command()
@click.option("--board", shell_complete=complete_board, help="The board on the ports that have no place yet.")
@click.option("--only", metavar="WHICH", help="This one alone: a port's device, serial number, probe or socket.")
@click.option("--twins", is_flag=True, help="Take the twins of the site, too.")
@click.option("--import", "map_in", type=FILE, help="Take places from Zephyr's hardware map.")
@click.option("--hardware-map", "map_out", type=FILE, help="Write Zephyr's hardware map, or bring it up to date.")
@click.option("--dry-run", is_flag=True, help="Say what would be written.")
@click.option("--bench", type=FILE, help="The bench file [default: bench.toml of the project].")
@verb
def scan(
    session: Session,
    board: str | None,
    only: str | None,
    twins: bool,
    map_in: Path | None,
    map_out: Path | None,
    dry_run: bool,
    bench: Path | None,
) -> Answer:
    """Find the boards on this host, and write a place for each into the bench file.

    A place names its unit by USB vendor, product and serial number, so that it is found on whichever port it is.
    On a terminal you are asked which board a new port is wired to; else say it with --board.
    """
    from assay.pipeline import bench_scan
    from assay.pipeline.manifest_files import board_file, project_root

    root = project_root(Path.cwd())
    file = bench or root / "bench.toml"
    found = bench_scan.scan(bench_scan.load_or_none(file))
    if board is not None:
        board_file(root, board)
        fresh = bench_scan.new_places(found, board, only)
    else:
        fresh = _asked(session, root, found, only)
    fresh += bench_scan.twin_places(session.site, found) if twins else []
    faults: list[str] = []
    if map_in is not None:
        boards = sorted(path.stem for path in (root / "boards").glob("*.toml"))
        known = [*(place for place, _ in found.places), *fresh]
        mapped, faults = bench_scan.places_of_map(bench_scan.read_map_file(map_in), boards, known)
        fresh += mapped
    if fresh and not dry_run:
        bench_scan.add_places(file, fresh)
        found = bench_scan.scan(bench_scan.load_or_none(file))
    if map_out is not None and not dry_run:
        bench_scan.write_map_file(map_out, found)
    return _answer(found, fresh, faults, file, dry_run)


def _asked(session: Session, root: Path, found: Scan, only: str | None) -> list[Place]:
    """Ask which board each new port is wired to; nobody to ask, no places."""
    from assay.pipeline.bench_scan import new_places

    if session.json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return []
    boards = sorted(path.stem for path in (root / "boards").glob("*.toml"))
    places: list[Place] = []
    for port in found.unplaced:
        if not port.is_usb or (only is not None and only not in (port.device, port.serial, port.location)):
            continue
        question = f"Which board is on {port}? ({LEAVE_OUT} leaves it out)"
        chosen = click.prompt(question, type=click.Choice([*boards, LEAVE_OUT]), default=LEAVE_OUT, err=True)
        if chosen != LEAVE_OUT:
            taken = [(place, ()) for place in places]
            places += new_places(type(found)((*found.places, *taken), (port,), found.seen), chosen, None)
    return places


def _answer(found: Scan, fresh: list[Place], faults: list[str], file: Path, dry_run: bool) -> Answer:
    new = {place.name for place in fresh}
    lines = [f"would add to {file}:" if dry_run else f"added to {file}:"] if fresh else []
    lines += [f"  {place.name}: {place.board}, {_identity(place)}" for place in fresh]
    lines += [_line(place, ports) for place, ports in found.places if place.usb is not None and place.name not in new]
    left = [port for port in found.unplaced if port.is_usb]
    lines += [f"no place yet: {port}" for port in left]
    lines += [f"no place yet, and no port: {device}" for device in found.devices]
    if (left or found.devices) and not fresh:
        lines.append("next: assay bench scan --board BOARD --only WHICH")
    lines += [f"not added: {fault}" for fault in faults]
    lines = (lines or ["no board is plugged in"]) + _words_about_others(found)
    data: dict[str, Any] = {
        "bench": str(file),
        "added": [place.model_dump(mode="json", exclude_none=True) for place in fresh],
        "places": [
            {"name": place.name, "board": place.board, "ports": [port.device for port in ports]}
            for place, ports in found.places
        ],
        "unplaced": [_port_facts(port) for port in found.unplaced if port.is_usb],
        "without_identity": [port.device for port in found.silent],
        "without_hardware": list(found.names_alone),
        "devices": [vars(device) for device in found.devices],
        "not_added": faults,
    }
    return Answer("\n".join(lines), data, ExitStatus.USAGE if faults else ExitStatus.PASS)


def _identity(place: Place) -> str:
    if place.usb is not None:
        return f"{place.usb}, probe {place.probe}" if place.probe else str(place.usb)
    if place.twin is not None:
        return f"twin {place.twin}"
    return f"probe {place.probe}" if place.probe else ", ".join(f"{key} {value}" for key, value in place.flash.items())


def _line(place: Place, ports: tuple[SeenPort, ...]) -> str:
    if not ports:
        return f"{place.name}: not connected ({place.usb})"
    if len(ports) > 1:
        return f"{place.name}: {len(ports)} ports can be it: {'; '.join(map(str, ports))}"
    return f"{place.name}: {ports[0]}"


def _port_facts(port: SeenPort) -> dict[str, Any]:
    return {
        "device": port.device,
        "vendor": port.vendor,
        "product": port.product,
        "serial": port.serial,
        "interface": port.interface,
        "location": port.location,
        "name": " ".join(word for word in (port.maker, port.product_name) if word),
    }


def _words_about_others(found: Scan) -> list[str]:
    """Ports that cannot be told by what they are, and what only looks like one."""
    lines = []
    if found.silent:
        names = ", ".join(port.device for port in found.silent)
        lines.append(f"no USB, so nobody knows what is there: {names} (a place for it: port = ..., written by hand)")
    if found.names_alone:
        first, *others = found.names_alone
        lines.append(f"left out, nothing is behind it: {first}" + (f" to {others[-1]}" if others else ""))
    return lines
