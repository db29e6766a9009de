# SPDX-License-Identifier: Apache-2.0
"""Rows about the line: how much of it an upload fills, by our client and by smpclient, on the same throttled wire."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import measuring
from measuring import Call, row, seconds
from smpclient import SMPClient
from smpclient.transport.serial import SMPSerialRawTransport, SMPSerialTransport
from twin_firmware import Firmware, firmware_for, large_app

from assay.drivers.mcumgr.device import open_device, over_transport
from assay.drivers.rom_loader import XmodemRomLoader
from assay.drivers.serial_transport import open_serial
from assay.drivers.twin.lifecycle import Twin, running_twin
from assay.drivers.twin.twin_folder import create_twin
from assay.interfaces.device import Stage

SIZES = {115_200: 150_000, 921_600: 300_000}
"""bit/s of the wire: bytes of the image, so that both take some seconds."""
SPARE = 0x4000
"""Bytes of a slot that are left for the rest of the image, beside the sector of its trailer."""
BITS_A_BYTE = 10
READY_S = 20.0
FOREIGN = {"no parameters command": (0, 1), "one buffer of 256": (256, 1), "one buffer of 1024": (1024, 1)}
FOREIGN_SIZE = 30_000


@contextlib.contextmanager
def unit() -> Iterator[tuple[Firmware, Twin]]:
    """A running twin with the app 1.0.0."""
    firmware = firmware_for(measuring.board)
    with tempfile.TemporaryDirectory() as folder:
        twin_folder = create_twin(Path(folder) / "twins", "bench", firmware.board)
        with running_twin(twin_folder, firmware.rom) as twin:
            _make_unit(firmware, twin)
            yield firmware, twin


def _make_unit(firmware: Firmware, twin: Twin) -> None:
    transport = open_serial(twin.tty)
    XmodemRomLoader(transport).wait_banner(READY_S)
    XmodemRomLoader(transport).send(firmware.bootloader)
    device = over_transport(transport, 115_200, "auto")
    device.wait_ready(Stage.BOOT, READY_S)
    device.upload(firmware.apps["1.0.0"], hashlib.sha256(firmware.apps["1.0.0"]).digest())
    device.reset()
    device.wait_ready(Stage.APP, READY_S)
    device.close()


def upload_ours(port: str, image: bytes, baud: int, framing: str) -> None:
    """Upload by assay's client."""
    device = open_device(port, baud, framing)
    try:
        device.upload(image, hashlib.sha256(image).digest())
    finally:
        device.close()


def upload_smpclient(port: str, image: bytes, framing: str) -> None:
    """Upload by smpclient with its largest frames for this server."""

    async def upload() -> None:
        transport = SMPSerialRawTransport() if framing == "raw" else SMPSerialTransport()
        async with SMPClient(transport, port) as client:
            async for _ in client.upload(image):
                pass

    asyncio.run(upload())


def erase(twin: Twin) -> None:
    """Empty the secondary slot, so that no client finds the image there already."""
    device = open_device(twin.tty)
    try:
        device.erase()
    finally:
        device.close()


def line_filled(tries: int) -> None:
    """Rows: percent of the line, both rates, both framings; the best of `tries` each."""
    with unit() as (firmware, twin):
        board = firmware.board
        room = min(board.flash.areas[slot].size for slot in ("primary", "secondary")) - board.flash.erase_size - SPARE
        for baud, size in SIZES.items():
            image = large_app(measuring.board, min(size, room))
            twin.control.set_baud(baud)
            for framing in ("raw", "console"):
                calls = {
                    "ours": lambda: upload_ours(twin.tty, image, baud, framing),  # noqa: B023 (called at once)
                    "smpclient": lambda: upload_smpclient(twin.tty, image, framing),  # noqa: B023
                }
                best = {name: _best(twin, call, tries if baud > 500_000 else 1) for name, call in calls.items()}
                filled = {name: len(image) * BITS_A_BYTE / best[name] / baud for name in best}
                what = f"of the line at {baud} baud, {framing} framing"
                theirs = f"{filled['smpclient']:.1%} (smpclient)"
                row(what, f"{filled['ours']:.1%}", theirs, best["smpclient"] / best["ours"])


def _best(twin: Twin, call: Call, tries: int) -> float:
    taken = []
    for _ in range(tries):
        erase(twin)
        taken.append(seconds(call))
    return min(taken)


@contextlib.contextmanager
def foreign_server(buf_size: int, buf_count: int, baud: int) -> Iterator[str]:
    """The port of somebody's server that runs until the end of the block."""
    script = Path(__file__).parents[1] / "system" / "foreign_server.py"
    command = [sys.executable, str(script), str(buf_size), str(buf_count), str(baud)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        server.communicate()  # it counts at its end, and has to be heard


def somebodys_servers() -> None:
    """Rows: seconds on servers that take one frame at a time."""
    image = bytes(range(256)) * (FOREIGN_SIZE // 256)
    for what, (buf_size, buf_count) in FOREIGN.items():
        taken = {}
        for name, call in (("ours", upload_ours), ("smpclient", upload_smpclient)):
            with foreign_server(buf_size, buf_count, 115_200) as port:
                more = (115_200, "console") if name == "ours" else ("console",)
                taken[name] = seconds(lambda call=call, port=port, more=more: call(port, image, *more))  # type: ignore[misc]
        theirs = f"{taken['smpclient']:.2f} s (smpclient)"
        row(
            f"{len(image)} bytes to a server, {what}",
            f"{taken['ours']:.2f} s",
            theirs,
            taken["smpclient"] / taken["ours"],
        )
