# SPDX-License-Identifier: Apache-2.0
"""Scanning a host: which places of the bench file are there, which ports no place means, and new places for them.

Guards: what a person wrote in the bench file stays as it is, new places come at its end; the file that results is read
before it replaces the old one; nothing is opened. Leaves to others: looking (`drivers.usb_ports`,
`drivers.usb_flashable`), Zephyr's format (`formats.hardware_map`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from assay.backends.durable_file import exclusive, write_durably
from assay.backends.named_file import read_named
from assay.drivers.usb_flashable import seen_devices
from assay.drivers.usb_ports import names_without_a_port, seen_ports
from assay.errors import StorageError, UsageFault
from assay.formats.hardware_map import MAP_BYTES_MAX, MapEntry, read_map, update_map, write_map
from assay.model.bench import Bench, Place, UsbIdentity
from assay.model.seen_port import SeenDevice, SeenPort, identity_of, matching
from assay.pipeline import manifest_files
from assay.stages.manifest.read import read_manifest

if TYPE_CHECKING:
    from assay.pipeline.site import Site

HEADER = '#:schema ../schemas/bench.schema.json\nschema = "assay.bench/1"\n'
SERIAL_SHOWN = 6
"""Characters of a serial number in a place's name: what is readable on a sticker."""


@dataclass(frozen=True)
class Scan:
    """Each place with its ports now (none: not connected; several: ambiguous), the ports without a place, all ports;
    the devices without a port and without a place that a flasher finds; and names of ports that nothing is behind.
    """

    places: tuple[tuple[Place, tuple[SeenPort, ...]], ...]
    unplaced: tuple[SeenPort, ...]
    seen: tuple[SeenPort, ...]
    devices: tuple[SeenDevice, ...] = ()
    names_alone: tuple[str, ...] = ()

    @property
    def silent(self) -> tuple[SeenPort, ...]:
        """The ports without a place that do not say what they are: a place for one is a person's to write."""
        return tuple(port for port in self.unplaced if not port.is_usb)


def scan(bench: Bench | None) -> Scan:
    """Look at what is plugged in, and compare with `bench` (None: there is no bench file yet)."""
    seen = seen_ports()
    places = [(place, tuple(_ports_of(place, seen))) for place in (bench.places if bench else ())]
    taken = {port.device for _, ports in places for port in ports}
    known = {door for place, _ in places for door in (place.probe, *place.flash.values())}
    devices = tuple(each for each in seen_devices(seen) if not known & {each.id, each.location})
    unplaced = tuple(port for port in seen if port.device not in taken)
    return Scan(tuple(places), unplaced, tuple(seen), devices, tuple(names_without_a_port()))


def _ports_of(place: Place, seen: Sequence[SeenPort]) -> list[SeenPort]:
    if place.usb is not None:
        return matching(place.usb, seen)
    device = str(Path(place.port).resolve()) if place.port and "://" not in place.port else ""
    return [port for port in seen if port.device == device]


def new_places(found: Scan, board: str, only: str | None) -> list[Place]:
    """A place with `board` for each USB port without one; `only` takes one by its device, serial number or socket, and
    then a probe or a device in DFU mode without a port, too: unasked it may belong to a board whose port is another's.

    Raises UsageFault when nothing is that.
    """
    names = {place.name for place, _ in found.places}
    probes = {place.probe for place, _ in found.places}
    ports = [port for port in found.unplaced if port.is_usb]
    if only is None:
        return [_place(port, board, found.seen, names, probes) for port in ports]
    ports = [port for port in ports if only in (port.device, port.serial, port.location)]
    devices = [] if ports else [each for each in found.devices if only in (each.id, each.location)]
    if not ports and not devices:
        listed = "; ".join(map(str, (*found.unplaced, *found.devices))) or "nothing"
        raise UsageFault(f"nothing without a place is {only!r}", remedy=f"without a place: {listed}")
    return [_place(port, board, found.seen, names, probes) for port in ports] + [
        _place_of_device(each, board, names) for each in devices
    ]


def _place(port: SeenPort, board: str, seen: Sequence[SeenPort], names: set[str], probes: set[str | None]) -> Place:
    """With the probe that its device is, for the first place of it, where its serial number tells it alone."""
    identity = identity_of(port, seen)
    assert identity is not None
    name = _free_name(board, identity.serial or "", names)
    probe = port.probe if identity.location is None and port.probe not in probes else None
    probes.add(probe)
    return Place(name=name, board=board, usb=identity, probe=probe)


def _place_of_device(device: SeenDevice, board: str, names: set[str]) -> Place:
    name = _free_name(board, device.id, names)
    if device.kind == "probe":
        return Place(name=name, board=board, probe=device.id)
    return Place(name=name, board=board, flash={device.kind: device.id})


def _free_name(board: str, serial: str, names: set[str]) -> str:
    """`BOARD-` and the end of the serial number; a number where that is taken or there is none."""
    tail = "".join(char for char in serial.lower() if char.isascii() and char.isalnum())[-SERIAL_SHOWN:]
    wanted = [f"{board[:40]}-{tail}"] if tail else []
    wanted += [f"{board[:40]}-{number}" for number in range(1, len(names) + 2)]
    name = next(name for name in wanted if name not in names)
    names.add(name)
    return name


def twin_places(site: Site, found: Scan) -> list[Place]:
    """A place for each twin of the site that has none, so that tests can be told what it has."""
    from assay.drivers.twin.twin_folder import TwinFolder, twin_names

    known = {place.twin for place, _ in found.places} | {place.name for place, _ in found.places}
    folders = [TwinFolder(site.twins_dir / name) for name in twin_names(site.twins_dir) if name not in known]
    return [Place(name=each.name, board=each.read_settings().board, twin=each.name) for each in folders]


def places_of_map(
    entries: Iterable[MapEntry], boards: Sequence[str], known: Iterable[Place]
) -> tuple[list[Place], list[str]]:
    """Places for the boards of a hardware map that the bench does not have, and a sentence for each that has no board.

    A board's file is found by the platform: `nrf52840dk/nrf52840` is `nrf52840dk` or `nrf52840dk-nrf52840`.
    """
    places, faults = [], []
    names = {place.name for place in known}
    serials = {place.usb.serial for place in known if place.usb is not None}
    for entry in entries:
        if not entry.id or entry.id in serials:
            continue
        board = _board_of(entry.platform, boards)
        if board is None:
            faults.append(f"{entry.id}: there is no board file for the platform {entry.platform}")
            continue
        usb = UsbIdentity(serial=entry.id)
        features = tuple(_feature(fixture) for fixture in entry.fixtures or ())
        name = _free_name(board, entry.id, names)
        places.append(Place(name=name, board=board, usb=usb, probe=entry.probe_id, features=features))
    return places, faults


def _board_of(platform: str, boards: Sequence[str]) -> str | None:
    whole = _feature(platform.replace("@", "-"))
    short = _feature(platform.partition("/")[0].partition("@")[0])
    return next((board for board in (whole, short) if board in boards), None)


def _feature(text: str) -> str:
    """A fixture (`fixture_i2c:sensor`) or a platform as a name of ours."""
    kept = "".join(char if char.isascii() and char.isalnum() else "-" for char in text.lower())
    return kept.strip("-")[:63] or "unnamed"


def add_places(file: Path, places: Sequence[Place]) -> None:
    """Append `places` to the bench file, made if it is not there. Raises ManifestFault, StorageError."""
    try:
        with exclusive(file.parent):
            old = file.read_text("utf-8") if file.exists() else HEADER
            text = old.rstrip("\n") + "\n" + "".join(f"\n{_toml(place)}" for place in places)
            read_manifest(text.encode(), str(file), Bench)
            write_durably(file, text.encode())
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(
            f"cannot write {file}: {error}", remedy="make the folder writable, or name another"
        ) from error


def _toml(place: Place) -> str:
    lines = ["[[places]]", f"name = {json.dumps(place.name)}", f"board = {json.dumps(place.board)}"]
    if place.usb is not None:
        lines.append(f"usb = {{ {', '.join(_usb_words(place.usb))} }}")
    if place.twin is not None:
        lines.append(f"twin = {json.dumps(place.twin)}")
    if place.probe:
        lines.append(f"probe = {_quoted(place.probe)}")
    if place.flash:
        lines.append(f"flash = {{ {', '.join(f'{key} = {_quoted(value)}' for key, value in place.flash.items())} }}")
    if place.features:
        lines.append(f"features = [{', '.join(map(_quoted, place.features))}]")
    return "\n".join(lines) + "\n"


def _usb_words(usb: UsbIdentity) -> list[str]:
    words = [f"vendor = 0x{usb.vendor:04x}"] if usb.vendor is not None else []
    words += [f"product = 0x{usb.product:04x}"] if usb.product is not None else []
    words += [f"serial = {_quoted(usb.serial)}"] if usb.serial else []
    words += [f"interface = {usb.interface}"] if usb.interface is not None else []
    words += [f"location = {_quoted(usb.location)}"] if usb.location else []
    return words


def _quoted(text: str) -> str:
    """A TOML basic string: JSON's escapes are TOML's, but for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def read_map_file(file: Path) -> list[MapEntry]:
    """The entries of the hardware map in `file`. Raises ManifestFault, StorageError."""
    try:
        raw = read_named(file, MAP_BYTES_MAX + 1)
    except OSError as error:
        raise StorageError(f"cannot read {file}: {error.strerror}", remedy="check the path") from error
    if len(raw) > MAP_BYTES_MAX:
        raise UsageFault(f"{file} has more than {MAP_BYTES_MAX} bytes", remedy="name a hardware map")
    return read_map(raw, str(file))


def write_map_file(file: Path, found: Scan) -> list[MapEntry]:
    """Bring the hardware map in `file` up to date, or make one. Raises ManifestFault, StorageError."""
    boards = {ports[0].device: place for place, ports in found.places if len(ports) == 1}
    try:
        with exclusive(file.absolute().parent):
            entries = update_map(read_map_file(file) if file.exists() else [], found.seen, boards)
            write_durably(file.absolute(), write_map(entries))
    except OSError as error:
        raise StorageError(f"cannot write {file}: {error.strerror}", remedy="name another file") from error
    return entries


def load_or_none(file: Path) -> Bench | None:
    """The bench file; None where there is none yet. Raises ManifestFault."""
    return manifest_files.load_bench(file) if file.exists() else None
