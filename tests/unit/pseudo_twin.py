# SPDX-License-Identifier: Apache-2.0
"""A twin whose QEMU is `pseudo_qemu`, and its port."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from assay.drivers.twin.control import TwinControl
from assay.drivers.twin.lifecycle import Twin
from assay.drivers.twin.linux_disk import make_outfit
from assay.drivers.twin.twin_folder import TwinFolder, create_twin
from assay.pipeline.manifest_files import load_board

PSEUDO_QEMU = str(Path(__file__).with_name("pseudo_qemu.py"))
BOARDS = Path(__file__).parents[2] / "boards"


def wait_until(condition: Callable[[], bool], timeout_s: float = 60.0) -> float:
    begun_s = time.monotonic()
    while not condition():
        assert time.monotonic() - begun_s < timeout_s, "waited in vain"
        time.sleep(0.005)
    return time.monotonic() - begun_s


def twin_on_pseudo_qemu(tmp_path: Path, board: str) -> Iterator[TwinFolder]:
    """For a fixture: it is stopped afterwards."""
    made = create_twin(
        tmp_path / "twins", "t", load_board(BOARDS / f"{board}.toml"), outfit=lambda: make_outfit(b"pem")
    )
    machine = replace(made.read_settings().machine, qemu=PSEUDO_QEMU)
    rom = tmp_path / "rom.elf"
    rom.write_bytes(b"rom")
    made.write_settings(replace(made.read_settings(), machine=machine, rom=str(rom)))
    yield made
    TwinControl(made).stop()


@contextlib.contextmanager
def port(twin: Twin) -> Iterator[int]:
    fd = os.open(twin.tty, os.O_RDWR | os.O_NOCTTY)
    try:
        yield fd
    finally:
        os.close(fd)


def read_line(fd: int) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        line += os.read(fd, 1)
    return line
