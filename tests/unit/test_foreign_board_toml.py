# SPDX-License-Identifier: Apache-2.0
"""The board TOML of somebody else's board: what it says when it is wrong, and revisions that inherit."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest

from assay.errors import ManifestFault, UsageFault
from assay.model.foreign_board import ForeignBoard
from assay.pipeline.manifest_files import load_any_board, load_board
from assay.stages.manifest.schema_export import schema_text

ROOT = Path(__file__).parents[2]
BOARD = """\
schema = "assay.board/2"
firmware = "mcuboot"
name = "theirs"
revision = 1

[serial]
baud = 115200

[smp]
buffers = { size = 128 }

[mcuboot]
mode = "swap"
"""
SLOTS = "slots = [{ base = 0x18000, size = 0x8000 }, { base = 0x10000, size = 0x8000 }]"
REVISION = """\
schema = "assay.board/2"
name = "theirs-b"
inherits = "theirs"
why = "a larger flash, and its UART is faster"
revision = 2

[serial]
baud = 1000000
"""


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{name}.toml"
    path.write_text(text)
    return path


def test_a_revision_has_what_it_does_not_say_itself(tmp_path: Path) -> None:
    write(tmp_path, "theirs", BOARD)
    board = load_any_board(write(tmp_path, "theirs-b", REVISION))
    assert isinstance(board, ForeignBoard)
    assert (board.name, board.revision, board.serial.baud) == ("theirs-b", 2, 1000000)
    assert (board.mcuboot.mode, board.smp.buffers.size) == ("swap", 128)
    third = write(tmp_path, "theirs-c", REVISION.replace("theirs", "theirs-b").replace("theirs-b-b", "theirs-c"))
    assert load_any_board(third).serial.baud == 1000000


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('mode = "swap"', 'mode = "swop"', r"theirs\.toml:13: mcuboot\.mode: should be 'swap', 'overwrite-only'"),
        ("baud = 115200", "baud = 115200\nbuad = 1", r"theirs\.toml:8: unknown key 'buad'; did you mean 'baud'"),
        ('mode = "swap"', 'mode = "swap"\nrevert = true', r"theirs\.toml:14: mcuboot\.revert: mode swap has no revert"),
        ("size = 128", "size = 20", r"theirs\.toml:10: smp\.buffers\.size"),
        ('[mcuboot]\nmode = "swap"\n', "", r"missing key 'mcuboot'"),
        ('firmware = "mcuboot"', 'firmware = "uboot"', r"theirs\.toml:2: firmware: should be 'mcuboot'"),
        ('firmware = "mcuboot"\n', "", r"theirs\.toml:8: \[smp\] is of somebody else's .*add firmware = \"mcuboot\""),
        ('name = "theirs"', 'name = "Büro 3"', r"theirs\.toml:3: name: expected a name of 1 to 63 lower-case letters"),
        ("[smp]", '[smp]\ninfo = ""', r"theirs\.toml:10: smp\.info: should have at least 1 character"),
        (
            'mode = "swap"',
            f'mode = "swap"\n{SLOTS}',
            r"theirs\.toml:14: mcuboot\.slots: mode swap runs images from one",
        ),
        (
            'mode = "swap"',
            'mode = "direct-xip"\n' + SLOTS.replace("0x18000", "0x17000"),
            r"theirs\.toml:14: mcuboot\.slots: the slots overlap: 0x10000 with 0x8000 bytes ends behind 0x17000",
        ),
        (
            'mode = "swap"',
            'mode = "swap"\n[recovery]\nonly = true\nenter = "reset"',
            r"theirs\.toml:16: recovery\.enter: with only = true no app can be asked",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(ManifestFault, match=said):
        load_any_board(write(tmp_path, "theirs", BOARD.replace(old, new)))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('inherits = "theirs"', 'inherits = "nobody"', r"theirs-b\.toml:3: there is no board 'nobody' beside it"),
        ('inherits = "theirs"', 'inherits = "../theirs"', r"theirs-b\.toml:3: there is no board"),
        ('inherits = "theirs"', 'inherits = "theirs-b"', r"goes round in a circle"),
        ('why = "a larger flash, and its UART is faster"\n', "", r"says why it differs"),
        ("baud = 1000000", "buad = 1000000", r"theirs-b\.toml:8: unknown key 'buad'"),
    ],
)
def test_what_is_wrong_with_a_revision(tmp_path: Path, old: str, new: str, said: str) -> None:
    write(tmp_path, "theirs", BOARD)
    with pytest.raises(ManifestFault, match=said):
        load_any_board(write(tmp_path, "theirs-b", REVISION.replace(old, new)))


def test_slots_side_by_side_in_any_order_are_taken(tmp_path: Path) -> None:
    text = BOARD.replace('mode = "swap"', f'mode = "direct-xip"\n{SLOTS}')
    board = load_any_board(write(tmp_path, "theirs", text))
    assert isinstance(board, ForeignBoard) and len(board.mcuboot.slots) == 2


def test_a_fault_of_the_whole_file_has_no_line(tmp_path: Path) -> None:
    """Two keys are not there: each is told with the file, none with a line 0."""
    text = BOARD.replace('[mcuboot]\nmode = "swap"\n', "").replace("[serial]\nbaud = 115200\n", "")
    with pytest.raises(ManifestFault) as told:
        load_any_board(write(tmp_path, "theirs", text))
    assert str(told.value).count("theirs.toml: missing key") == 2 and ":0:" not in str(told.value)


def test_a_fault_of_the_ancestor_is_told_in_its_file(tmp_path: Path) -> None:
    write(tmp_path, "theirs", BOARD.replace('mode = "swap"', 'mode = "swop"'))
    with pytest.raises(ManifestFault, match=r"theirs\.toml:13: mcuboot\.mode"):
        load_any_board(write(tmp_path, "theirs-b", REVISION))


def test_who_needs_a_board_of_ours_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageFault, match=r"theirs is somebody else's board: it has no identity"):
        load_board(write(tmp_path, "theirs", BOARD))


def test_the_schema_takes_both_kinds_and_revisions() -> None:
    schema = jsonschema.Draft202012Validator(json.loads(schema_text("board")))
    for text in (BOARD, REVISION, (ROOT / "boards" / "ast1030-evb.toml").read_text()):
        schema.validate(tomllib.loads(text))
    with pytest.raises(jsonschema.ValidationError):
        schema.validate(tomllib.loads(BOARD.replace("revision = 1", "revison = 1")))


@pytest.mark.parametrize("path", sorted((ROOT / "boards").glob("*.toml")), ids=lambda path: path.stem)
def test_boards_that_nobody_touched_say_so(path: Path) -> None:
    text = path.read_text()
    if 'firmware = "mcuboot"' in text:
        assert re.search(r"^# Never touched:", text, re.MULTILINE)
