# SPDX-License-Identifier: Apache-2.0
"""Uploads to somebody's server, beside smpclient: as few frames, as few bytes, and no frame that it has no room for.

What is counted does not depend on how busy the machine is; seconds are in `nox -s bench`.
"""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from smpclient import SMPClient
from smpclient.transport.serial import SMPSerialTransport

from assay.drivers.mcumgr.device import open_device

IMAGE = bytes(range(256)) * 80
SERVERS = {"does not tell": (0, 1), "one small buffer": (256, 1), "two": (384, 2), "four of 1 KB": (1024, 4)}
MORE_FRAMES = 2
"""The question that asks where to go on, and with buffers of 1 KB a short frame that shows how fast the line is."""
QUESTION_BYTES_ON_LINE = 180
"""Of that question: 112 bytes of frame, in console framing."""


def ours(port: str) -> None:
    device = open_device(port, framing="console")
    try:
        device.upload(IMAGE, hashlib.sha256(IMAGE).digest())
    finally:
        device.close()


def smpclients(port: str) -> None:
    async def upload() -> None:
        async with SMPClient(SMPSerialTransport(), port) as client:
            async for _ in client.upload(IMAGE):
                pass

    asyncio.run(upload())


def served(buf_size: int, buf_count: int, upload: Callable[[str], None]) -> tuple[int, int]:
    """Upload frames and bytes on the line that a server took until it had the image."""
    script = Path(__file__).with_name("foreign_server.py")
    command = [sys.executable, str(script), str(buf_size), str(buf_count), "0"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        upload(server.stdout.readline().strip())
        told, _ = server.communicate(timeout=200)
    frames, on_line, reached = map(int, told.split())
    assert reached == len(IMAGE)
    return frames, on_line


@pytest.mark.parametrize("server", SERVERS)
def test_never_slower_than_smpclient(server: str) -> None:
    our_frames, our_bytes = served(*SERVERS[server], ours)
    frames, on_line = served(*SERVERS[server], smpclients)
    assert our_frames <= frames + MORE_FRAMES
    assert our_bytes <= on_line + QUESTION_BYTES_ON_LINE
