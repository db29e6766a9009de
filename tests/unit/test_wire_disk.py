# SPDX-License-Identifier: Apache-2.0
"""The wire of a board whose flash is a disk: the power goes when the disk is asked for a flush."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from pseudo_twin import port, read_line, twin_on_pseudo_qemu, wait_until

from assay.drivers.twin.lifecycle import start_twin
from assay.drivers.twin.twin_folder import TwinFolder
from assay.errors import UsageFault


@pytest.fixture(params=["linux-arm64"])
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[TwinFolder]:
    yield from twin_on_pseudo_qemu(tmp_path, request.param)


def test_a_cut_at_a_flush_of_the_disk(folder: TwinFolder) -> None:
    twin = start_twin(folder, owner_pid=os.getpid())
    with port(twin) as fd:
        assert read_line(fd) == b"BOOT 0\r\n"
        twin.control.cut_at_flush(2, 7)
        os.write(fd, b"!keep\n")
        assert read_line(fd) == b"kept\r\n"
        assert twin.power.is_on()
        os.write(fd, b"!keep\n")
        wait_until(lambda: not twin.power.is_on())
        assert "unflushed sectors lost, seed 7, after 1 flushes" in folder.wire_log.read_text()


def test_an_order_is_for_one_run_of_the_machine(folder: TwinFolder) -> None:
    twin = start_twin(folder, owner_pid=os.getpid())
    twin.control.cut_at_flush(1, 7)
    twin.power.cycle()
    with port(twin) as fd:
        os.write(fd, b"!keep\n")
        while read_line(fd) != b"kept\r\n":
            pass
    assert twin.power.is_on()


@pytest.mark.parametrize(("number", "seed"), [(-1, 0), (1 << 40, 0), (1, -1), (1, 1 << 70)])
def test_an_order_that_cannot_be_is_refused(folder: TwinFolder, number: int, seed: int) -> None:
    with pytest.raises(UsageFault, match="a cut at flush"):
        start_twin(folder, owner_pid=os.getpid()).control.cut_at_flush(number, seed)


@pytest.mark.parametrize("folder", ["ast1030-evb"], indirect=True)
def test_what_has_no_disk_is_not_cut_at_a_flush(folder: TwinFolder) -> None:
    with pytest.raises(UsageFault, match="has no disk"):
        start_twin(folder, owner_pid=os.getpid()).control.cut_at_flush(1, 0)


def test_a_machine_that_is_off_is_not_cut_at_a_flush(folder: TwinFolder) -> None:
    twin = start_twin(folder, owner_pid=os.getpid(), power=False)
    with pytest.raises(UsageFault, match="has no disk that is written to"):
        twin.control.cut_at_flush(1, 0)


def test_a_disk_that_dies_is_no_cut_that_was_ordered(folder: TwinFolder) -> None:
    twin = start_twin(folder, owner_pid=os.getpid())
    with port(twin) as fd:
        assert read_line(fd) == b"BOOT 0\r\n"
        os.kill(disk_of(folder), signal.SIGKILL)
        wait_until(lambda: not twin.power.is_on())
    assert "QEMU ended with" in folder.wire_log.read_text()


def disk_of(folder: TwinFolder) -> int:
    """The process of the twin's disk."""
    words = (b"assay.drivers.twin.volatile_disk", os.fsencode(folder.flash))
    for each in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if set(words) <= set((each / "cmdline").read_bytes().split(b"\0")):
                return int(each.name)
    raise AssertionError("the twin has no disk")
