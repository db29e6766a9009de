# SPDX-License-Identifier: Apache-2.0
"""What a place and its board name, and is nowhere: drivers, their options, flashers of the board.

Guards: it is told with file and line before anything is opened, held or written to. Leaves to others: what the files
may say at all (`stages.manifest`), and where the place is (`places`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from assay.errors import ManifestFault, ToolMissing, UsageFault
from assay.formats.near_names import did_you_mean
from assay.formats.toml_document import KeyPath
from assay.model.bench import Place
from assay.model.flasher_settings import PlainBoard
from assay.model.foreign_board import ForeignBoard
from assay.pipeline import driver_doors, manifest_files
from assay.pipeline.places import BENCH_FILE

if TYPE_CHECKING:
    from assay.interfaces.step_book import Say


def check_place(name: str, *, flasher: str | None = None, bench: Path | None = None, say: Say) -> None:
    """Check the place of that name in the bench file, and its board; a twin that is in none has nothing of that kind.

    Raises `ManifestFault`. A flasher that is not the one asked for, and whose driver is not installed here, is only
    said: the board file may be shared with a bench that has it.
    """
    root = manifest_files.project_root(Path.cwd())
    file = bench or root / BENCH_FILE
    places = manifest_files.load_bench(file).places if bench or file.exists() else ()
    index = next((index for index, place in enumerate(places) if place.name == name), None)
    if index is None:
        return
    place = places[index]
    _check_power(file, index, place)
    board_file = root / manifest_files.BOARDS / f"{place.board}.toml"
    if not board_file.is_file():
        return  # told by who looks for the place
    board = manifest_files.load_any_board(board_file)
    if not isinstance(board, ForeignBoard | PlainBoard):
        return
    names = [each.called for each in board.flashers]
    if flasher is None and isinstance(board, PlainBoard) and len(names) == 1:
        flasher = names[0]
    for called, fault_there in _flasher_faults(board_file, board):
        if called == flasher or isinstance(fault_there.__cause__, driver_doors.OptionFault):
            raise fault_there
        say(f"{fault_there.message}; {fault_there.remedy}")
    for key in place.flash:
        if key not in names:
            remedy = f"{did_you_mean(key, names)}its flashers: {', '.join(names) or 'none'}"
            fault = UsageFault(f"place {name}: {board.name} has no flasher '{key}'", remedy=remedy)
            raise manifest_files.fault_at(file, ("places", index, "flash", key), fault)


def _flasher_faults(file: Path, board: ForeignBoard | PlainBoard) -> Iterator[tuple[str, ManifestFault]]:
    """What is wrong with each flasher of the board, by its name."""
    for index, each in enumerate(board.flashers):
        fault = _driver_fault(file, ("flashers", index), "flashers", each.driver, each.options)
        if fault is not None:
            yield each.called, fault


def _check_power(file: Path, index: int, place: Place) -> None:
    if place.power is None:
        return
    fault = _driver_fault(file, ("places", index, "power"), "power", place.power.driver, place.power.options)
    if fault is not None:
        raise fault


def _driver_fault(
    file: Path, table: KeyPath, kind: Literal["power", "flashers"], driver: str, options: Mapping[str, Any]
) -> ManifestFault | None:
    try:
        driver_doors.check_driver(kind, driver, options)
    except driver_doors.OptionFault as fault:
        told = manifest_files.fault_at(file, (*table, "options", fault.option), fault)
        told.__cause__ = fault
        return told
    except UsageFault as fault:
        return manifest_files.fault_at(file, (*table, "driver"), fault)
    except ToolMissing:
        return None  # it is named right, and told by who opens it
    return None
