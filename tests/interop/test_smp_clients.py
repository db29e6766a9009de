# SPDX-License-Identifier: Apache-2.0
"""Our firmware in the hands of SMP clients that share no code with `smpclient` or with ours: `mcumgr-toolkit` and
`mcumgr-client`, both written in Rust, on each emulated board.

`mcumgr-client` speaks SMP version 1 on console framing; `mcumgr-toolkit` speaks version 2, on console and raw framing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import serial

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "firmware" / "tests"))

from qemu_board import QemuBoard, wait_for
from signed_build import Workshop

HERE = "they are installed by nox -s interop"
toolkit = pytest.importorskip("mcumgr_toolkit", reason=HERE)
mcumgr_client = pytest.importorskip("mcumgr_client", reason=HERE)

pytestmark = pytest.mark.timeout(600)
READY = "selftest=(pass|fail).*\n"
TIMEOUT_MS = 10_000  # a busy machine; a client that asks again too early takes one answer for another
BAUD = 115_200
NOT_THERE = "MGMT_ERR_ENOTSUP"
OLD, NEW = "1.0.0", "1.1.0"


@dataclass
class Unit:
    """A board that runs `old`, and the two images."""

    board: QemuBoard
    old: bytes
    new: Path

    def settle(self) -> None:
        """Waits for the app, and reads away what it says, which these clients take for frames that are bad."""
        with serial.Serial(self.board.port, BAUD, timeout=0.05) as link:
            wait_for(link, READY, 100)


@pytest.fixture(scope="module", params=["ast1030-evb", "rv32-virt"])
def parts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    assert request.config.cache is not None
    return Workshop(request.param, tmp_path_factory.mktemp(request.param), Path(request.config.cache.mkdir("firmware")))


@pytest.fixture
def unit(parts: Workshop, tmp_path: Path) -> Iterator[Unit]:
    board = QemuBoard(parts.toml, parts.build("rom") / "part.elf", tmp_path)
    old, new = parts.app(OLD), tmp_path / "new.bin"
    new.write_bytes(parts.app(NEW, counter="2"))
    board.program({"boot": parts.bootloader(), "primary": old})
    board.on()
    made = Unit(board, old, new)
    made.settle()
    yield made
    board.close()


def refusal(ask: Callable[[], Any]) -> str:
    with pytest.raises(RuntimeError) as told:
        ask()
    return str(told.value)


def states(client: Any) -> list[tuple[int, str, bool, bool, bool]]:
    """Slot, version, pending, confirmed, active."""
    return [(it.slot, it.version, it.pending, it.confirmed, it.active) for it in client.image_get_state()]


def ask_for_what_is_not_there(client: Any) -> None:
    """Groups and commands that Zephyr has and this firmware has not: each is answered as Zephyr answers it."""
    absent = {
        "task statistics": client.os_task_statistics,
        "clock": client.os_get_datetime,
        "application info": client.os_application_info,
        "bootloader info": client.os_bootloader_info,
        "slot info": client.image_slot_info,
        "statistics": client.stats_list_groups,
        "settings": client.settings_load,
        "files": lambda: client.fs_file_status("/a"),
        "shell": lambda: client.shell_execute(["help"]),
        "groups": client.enum_get_group_count,
        "storage": client.zephyr_erase_storage,
        "group 64": lambda: client.raw_command(False, 64, 0, {}),
    }
    assert {name: NOT_THERE in refusal(ask) for name, ask in absent.items()} == dict.fromkeys(absent, True)


def ask_for_what_is_refused(client: Any, new: bytes) -> None:
    """Our numbers arrive in group 0x4153 (16723)."""
    refused: dict[str, tuple[Callable[[], Any], int]] = {
        "no image": (lambda: client.image_upload(bytes(3000)), 14),
        "shorter than it says": (lambda: client.image_upload(new[:-10]), 20),
        "no such image": (lambda: client.image_set_state(bytes(32)), 7),
        "what runs": (lambda: client.image_erase(0), 9),
        "no such slot": (lambda: client.image_erase(5), 2),
    }
    for name, (ask, number) in refused.items():
        assert f"group=16723,rc={number}\n" in refusal(ask) + "\n", name


@pytest.mark.parametrize("framing", ["serial", "raw_serial"])
def test_mcumgr_toolkit_leads_an_update(unit: Unit, framing: str) -> None:
    client = getattr(toolkit.MCUmgrClient, framing)(unit.board.port, BAUD, TIMEOUT_MS)
    new = unit.new.read_bytes()
    assert client.os_echo("hällo " * 300) == "hällo " * 300
    said = client.os_mcumgr_parameters()
    assert (said.buf_size, said.buf_count) == (6144, 3)
    client.use_auto_frame_size()
    ask_for_what_is_not_there(client)
    ask_for_what_is_refused(client, new)
    assert states(client) == [(0, OLD, False, True, True)]

    client.firmware_update(new, bootloader_type="MCUboot")  # uploads, asks for a test, resets
    unit.settle()
    assert states(client) == [(0, NEW, False, False, True), (1, OLD, False, True, False)]
    for ask in (client.image_erase, lambda: client.image_upload(unit.old)):
        assert "group=16723,rc=16" in refusal(ask)  # busy: the other slot is the way back
    client.os_system_reset()
    unit.settle()
    assert states(client) == [(0, OLD, False, True, True), (1, NEW, False, False, False)]

    client.firmware_update(new, bootloader_type="MCUboot", force_confirm=True)
    unit.settle()
    assert states(client) == [(0, NEW, False, True, True), (1, OLD, False, False, False)]
    assert "group=16723,rc=13" in refusal(lambda: client.image_upload(unit.old))
    assert "already running" in refusal(lambda: client.firmware_update(new, bootloader_type="MCUboot"))


def listed(session: Any) -> list[tuple[int, str, bool, bool, bool]]:
    names = ("slot", "version", "pending", "confirmed", "active")
    return [tuple(it[name] for name in names) for it in session.list()]


def test_mcumgr_client_leads_an_update(unit: Unit, tmp_path: Path) -> None:
    session = mcumgr_client.SerialSession(
        device=unit.board.port, baudrate=BAUD, initial_timeout_s=30, subsequent_timeout_ms=TIMEOUT_MS
    )
    cut = tmp_path / "cut.bin"
    cut.write_bytes(unit.new.read_bytes()[:-10])
    assert "rc = " in refusal(lambda: session.upload(str(cut)))
    session.upload(str(unit.new))
    image = session.list()[1]["hash"]
    assert "Error from device: 5" in refusal(lambda: session.test([0] * 32))  # ENOENT, in version 1's own words
    session.test(image)
    assert listed(session) == [(0, OLD, False, True, True), (1, NEW, True, False, False)]
    session.reset()
    unit.settle()
    assert listed(session) == [(0, NEW, False, False, True), (1, OLD, False, True, False)]
    assert "Error from device: 10" in refusal(session.erase)  # EBUSY
    session.test(image, True)
    session.erase()
    assert listed(session) == [(0, NEW, False, True, True)]
