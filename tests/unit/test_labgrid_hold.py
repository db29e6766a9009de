# SPDX-License-Identifier: Apache-2.0
"""The file by which holds of labgrid places of one host follow each other, whoever's they are."""

from __future__ import annotations

import os
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from assay.drivers.labgrid.hold import _wait_for_guard
from assay.model.bench import LabgridPlace

PLACE = LabgridPlace(place="desk")
NOBODY = 65534


@pytest.fixture
def locks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that every user of the host can reach, as /run/lock is."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        monkeypatch.setenv("ASSAY_LOCK_DIR", f"{made}/locks")
        yield Path(made) / "locks"


def test_the_file_is_for_all_users_of_the_host(locks: Path) -> None:
    before = os.umask(0o077)
    try:
        os.close(_wait_for_guard(PLACE, 0.0))
    finally:
        os.umask(before)
    (file,) = locks.glob("*.labgrid")
    assert stat.S_IMODE(file.stat().st_mode) == 0o666
    assert stat.S_IMODE(locks.stat().st_mode) == 0o1777


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
def test_the_second_user_of_a_host_holds_it_after_the_first(locks: Path) -> None:
    """The kernel forbids O_CREAT on somebody else's file in a folder like that (fs.protected_regular)."""
    os.close(_wait_for_guard(PLACE, 0.0))
    child = os.fork()
    if child == 0:
        os.setuid(NOBODY)
        status = 1
        try:
            os.close(_wait_for_guard(PLACE, time.monotonic()))
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
