# SPDX-License-Identifier: Apache-2.0
"""Zephyr's hardware map (twister's `--hardware-map`): a YAML list with one entry for each board on a host.

Guards: fields and entries that we do not know are kept, in their order, when a map is written again.
Leaves to others: files (`pipeline.bench_scan`); comments are lost, as twister loses them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml
from pydantic import ValidationError

from assay.errors import ManifestFault
from assay.model.bench import Place
from assay.model.seen_port import SeenPort
from assay.model.value import ForeignValue

UNKNOWN = "unknown"
"""What twister writes for a platform or a runner that nobody named yet."""
_SERIALS = ("id", "probe_id")
MAP_BYTES_MAX = 1024 * 1024
"""Bytes; a map of a thousand boards has 200 KB."""


class MapEntry(ForeignValue):
    """One board. `id` is its USB serial number, `serial` its port now."""

    id: str | None = None
    platform: str = UNKNOWN
    product: str | None = None
    runner: str | None = None
    serial: str | None = None
    connected: bool = False
    probe_id: str | None = None
    fixtures: tuple[str, ...] | None = None


def read_map(raw: bytes, file: str) -> list[MapEntry]:
    """The entries of a map; an empty file has none. Raises ManifestFault."""
    try:
        data = yaml.safe_load(raw)
        spelled = yaml.load(raw, Loader=yaml.BaseLoader)  # noqa: S506 (its values are texts only)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise ManifestFault(
            file, mark.line + 1 if mark else None, f"is no YAML: {getattr(error, 'problem', error)}"
        ) from error
    if data is None:
        return []
    if not isinstance(data, list) or not all(isinstance(entry, dict) for entry in data):
        raise ManifestFault(file, None, "expected a list of boards, as twister --generate-hardware-map writes it")
    return [_entry(_as_spelled(*pair), number, file) for number, pair in enumerate(zip(data, spelled, strict=True), 1)]


def _as_spelled(entry: dict[str, Any], spelled: dict[str, Any]) -> dict[str, Any]:
    """Serial numbers as they are written: to YAML `000123` without quotes is the number 83."""
    numbers = {key: spelled[key] for key in _SERIALS if isinstance(entry.get(key), int)}
    return {**entry, **numbers}


def _entry(data: dict[str, Any], number: int, file: str) -> MapEntry:
    named = {str(key): tuple(value) if isinstance(value, list) else value for key, value in data.items()}
    try:
        return MapEntry.model_validate(named)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise ManifestFault(file, None, f"board {number}: {key}: {first['msg']}") from error


def write_map(entries: Sequence[MapEntry]) -> bytes:
    """The map's bytes, entries and keys in their order."""
    plain = [_plain(entry) for entry in entries]
    text: str = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, default_flow_style=False)
    return text.encode()


def _plain(entry: MapEntry) -> dict[str, Any]:
    shown = entry.model_dump(mode="json", exclude_unset=True)
    return {key: value for key, value in shown.items() if value is not None or key == "serial"}


def update_map(entries: Sequence[MapEntry], seen: Sequence[SeenPort], places: dict[str, Place]) -> list[MapEntry]:
    """The map as it is now: known boards get their port or lose it, new ones come at the end, with probe and fixtures.

    `places` is the place of each device that the bench file knows. Boards of one serial number stay as they are.
    """
    by_serial: dict[str, list[SeenPort]] = {}
    for port in seen:
        if port.serial and (port.interface or 0) == min(_interfaces(port, seen)):
            by_serial.setdefault(port.serial, []).append(port)
    known = {entry.id for entry in entries}
    updated = [_now(entry, by_serial) for entry in entries]
    fresh = [ports[0] for serial, ports in by_serial.items() if serial not in known]
    return updated + [_fresh(port, places.get(port.device)) for port in fresh]


def _interfaces(port: SeenPort, seen: Sequence[SeenPort]) -> list[int]:
    """The interfaces of the device that `port` is one of: its first port is the console, as twister takes it."""
    return [other.interface or 0 for other in seen if other.serial == port.serial and other.location == port.location]


def _now(entry: MapEntry, by_serial: dict[str, list[SeenPort]]) -> MapEntry:
    ports = by_serial.get(entry.id or "", [])
    if len(ports) > 1:
        return entry
    there = bool(ports)
    return entry.model_copy(update={"connected": there, "serial": ports[0].device if there else None})


def _fresh(port: SeenPort, place: Place | None) -> MapEntry:
    more: dict[str, Any] = {}
    if probe := (place.probe if place is not None else None) or port.probe:
        more["probe_id"] = probe
    if place is not None and place.features:
        more["fixtures"] = place.features
    return MapEntry(
        connected=True,
        id=port.serial,
        platform=place.board if place is not None else UNKNOWN,
        product=port.product_name or UNKNOWN,
        runner=UNKNOWN,
        serial=port.device,
        **more,
    )
