# SPDX-License-Identifier: Apache-2.0
"""The flash chips of tests/host/geometries.toml as boards of the host build: where each area lies, how large it is.

Guards that every area is as small as its content allows: a power cut is tried at each operation, on each chip.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HOST = Path(__file__).resolve().parent / "host"
JOURNAL_HEAD, STEPS, FINAL_STEPS = 64, 3, 8  # swap.c: bytes before the marks, marks of a sector, marks at the end
LOG_MIN, IDENTITY_MIN = 0xC00, 0x480  # bytes of a half: 48 records; head and identity
BOOT_MIN, PATCH_MIN = 0x8000, 0x4000  # bytes
APP_BASE = 0x1000000  # address in RAM, where room is for an image that fills its slot


@dataclass(frozen=True)
class Geometry:
    """One flash chip and how it is tested."""

    name: str
    board: dict[str, Any]
    everyday: bool
    sanitize: bool


def read_board() -> dict[str, Any]:
    """The board of the host build."""
    return tomllib.loads((HOST / "host_board.toml").read_text(encoding="utf-8"))


def read_geometries() -> list[Geometry]:
    """All rows of geometries.toml."""
    rows = tomllib.loads((HOST / "geometries.toml").read_text(encoding="utf-8"))["geometry"]
    return [Geometry(row["name"], _board(row), row.get("everyday", False), row.get("sanitize", False)) for row in rows]


def _board(row: dict[str, Any]) -> dict[str, Any]:
    sector = row["erase_size"]
    areas: dict[str, dict[str, int]] = {}
    end = 0
    for name, size in _sizes(row).items():
        whole = -(-size // sector) * sector
        areas[name] = {"offset": end, "size": whole}
        end += whole
    flash = {key: row[key] for key in ("erase_size", "program_size", "write_alignment", "erased_value")}
    board = read_board()
    app = {"base": APP_BASE, "size": max(board["ram"]["app"]["size"], areas["primary"]["size"])}
    return {**board, "ram": {**board["ram"], "app": app}, "flash": {**flash, "size": end, "areas": areas}}


def _sizes(row: dict[str, Any]) -> dict[str, int]:
    """Bytes that each area needs; those with two halves as two whole ones."""
    sector, unit = row["erase_size"], row["write_alignment"]
    first, second = row["slots"]
    radio = row.get("radio", [0, 0])
    marks = STEPS * (min(first, second) + min(radio)) + FINAL_STEPS
    halves = {"status": JOURNAL_HEAD + marks * unit, "counters": LOG_MIN, "notes": LOG_MIN, "identity": IDENTITY_MIN}
    sizes = {"boot": BOOT_MIN, "primary": first * sector, "secondary": second * sector, "scratch": sector}
    sizes |= {name: 2 * -(-size // sector) * sector for name, size in halves.items()}
    if any(radio):
        sizes |= {"radio_primary": radio[0] * sector, "radio_secondary": radio[1] * sector}
    return sizes | {"patch": max(PATCH_MIN, 2 * sector), "otp": sector}
