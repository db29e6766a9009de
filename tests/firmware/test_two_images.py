# SPDX-License-Identifier: Apache-2.0
"""App and radio updated together on each emulated board, over SMP by a client that is not ours (`smpclient`)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import serial
from qemu_board import QemuBoard, wait_for
from raw_smp import RawSmp
from signed_build import Workshop
from smpclient import SMPClient
from smpclient.generics import success
from smpclient.requests.image_management import ImageStatesRead, ImageStatesWrite
from smpclient.transport.serial import SMPSerialTransport

READY = "selftest=(pass|fail).*\n"
ASSAY_MEASURE, RADIO_PRIMARY = 3, 3

State = dict[tuple[int, int], Any]


@pytest.fixture
def board(workshop: Workshop, tmp_path: Path) -> Iterator[QemuBoard]:
    """A unit with app 1.0.0 and radio 1.1.0."""
    made = QemuBoard(workshop.toml, workshop.build("rom") / "part.elf", tmp_path)
    old = {"primary": workshop.app("1.0.0"), "radio_primary": workshop.radio("1.1.0")}
    made.program({"boot": workshop.bootloader(), **old})
    made.on()
    yield made
    made.close()


def wait(board: QemuBoard) -> None:
    with serial.Serial(board.port, 115200, timeout=0.05) as link:
        wait_for(link, READY)


def talk(board: QemuBoard, *requests: Any, uploads: tuple[bytes, ...] = ()) -> State:
    """Uploads (as image 0, 1, ...), then requests, then the state: (image, slot) to what the device says."""

    async def session() -> Any:
        async with SMPClient(SMPSerialTransport(), board.port) as client:
            for number, image in enumerate(uploads):
                async for offset in client.upload(image, slot=number):
                    reached = offset
                assert reached == len(image)
            for request in requests:
                assert success(await client.request(request))
            return await client.request(ImageStatesRead())

    answer = asyncio.run(session())
    return {(slot.image, slot.slot): slot for slot in answer.images}


def versions(state: State) -> tuple[str, str]:
    return state[0, 0].version, state[1, 0].version


@pytest.mark.timeout(120)
def test_both_or_none(board: QemuBoard, workshop: Workshop) -> None:
    wait(board)
    state = talk(board, uploads=(workshop.app("1.1.0"), workshop.radio("1.2.0")))
    assert versions(state) == ("1.0.0", "1.1.0")
    assert (state[0, 1].version, state[1, 1].version) == ("1.1.0", "1.2.0")
    app, radio = (ImageStatesWrite(hash=state[number, 1].hash, confirm=False) for number in (0, 1))

    talk(board, app)
    board.cycle()  # the power goes between the two requests
    wait(board)
    state = talk(board)
    assert versions(state) == ("1.0.0", "1.1.0")
    assert state[0, 1].pending

    talk(board, radio)
    board.cycle()
    wait(board)
    state = talk(board)
    assert versions(state) == ("1.1.0", "1.2.0")
    assert not state[0, 0].confirmed
    assert not state[1, 0].confirmed

    board.cycle()  # not confirmed: both go back
    wait(board)
    assert versions(talk(board)) == ("1.0.0", "1.1.0")

    talk(board, app, radio)
    board.cycle()
    wait(board)
    state = talk(board, ImageStatesWrite(confirm=True))
    assert state[0, 0].confirmed
    assert state[1, 0].confirmed
    board.cycle()
    wait(board)
    state = talk(board)
    assert versions(state) == ("1.1.0", "1.2.0")
    with serial.Serial(board.port, 115200, timeout=0.05) as link:
        measured = RawSmp(link).read(ASSAY_MEASURE, {"slot": RADIO_PRIMARY})
    assert measured["hash"] == state[1, 0].hash
    assert board.oracle_hits() == []
