# SPDX-License-Identifier: Apache-2.0
"""`assay twin`: create, start, stop emulated boards, switch and cut their power, see their state.

Guards: a twin that somebody uses is not switched off under him unasked. Leaves to others: all that a twin is
(`drivers.twin`).
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from assay.cli.near_commands import NearCommands
from assay.cli.session import Answer, Session, find_site, verb
from assay.cli.site_names import complete_board

if TYPE_CHECKING:
    from assay.drivers.twin.control import TwinStatus
    from assay.drivers.twin.twin_folder import TwinFolder
    from assay.drivers.twin.wire_profile import WireProfile
    from assay.model.board import Board


def _complete(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from assay.drivers.twin.twin_folder import twin_names

    names = twin_names(find_site(Path.cwd()) / "twins")
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


twin_name = click.argument("name", shell_complete=_complete)
force_option = click.option("--force", is_flag=True, help="Even if somebody uses it.")


class _Verbs(NearCommands):
    """The verbs here, and `powercut`, which is a file of its own."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), "powercut"])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "powercut":
            from assay.cli.powercut import command as powercut

            return powercut
        return super().get_command(ctx, cmd_name)


@click.group(cls=_Verbs)
def command() -> None:
    """Emulated boards: real firmware behind a real port, with power that can be cut.

    A twin proves software, not a product: everything that rests on one says `emulated`.
    """


@command.command()
@click.argument("name")
@click.option("--board", required=True, shell_complete=complete_board, help="Name of the board (boards/NAME.toml).")
@verb
def create(session: Session, name: str, board: str) -> Answer:
    """Make a twin: a blank chip with a chip id of its own. Made already: nothing happens."""
    from assay.drivers.twin.control import TwinControl
    from assay.pipeline.linux_places import make_twin

    folder = make_twin(session.site, name, _board(board))
    status = TwinControl(folder).status()
    return Answer(f"twin {name} is a {board}, chip {status.chip}\n  port  {folder.tty}", asdict(status))


@command.command()
@twin_name
@click.option("--rom", type=click.Path(path_type=Path, dir_okay=False), help="ELF of the mask ROM [default: built].")
@click.option("--board", shell_complete=complete_board, help="Create the twin as this board if it is not there.")
@click.option("--baud", type=int, help="Rate of the line in bit/s, 0 for no limit [default: as last time].")
@click.option(
    "--wire",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A wire's TOML: rate, noise [default: as last time].",
)
@click.option("--off", is_flag=True, help="Leave the power off.")
@click.option("--owner-pid", type=click.IntRange(1), help="End with this process, however it ends.")
@verb
def start(
    session: Session,
    name: str,
    rom: Path | None,
    board: str | None,
    baud: int | None,
    wire: Path | None,
    off: bool,
    owner_pid: int | None,
) -> Answer:
    """Start a twin and switch its power on. It runs until `assay twin stop`, or until its owner ends."""
    from assay.drivers.twin.lifecycle import start_twin
    from assay.pipeline.linux_places import make_twin

    if owner_pid is not None:
        _check_owner(owner_pid)
    folder = make_twin(session.site, name, _board(board)) if board else _folder(session, name)
    if rom is None and folder.read_settings().rom is None:
        rom = _default_rom(session, folder)
    put_in = _profile(wire) if wire else None
    status = start_twin(folder, rom, owner_pid=owner_pid, baud=baud, wire=put_in, power=not off).status()
    return Answer(_line(status, None), asdict(status))


def _check_owner(pid: int) -> None:
    """A process with which the twin can end is there. Raises `UsageFault`."""
    from assay.errors import UsageFault

    try:
        os.close(os.pidfd_open(pid))
    except OSError as error:
        raise UsageFault(
            f"there is no process {pid} with which the twin could end ({error.strerror})",
            remedy="give --owner-pid the id of a process that lives (in a shell: $$), or leave it out",
        ) from error


@command.command()
@twin_name
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@verb
def wire(session: Session, name: str, file: Path | None) -> Answer:
    """Put in another wire while the twin runs (FILE, schema assay.wire/1), or show what the present one did.

    Which bytes are damaged, lost or repeated follows from the file's seed and the number of the byte: the same bytes
    meet the same faults. A running twin's next start has the wire of `twin start` again.
    """
    from assay.drivers.twin.control import TwinControl

    control = TwinControl(_folder(session, name))
    if file is not None:
        control.set_wire(_profile(file))
    status = control.status()
    rows = [f"  {way}: {_tally(counts)}" for way, counts in (status.faults or {}).items()]
    return Answer("\n".join([_line(status, None), *rows]), asdict(status))


@command.command()
@twin_name
@force_option
@verb
def stop(session: Session, name: str, force: bool) -> Answer:
    """Switch a twin off and end its wire. What its flash holds stays."""
    from assay.drivers.twin.control import TwinControl

    folder = _folder(session, name)
    with _ours(folder, "twin stop", force):
        control = TwinControl(folder)
        control.stop()
        status = control.status()
    return Answer(_line(status, None), asdict(status))


@command.command()
@click.argument("action", type=click.Choice(["on", "off", "cycle", "cut"]))
@twin_name
@click.option("--after", "after_s", type=click.FloatRange(0, 60), default=0.0, help="cut: in that many seconds.")
@click.option("--at-flush", type=click.IntRange(1, 1 << 31), help="cut: when a disk is asked for that many flushes.")
@click.option("--disk-seed", type=click.IntRange(0, 1 << 63), help="cut --at-flush: of what is lost [0].")
@click.option("--off-time", "off_s", type=click.FloatRange(0, 5), default=0.05, help="cycle: seconds without power.")
@force_option
@verb
def power(
    session: Session,
    action: str,
    name: str,
    after_s: float,
    at_flush: int | None,
    disk_seed: int | None,
    off_s: float,
    force: bool,
) -> Answer:
    """Switch the power of a running twin on or off, off and on again (cycle), or cut it.

    However the power goes, the flash file then holds exactly what the chip held. `cut --after` lets it go at a moment
    of the wire's own clock, in the middle of whatever the unit does then. `cut --at-flush` lets it go when the unit
    (one with a disk) asks for a flush: of what it wrote since the one before, a part is lost.
    """
    from assay.drivers.twin.control import TwinControl

    _check_cut(action, after_s, at_flush, disk_seed)
    folder = _folder(session, name)
    control = TwinControl(folder)
    with _ours(folder, f"twin power {action}", force):
        if at_flush is not None:
            control.cut_at_flush(at_flush, disk_seed or 0)
        else:
            control.power(action, off_s=off_s, after_s=after_s)
        status = control.status()
    return Answer(_line(status, None), asdict(status))


def _check_cut(action: str, after_s: float, at_flush: int | None, disk_seed: int | None) -> None:
    from assay.errors import UsageFault

    if disk_seed is not None and at_flush is None:
        raise UsageFault("--disk-seed is of a cut at a flush", remedy="use it with --at-flush, or leave it out")
    if at_flush is not None and (action != "cut" or after_s):
        raise UsageFault("--at-flush is a moment of a cut", remedy="use it with cut, and without --after")


@command.command()
@click.argument("name", shell_complete=_complete)
@verb
def status(session: Session, name: str) -> Answer:
    """Show the state of one twin."""
    from assay.drivers.locks.file_lock import FileLocks
    from assay.drivers.twin.control import TwinControl

    folder = _folder(session, name)
    found, holder = TwinControl(folder).status(), FileLocks().holder(str(folder.tty))
    data = {**asdict(found), "holder": str(holder) if holder else None}
    rows = [f"  {key.replace('_', ' '):<16}{_words(value)}" for key, value in data.items() if value is not None]
    return Answer("\n".join([_line(found, str(holder) if holder else None), *rows]), data)


@command.command(name="list")
@verb
def list_(session: Session) -> Answer:
    """List the twins of this site."""
    from assay.drivers.locks.file_lock import FileLocks
    from assay.drivers.twin.control import TwinControl
    from assay.drivers.twin.twin_folder import TwinFolder, twin_names
    from assay.errors import StorageError

    rows: list[str] = []
    data: list[dict[str, Any]] = []
    for name in twin_names(session.site.twins_dir):
        folder = TwinFolder(session.site.twins_dir / name)
        try:
            found, holder = TwinControl(folder).status(), FileLocks().holder(str(folder.tty))
        except StorageError as error:  # the others are listed all the same
            rows.append(f"{name}  DAMAGED: {error.message}; {error.remedy}")
            data.append({"name": name, "fault": error.message})
            continue
        rows.append(_line(found, str(holder) if holder else None))
        data.append({**asdict(found), "holder": str(holder) if holder else None})
    text = "\n".join(rows) or "no twins; make one: assay twin create NAME --board BOARD"
    return Answer(text, {"twins": data})


def _profile(file: Path) -> WireProfile:
    from assay.drivers.twin.wire_profile import profile_of
    from assay.pipeline.manifest_files import load_wire

    return profile_of(load_wire(file))


def _words(value: object) -> str:
    """A value of the status for people: a table in a line, without what is zero, empty or not so."""
    if not isinstance(value, dict):
        return str(value)
    inner = {
        key: f"({words})" for key, item in value.items() if isinstance(item, dict) and (words := _words(item)) != "none"
    }
    plain = {key: str(item) for key, item in value.items() if item and not isinstance(item, dict)}
    return ", ".join(f"{key} {words}" for key, words in {**plain, **inner}.items()) or "none"


def _tally(counts: dict[str, int]) -> str:
    happened = [f"{count} {kind}" for kind, count in counts.items() if kind != "bytes"]
    return f"{counts['bytes']} bytes, {', '.join(happened) or 'no faults'}"


def _board(name: str) -> Board:
    from assay.pipeline.manifest_files import board_file, load_board, project_root

    return load_board(board_file(project_root(Path.cwd()), name))


def _folder(session: Session, name: str) -> TwinFolder:
    from assay.drivers.twin.twin_folder import TwinFolder, check_name

    folder = TwinFolder(session.site.twins_dir / check_name(name))
    folder.read_settings()  # UsageFault when there is no such twin
    return folder


def _default_rom(session: Session, folder: TwinFolder) -> Path:
    from assay.pipeline.rom_image import rom_for

    return rom_for(session.site, folder.read_settings().board)


def _ours(folder: TwinFolder, verb_name: str, force: bool) -> AbstractContextManager[object]:
    """The twin's place, so that nobody else uses it; `force` goes without."""
    from assay.drivers.locks.file_lock import FileLocks
    from assay.errors import PlaceBusy

    if force:
        return nullcontext()
    try:
        return FileLocks().acquire(str(folder.tty), verb=verb_name, place=folder.name)
    except PlaceBusy as busy:
        raise PlaceBusy(busy.message, remedy="wait until it is done, or do it under its hands with --force") from busy


def _line(status: TwinStatus, holder: str | None) -> str:
    state = f"power {status.power}" if status.running else "stopped"
    rate = f", {status.baud} bit/s" if status.baud else ""
    used = f", used by {holder}" if holder else ""
    return f"{status.name}: {status.board} (emulated), {state}{rate}{used}\n  port  {status.tty}"
