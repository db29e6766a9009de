# SPDX-License-Identifier: Apache-2.0
"""Parts of the wire that need no process: the line's timing, entropy, command lines, the twin's folder."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.drivers.twin.entropy import POOL_BITS, EgdEntropy, SilentEntropy, UartEntropy
from assay.drivers.twin.machine import Connections, Machine, command_line, machine_of
from assay.drivers.twin.serial_line import BITS_PER_BYTE, ROOM_BYTES, SerialLine
from assay.drivers.twin.twin_folder import OTP_MAGIC, TwinFolder, blank_flash, check_name, create_twin, twin_names
from assay.drivers.twin.wire_profile import WireProfile
from assay.errors import StorageError, UsageFault
from assay.model.board import Board

BOARDS = Path(__file__).parents[2] / "boards"


def board(name: str) -> Board:
    return Board.model_validate_json(json.dumps(tomllib.loads((BOARDS / f"{name}.toml").read_text())))


def transfer(line: SerialLine, size: int, looks: list[float]) -> float:
    """Send `size` bytes through the line, looking at these intervals in turn; gives the time that it took."""
    now_s, sent, got, turn = 0.0, 0, 0, 0
    while got < size:
        lot = min(line.room(), size - sent)
        line.put(bytes(lot), now_s)
        sent += lot
        now_s += looks[turn % len(looks)]
        turn += 1
        count = len(line.due(now_s))
        line.taken(count)
        got += count
    return now_s


@pytest.mark.parametrize("baud", [9600, 115200, 921600])
@pytest.mark.parametrize("looks", [[0.0005], [0.001, 0.007, 0.0001], [0.01, 0.05]])
def test_the_rate_is_kept_however_late_one_looks(baud: int, looks: list[float]) -> None:
    size = baud // BITS_PER_BYTE * 4
    took_s = transfer(SerialLine(baud), size, looks)
    assert took_s == pytest.approx(4.0, rel=0.02)
    assert took_s >= 4.0 - 1e-6  # never faster than the line


def test_an_idle_line_gives_no_credit() -> None:
    line = SerialLine(9600)
    line.put(b"a", 0.0)
    line.taken(len(line.due(100.0)))
    line.put(b"b" * 10, 200.0)
    assert line.due(200.0) == b""
    assert len(line.due(200.0 + 5 * BITS_PER_BYTE / 9600)) == 5


def test_without_a_rate_all_is_there_at_once() -> None:
    line = SerialLine(None)
    line.put(b"abc", 5.0)
    assert line.due(5.0) == b"abc" and line.wait_s(5.0, 0.001) == 0.0
    line.taken(3)
    assert line.wait_s(5.0, 0.001) is None and line.room() == ROOM_BYTES


def test_another_rate_holds_for_what_is_on_its_way() -> None:
    line = SerialLine(300)
    line.put(bytes(100), 0.0)
    line.set_baud(None, 0.0)
    assert len(line.due(0.0)) == 100


@given(st.lists(st.tuples(st.binary(max_size=50), st.floats(0, 0.1)), max_size=50), st.sampled_from([None, 9600]))
def test_bytes_keep_their_order_and_number(lots: list[tuple[bytes, float]], baud: int | None) -> None:
    line, now_s, out = SerialLine(baud), 0.0, b""
    for data, pause_s in lots:
        line.put(data, now_s)
        now_s += pause_s
        due = line.due(now_s)
        line.taken(len(due))
        out += due
    assert out + line.due(1e9) == b"".join(data for data, _ in lots)


def count(size: int) -> bytes:
    return bytes(size)


@given(st.binary(max_size=100))
def test_uart_entropy_answers_each_byte_with_that_many(asked: bytes) -> None:
    assert len(UartEntropy(count).feed(asked)) == sum(asked)


def test_egd_as_qemu_speaks_it_in_any_pieces() -> None:
    port = EgdEntropy(lambda size: b"r" * size)
    assert port.feed(b"\x02") == b"" and port.feed(b"\x05") == b"rrrrr"
    assert port.feed(b"\x02\x03\x01\x02") == b"rrr\x02rr"
    assert port.feed(b"\x00") == POOL_BITS.to_bytes(4, "big")
    assert port.feed(b"\x7f") == b""
    assert port.feed(b"\x02\x00") == b""


def test_a_broken_source_is_silent() -> None:
    assert SilentEntropy().feed(b"\x20") == b""


def test_command_lines() -> None:
    fds = Connections(5, 6, 7)
    arm = command_line(machine_of(board("ast1030-evb")), "rom.elf", "f,1.bin", fds, "threads")
    assert arm[0] == "qemu-system-arm"
    assert "if=mtd,format=raw,file=f,,1.bin,aio=threads" in arm
    assert arm[arm.index("-kernel") + 1] == "rom.elf"
    assert [arm[at + 1] for at, word in enumerate(arm) if word == "-serial"] == ["chardev:uart0", "chardev:entropy"]
    riscv = command_line(machine_of(board("rv32-virt")), "rom.elf", "f.bin", fds, "threads")
    assert "if=pflash,unit=1,format=raw,file=f.bin,aio=threads" in riscv
    assert "rng-egd,id=rng0,chardev=entropy" in riscv and "-bios" in riscv


@pytest.mark.parametrize("name", ["ast1030-evb", "rv32-virt"])
def test_a_blank_chip_is_erased_but_for_its_id(name: str) -> None:
    design, chip = board(name), bytes(range(16))
    flash = blank_flash(design, chip)
    otp = design.flash.areas["otp"].offset
    assert len(flash) == design.flash.size
    assert flash[otp : otp + 24] == OTP_MAGIC + chip
    assert flash.count(0xFF) == len(flash) - 24


def test_create_is_whole_or_not_at_all_and_done_once(tmp_path: Path) -> None:
    design = board("ast1030-evb")
    first = create_twin(tmp_path / "deep" / "twins", "t-1", design)
    chip = first.read_settings().chip
    first.flash.write_bytes(b"used")
    again = create_twin(tmp_path / "deep" / "twins", "t-1", design)
    assert again.read_settings().chip == chip and again.flash.read_bytes() == b"used"
    assert twin_names(tmp_path / "deep" / "twins") == ["t-1"]
    assert sorted(path.name for path in first.path.parent.iterdir()) == ["t-1"]
    assert chip != create_twin(tmp_path / "deep" / "twins", "t-2", design).read_settings().chip
    with pytest.raises(UsageFault, match="is a ast1030-evb, not a rv32-virt"):
        create_twin(tmp_path / "deep" / "twins", "t-1", board("rv32-virt"))


@pytest.mark.parametrize("name", ["", "..", "a/b", "A", "a b", "x" * 64, "-a", "é", "a\n"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(UsageFault):
        check_name(name)


FULL = """
import json, resource, sys, tomllib
from pathlib import Path
from assay.drivers.twin.twin_folder import create_twin
from assay.errors import StorageError
from assay.model.board import Board
board = Board.model_validate_json(json.dumps(tomllib.loads(Path(sys.argv[2]).read_text())))
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # the disk takes 100 kB, and then no more
try:
    create_twin(Path(sys.argv[1]), "t", board)
except StorageError as error:
    print(error.message, "|", error.remedy)
"""


def test_a_disk_that_fills_up_leaves_nothing_half_made(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FULL, str(tmp_path / "twins"), str(BOARDS / "ast1030-evb.toml")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "cannot create twin 't'" in said and "make room on the disk" in said
    assert list((tmp_path / "twins").iterdir()) == []


def test_a_damaged_twin_json_says_so(tmp_path: Path) -> None:
    folder = create_twin(tmp_path, "t", board("ast1030-evb"))
    good = json.loads(folder.settings.read_text())
    for bad in ("{", "[]", '{"schema": "assay.twin/9"}', json.dumps({**good, "machine": {}}),
                json.dumps({**good, "profile": None}), json.dumps({**good, "profile": {"baud": "x"}}),
                json.dumps({key: value for key, value in good.items() if key != "chip"}),
                json.dumps({**good, "machine": {**good["machine"], "entropy": "dice"}})):  # fmt: skip
        folder.settings.write_text(bad)
        with pytest.raises((StorageError, UsageFault)):
            folder.read_settings()
    with pytest.raises(UsageFault, match="no twin named 'none'"):
        TwinFolder(tmp_path / "none").read_settings()


def test_a_machine_survives_twin_json() -> None:
    machine = machine_of(board("rv32-virt"))
    assert Machine.from_json(json.loads(json.dumps(machine.as_json()))) == machine


@pytest.mark.parametrize("baud", [1, 299, 10**9, -1])
def test_rates_that_no_port_has(baud: int) -> None:
    with pytest.raises(UsageFault):
        WireProfile(baud=baud)
    assert WireProfile().with_baud(0).baud is None
