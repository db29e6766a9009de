# SPDX-License-Identifier: Apache-2.0
"""The flashers that our board TOMLs name: their options are the drivers', and the real tools know their words."""

from __future__ import annotations

import re
import shutil
from importlib import metadata
from pathlib import Path

import pytest

from assay.errors import LinkError, ManifestFault
from assay.model.flasher_settings import FlasherSettings
from assay.pipeline import driver_doors
from assay.pipeline.manifest_files import load_any_board

BOARDS = Path(__file__).parents[2] / "boards"


def flashers() -> list[tuple[str, FlasherSettings]]:
    boards = [load_any_board(file) for file in sorted(BOARDS.glob("*.toml"))]
    return [(board.name, each) for board in boards for each in getattr(board, "flashers", ())]


def test_there_is_a_board_for_each_kind_of_flasher() -> None:
    assert {each.driver for _, each in flashers()} >= {"dfu-util", "esptool", "openocd", "pyocd", "uf2"}


@pytest.mark.parametrize(("board", "settings"), flashers(), ids=lambda each: getattr(each, "called", each))
def test_each_opens_and_plans(board: str, settings: FlasherSettings, tmp_path: Path) -> None:
    from assay.interfaces.flasher import Part
    from assay.stages.flashing.by_flasher import check_plan

    probe = "000683000001" if settings.driver in ("openocd", "pyocd") else ""
    flasher = driver_doors.open_flasher(settings.driver, probe, settings.options, folder=tmp_path, port="/dev/null")
    parts = [Part(name, where, b"x" * 16) for name, where in settings.addresses.items()]
    check_plan(settings, flasher.plan(parts))
    if settings.driver == "openocd":
        with pytest.raises(LinkError):
            flasher.identify()


def test_pyocd_knows_the_targets() -> None:
    from pyocd.target import TARGET

    wanted = {str(each.options["target"]) for _, each in flashers() if each.driver == "pyocd"}
    assert wanted - set(TARGET) == {"nrf5340_xxaa"}  # from a pack, as its board TOML says


def test_a_board_that_nobody_touched_says_so() -> None:
    for file in BOARDS.glob("*.toml"):
        assert load_any_board(file).emulated or "Never touched" in file.read_text(), file


def test_the_table_of_the_docs_has_each_board_and_no_other() -> None:
    text = (BOARDS.parent / "docs" / "reference" / "flashers.md").read_text()
    told = {name: (by, touched) for name, by, touched in re.findall(r"^\| `([\w-]+)` \| (.+) \| (\w+) \|$", text, re.M)}
    boards = {board.name: board for board in map(load_any_board, sorted(BOARDS.glob("*.toml"))) if not board.emulated}
    assert sorted(told) == sorted(boards) and {touched for _, touched in told.values()} == {"never"}
    for name, board in boards.items():
        named = re.findall(r"`([\w-]+)`", re.sub(r"\(.*?\)", "", told[name][0]))
        assert named == [each.driver for each in getattr(board, "flashers", ())], name


def test_the_versions_of_the_table_are_those_that_the_tests_run() -> None:
    text = (BOARDS.parent / "docs" / "reference" / "flashers.md").read_text()
    for tool, package in (("pyOCD", "pyocd"), ("esptool and espefuse", "esptool")):
        version = ".".join(metadata.version(package).split(".")[:2])
        assert re.findall(rf"{tool} ([0-9.]+[0-9])", text) and set(re.findall(rf"{tool} ([0-9.]+[0-9])", text)) == {
            version
        }


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (
            "image = 0x10000000",
            "image = 0x30000000",
            r":12: flashers\[1\].addresses.image: 0x30000000 lies in no memory",
        ),
        ('driver = "openocd"', 'driver = "uf2"', r"there are two flashers called 'uf2'"),
        ("memory = [{ base", "memory = [{ bas", r"unknown key 'bas'; did you mean 'base'"),
        ('kind = "RPI-RP2"', "kind = 3", r":11: flashers\[1\].kind: expected a text in quotes"),
        ('firmware = "any"', 'firmware = "none"', r"firmware"),
    ],
)
def test_a_fault_has_its_line(tmp_path: Path, old: str, new: str, fault: str) -> None:
    file = tmp_path / "rpi-pico-plain.toml"
    text = (BOARDS / "rpi-pico-plain.toml").read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(ManifestFault, match=fault):
        load_any_board(file)


def test_a_revision_inherits_its_flashers(tmp_path: Path) -> None:
    shutil.copy(BOARDS / "rpi-pico-plain.toml", tmp_path)
    head = 'schema = "assay.board/1"\nname = "mine"\nrevision = 1\ninherits = "rpi-pico-plain"\n'
    (tmp_path / "mine.toml").write_text(head + 'why = "another crystal"\n')
    board = load_any_board(tmp_path / "mine.toml")
    assert [each.called for each in getattr(board, "flashers", ())] == ["uf2", "openocd", "pyocd"]
    (tmp_path / "mine.toml").write_text(head)
    with pytest.raises(ManifestFault, match=re.escape("says why it differs")):
        load_any_board(tmp_path / "mine.toml")
