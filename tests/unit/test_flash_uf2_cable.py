# SPDX-License-Identifier: Apache-2.0
"""The cable of a UF2 volume is pulled during the copy: told apart from a bootloader that has all and restarts."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from flash_project import FlashProject
from test_flash_uf2 import FLASHER
from uf2_bootloader import INFO

from assay.drivers.flash import uf2_volume

BLOCKS = 200
"""Of 256 bytes: the file of 512 a block has 102,400 bytes, so four pieces of which the last is short."""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FlashProject:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CI", "1")
    (tmp_path / "volume").mkdir()
    (tmp_path / "volume" / "INFO_UF2.TXT").write_text(INFO.format(board="RPI-RP2"))
    return FlashProject(tmp_path, FLASHER, f'flash = {{ uf2 = "{tmp_path / "volume"}" }}')


def goes_away(volume: Path, monkeypatch: pytest.MonkeyPatch, when: Callable[[int], bool]) -> None:
    """A mock of the device's end: the disk is gone, and says EIO, when the file has `when` bytes."""
    real = os.fsync

    def sync(descriptor: int) -> None:
        file = Path(f"/proc/self/fd/{descriptor}").resolve()
        if file.parent == volume and when(file.stat().st_size):
            (volume / "INFO_UF2.TXT").unlink(missing_ok=True)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", sync)


def flash(project: FlashProject) -> tuple[int, dict[str, object]]:
    return project.flash("--image", project.file("app.bin", bytes(BLOCKS * 256)))


@pytest.mark.parametrize("at", [1, 40_000, BLOCKS * 512 - uf2_volume.LAST_BYTES])
def test_a_cable_that_is_pulled_in_the_middle_is_no_pass(
    project: FlashProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    goes_away(tmp_path / "volume", monkeypatch, lambda size: size >= at)
    status, done = flash(project)
    assert status == 3 and "went away when it had" in str(done["error"]), done
    assert "of 102400 bytes" in str(done["error"]) and done.get("record") is None


def test_a_board_that_restarts_with_its_last_block_is_taken_at_its_word(
    project: FlashProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_away(tmp_path / "volume", monkeypatch, lambda size: size == BLOCKS * 512)
    status, done = flash(project)
    assert (status, done["outcome"]) == (0, "PASS"), done
