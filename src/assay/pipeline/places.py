# SPDX-License-Identifier: Apache-2.0
"""Places of the bench: find one by its name, make it ours, and see what answers there.

Guards: the place is locked before its port is opened, and whoever has it is named; nothing is written to a board that
is not the one that the bench says. Leaves to others: ports, locks, twins and power (`drivers`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from assay.backends.entry_points import comes_with_assay
from assay.errors import (
    DeviceTimeout,
    Interrupted,
    LinkError,
    ManifestFault,
    UsageFault,
    WrongBoard,
    WrongUnit,
    at_layer,
)
from assay.formats.near_names import did_you_mean
from assay.interfaces.device import Device, Stage
from assay.interfaces.loader import RomBanner, RomLoader
from assay.interfaces.place import Found
from assay.interfaces.power import Power
from assay.interfaces.step_book import Say, say_nothing
from assay.interfaces.transport import Transport
from assay.interfaces.tries import longer_each_time
from assay.model.bench import LabgridPlace, Place, PowerSwitch, doors_of
from assay.model.board import Board
from assay.model.ssh import SshAddress
from assay.pipeline import driver_doors, linux_places, manifest_files
from assay.pipeline.driver_faults import answerable_power
from assay.pipeline.place_hold import hold

if TYPE_CHECKING:
    from assay.pipeline.site import Site

BENCH_FILE = "bench.toml"
FIND_TIMEOUT_S = 10.0
"""Seconds until something answers; a chip that was just switched on verifies two images first."""
STAGE_TRY_S = 0.25
BANNER_TIMEOUT_S = 3.0
"""Seconds; the ROM's banner comes once a second."""
ROM_LINE = "ASSAY-ROM 1 board="
GIVE_UP_TRANSFER = b"\x18\x18\x18\n"
"""XMODEM's CAN, which a ROM in the middle of a dead sender's transfer takes; a line end for whoever reads lines."""
DEVICE = "mcumgr"


@dataclass
class OpenPlace:
    """A place that is ours until it is closed (`interfaces.place.UnitPlace`)."""

    name: str
    board: Board
    transport: Transport
    device: Device
    loader: RomLoader
    power: Power | None
    chip: bytes | None = None
    features: tuple[str, ...] = ()
    _held: ExitStack = field(default_factory=ExitStack)

    @property
    def emulated(self) -> bool:
        """True for a twin."""
        return self.board.emulated

    def close(self) -> None:
        """Give port and place back; a second call does nothing."""
        self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if isinstance(error, Interrupted):
            error.add_note(f"port {self.transport.address} is closed, place {self.name} is free")


@dataclass(frozen=True)
class PlaceAddress:
    """Where a place is now: its board and port, the twin's folder if it is one, the chip that has to answer, and where
    its flashers find it. The `port` of a unit without one is only what its lock is called.
    """

    name: str
    board: manifest_files.AnyBoard
    port: str
    power: PowerSwitch | None = None
    twin: Path | None = None
    chip: bytes | None = None
    features: tuple[str, ...] = ()
    probe: str | None = None
    flash: Mapping[str, str] = field(default_factory=dict)
    ssh: SshAddress | None = None
    labgrid: LabgridPlace | None = None
    look: Callable[[], str] | None = field(default=None, compare=False)
    """Looks for the port again, of a place that is known by what its unit is."""

    @property
    def doors(self) -> tuple[str, ...]:
        """The ways to the unit beside its port, which are held with it."""
        return doors_of(self.probe, self.flash, self.ssh, self.power)

    @property
    def our_board(self) -> Board:
        """The board, where the firmware here is built for it. Raises `UsageFault` for somebody else's."""
        if not isinstance(self.board, Board):
            raise manifest_files.not_ours(self.board)
        return self.board


def find_place(site: Site, name: str, *, bench: Path | None = None, start: Path | None = None) -> PlaceAddress:
    """The place called `name`: an entry of the bench file, or a twin of the site.

    Raises `UsageFault` listing what there is, or the ports that it can be; `LinkError` when it is not connected;
    `ManifestFault`.
    """
    root = manifest_files.project_root(start or Path.cwd())
    places = _bench_places(root, bench)
    entry = next((place for place in places if place.name == name), None)
    if entry is not None:
        return _of_bench(site, root, entry, _Said(bench or root / BENCH_FILE, places.index(entry)))
    return _twin(site, root, name, [place.name for place in places], _no_bench(root, bench))


def check_names(site: Site, names: Iterable[str], *, bench: Path | None = None) -> None:
    """Raises `UsageFault` for the first of `names` that is neither a place nor a twin; no port is looked for."""
    from assay.drivers.twin.twin_folder import TwinFolder, check_name

    root = manifest_files.project_root(Path.cwd())
    places = [place.name for place in _bench_places(root, bench)]
    for name in names:
        if name not in places and not TwinFolder(site.twins_dir / check_name(name)).settings.exists():
            raise _nowhere(site, name, places, _no_bench(root, bench))


def _bench_places(root: Path, bench: Path | None) -> tuple[Place, ...]:
    file = bench or root / BENCH_FILE
    return manifest_files.load_bench(file).places if bench or file.exists() else ()


def _no_bench(root: Path, bench: Path | None) -> str:
    there = bench or (root / BENCH_FILE).exists()
    return "" if there else f"; there is no {BENCH_FILE}, --bench FILE names another one"


@dataclass(frozen=True)
class _Said:
    """Where a place stands in the bench file."""

    file: Path
    index: int

    @contextmanager
    def at(self, key: str, place: str) -> Iterator[None]:
        """What is wrong stands there, at `key` of the place."""
        try:
            yield
        except ManifestFault:
            raise
        except UsageFault as fault:
            told = UsageFault(f"place {place}: {fault.message}", remedy=fault.remedy)
            raise manifest_files.fault_at(self.file, ("places", self.index, key), told) from fault


def _of_bench(site: Site, root: Path, place: Place, said: _Said) -> PlaceAddress:
    """Where the place is now: its unit is looked for, whichever port it has today."""
    from assay.drivers.port_address import resolved
    from assay.drivers.usb_ports import port_of

    with said.at("board", place.name):
        file = manifest_files.board_file(root, place.board)
    board = manifest_files.load_any_board(file)
    chip = bytes.fromhex(place.chip) if place.chip else None
    if place.twin is not None:
        with said.at("twin", place.name):
            twin = _twin(site, root, place.twin, [])
            if twin.board.name != board.name:
                raise UsageFault(
                    f"it has board {board.name}, twin {place.twin} is a {twin.board.name}",
                    remedy="correct the place in bench.toml",
                )
        twin = replace(twin, name=place.name, power=place.power, chip=chip, features=place.features)
        return replace(twin, probe=place.probe, flash=place.flash, ssh=place.ssh)

    def look() -> str:
        with at_layer("port"):
            return resolved(port_of(f"place {place.name}", place.usb) if place.usb is not None else place.port or "")

    port = place.without_port if place.usb is None and place.port is None else look()
    found = PlaceAddress(place.name, board, port, place.power, None, chip, place.features)
    if port != place.port and (place.usb or place.port):
        found = replace(found, look=look)
    return replace(found, probe=place.probe, flash=place.flash, ssh=place.ssh, labgrid=place.labgrid)


def _twin(site: Site, root: Path, name: str, places: list[str], no_bench: str = "") -> PlaceAddress:
    from assay.drivers.twin.twin_folder import TwinFolder, check_name

    folder = TwinFolder(site.twins_dir / check_name(name))
    if not folder.settings.exists():
        raise _nowhere(site, name, places, no_bench)
    board = manifest_files.load_board(manifest_files.board_file(root, folder.read_settings().board))
    return PlaceAddress(name, board, str(folder.tty), twin=folder.path)


def open_place(
    site: Site,
    name: str,
    *,
    verb: str,
    wait_s: float = 0.0,
    bench: Path | None = None,
    start: Path | None = None,
    say: Say = say_nothing,
) -> OpenPlace:
    """Lock the place, switch a twin on that is off (and `say` so), and open its port.

    A twin that this call starts ends with this process. Raises `PlaceBusy` naming the holder after `wait_s` seconds,
    `UsageFault`, `LinkError`, `ToolMissing`.
    """
    address = find_place(site, name, bench=bench, start=start)
    board = address.our_board
    serial = board.serial
    with ExitStack() as held:
        port = hold(address, held, verb=verb, wait_s=wait_s, say=say)
        power = twin_power(site, address, held, say) if address.twin else None
        if board.ssh is not None:
            return _open_linux(address, board, switch_of(address) or power, held)
        transport = driver_doors.open_transport(port, serial.baud, heard_as=address.port)
        held.callback(transport.close)
        power = switch_of(address, transport) or power
        device = driver_doors.device_driver(DEVICE)(transport, serial.baud, serial.framing)
        loader = driver_doors.loader_driver(board.loader.protocol)(transport, serial.baud)
        return OpenPlace(name, board, transport, device, loader, power, address.chip, address.features, held.pop_all())


def _open_linux(address: PlaceAddress, board: Board, power: Power | None, held: ExitStack) -> OpenPlace:
    """The place of a Linux module, over SSH."""
    link = linux_places.open_link(address, board, power)
    held.callback(link.transport.close)
    opened = OpenPlace(address.name, board, link.transport, link.device, link.loader, power, address.chip)
    return replace(opened, features=address.features, _held=held.pop_all())


@contextmanager
def open_port(
    site: Site, name: str, *, verb: str, bench: Path | None = None, say: Say = say_nothing
) -> Iterator[Transport]:
    """Lock the place, and open its port: whatever board is on it, and nothing is said to it.

    Raises as `open_place` does.
    """
    address = find_place(site, name, bench=bench)
    with ExitStack() as held:
        port = hold(address, held, verb=verb, say=say)
        if address.twin is not None:
            twin_power(site, address, held, say)
        transport = driver_doors.open_transport(port, address.board.serial.baud, heard_as=address.port)
        held.callback(transport.close)
        yield transport


@contextmanager
def open_power(
    site: Site, name: str, *, verb: str, wait_s: float = 0.0, bench: Path | None = None, start: Path | None = None,
    say: Say = say_nothing,
) -> Iterator[Power]:  # fmt: skip
    """The power switch of the place, while the place is ours; its port is opened only for a switch that is in it.

    Raises `PlaceBusy`, `UsageFault` when the place has no switch, and what its driver raises.
    """
    from assay.drivers.twin.control import open_twin_power

    address = find_place(site, name, bench=bench, start=start)
    with ExitStack() as held:
        port = hold(address, held, verb=verb, wait_s=wait_s, say=say)
        if address.power is None and address.labgrid is not None:
            power = switch_of(address)
            assert power is not None
            yield power
            return
        if address.power is None and address.twin is None:
            raise UsageFault(f"place {name} has no power switch", remedy="add `power` to the place in bench.toml")
        if address.power is None:
            assert address.twin is not None
            yield open_twin_power(str(address.twin))
            return
        transport, switch = None, address.power
        if not switch.address and switch.usb is None and driver_doors.power_uses_port(switch.driver):
            transport = driver_doors.open_transport(port, address.board.serial.baud, heard_as=address.port)
            held.callback(transport.close)
        power = switch_of(address, transport)
        assert power is not None
        yield power


def what_answers(place: OpenPlace, timeout_s: float = FIND_TIMEOUT_S) -> Found:
    """What answers on the place, and it is the board that the bench says.

    Raises `WrongBoard`; `LinkError` that says what came instead when nothing that assay knows answers.
    """
    from time import monotonic

    ssh = place.board.ssh
    deadline_s = monotonic() + (ssh.up_timeout_s if ssh else timeout_s)
    for try_s in longer_each_time(STAGE_TRY_S):
        found, error = _ask_once(place, try_s)
        if found is not None:
            _check_board(place, found)
            return found
        if ssh is None:
            place.transport.write(GIVE_UP_TRANSFER)
        if monotonic() > deadline_s:
            break
    raise LinkError(
        f"nothing that assay knows answers on {place.name} ({place.transport.address}): {error}",
        remedy="check power, cable and port; a twin: assay twin status, then assay twin power cycle",
    )


def _ask_once(place: OpenPlace, try_s: float) -> tuple[Found | None, str]:
    error = ""
    if place.board.ssh is not None:
        return linux_places.ask_once(place.device, place.loader)
    with suppress(DeviceTimeout):
        if any(ROM_LINE in line for line in place.device.console_lines()):
            return place.loader.wait_banner(BANNER_TIMEOUT_S), ""
    for stage in (Stage.APP, Stage.BOOT):
        try:
            return place.device.wait_ready(stage, try_s), ""
        except LinkError as silence:
            error = silence.message
    return None, error


def _check_board(place: OpenPlace, found: Found) -> None:
    if (found.board, found.revision) != (place.board.name, place.board.revision):
        raise WrongBoard(
            f"on {place.name} answers a {found.board} revision {found.revision}, "
            f"the bench says {place.board.name} revision {place.board.revision}",
            remedy="connect the right board, or correct the place in bench.toml; nothing was written",
        )
    check_chip(place, found.chip)


def check_chip(place: OpenPlace, chip: bytes) -> None:
    """Raises `WrongUnit` when the bench names another chip: the unit was swapped since."""
    if place.chip is not None and chip != place.chip:
        raise WrongUnit(
            f"on {place.name} answers chip {chip.hex()}, the bench says {place.chip.hex()}",
            remedy="connect the right unit, or correct the place in bench.toml; nothing was written",
        )


def describe(found: Found) -> str:
    """What answers, in words."""
    if isinstance(found, RomBanner):
        return f"the mask ROM of chip {found.chip.hex()} waits for a bootloader ({found.reason})"
    serial = f"unit {found.serial}" if found.serial else "a unit without serial number"
    return f"the {found.stage} of {found.name} {found.version} on {serial}, chip {found.chip.hex()}"


def twin_power(site: Site, address: PlaceAddress, held: ExitStack, say: Say = say_nothing) -> Power:
    """Start the twin, or use the one that runs, with power on. One that is started here is stopped with `held`."""
    from assay.drivers.twin.control import TwinControl
    from assay.drivers.twin.lifecycle import start_twin
    from assay.drivers.twin.twin_folder import TwinFolder

    assert address.twin is not None
    folder = TwinFolder(address.twin)
    rom = None
    if folder.read_settings().rom is None:
        from assay.pipeline.rom_image import rom_for

        rom = rom_for(site, address.board.name)
    runs_already = TwinControl(folder).alive()
    if not runs_already:
        say(f"{address.name}: this twin is off; it is started for this command (to keep it on: assay twin start)")
    twin = start_twin(folder, rom, owner_pid=os.getpid())
    if not runs_already:
        held.callback(twin.stop)
    return twin.power


def switch_of(address: PlaceAddress, transport: Transport | None = None) -> Power | None:
    """The power switch of a place of the bench; None where it has none. Raises what its driver raises."""
    place, switch = address.name, address.power
    if switch is None and address.labgrid is not None:
        from assay.drivers.labgrid.client import LabgridPower

        labgrid = address.labgrid
        return driver_doors.open_power(lambda _address: LabgridPower(labgrid), "", {})
    if switch is None:
        return None
    from assay.drivers.usb_ports import port_of

    with at_layer("power"):
        where = port_of(f"the power switch of {place}", switch.usb) if switch.usb else switch.address
    return answerable_power(
        switch.driver,
        lambda: driver_doors.open_power(switch.driver, where, switch.options, transport),
        bounded=not comes_with_assay("power", switch.driver),
    )


def _nowhere(site: Site, name: str, places: list[str], no_bench: str) -> UsageFault:
    remedy = _known(site, name, places) + no_bench
    return UsageFault(f"there is no place and no twin called '{name}'", remedy=remedy)


def _known(site: Site, name: str, places: list[str]) -> str:
    from assay.drivers.twin.twin_folder import twin_names

    known = [*places, *twin_names(site.twins_dir)]
    return (
        f"{did_you_mean(name, known)}known: {', '.join(known)}"
        if known
        else "make one: assay twin create NAME --board BOARD"
    )
