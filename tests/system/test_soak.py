# SPDX-License-Identifier: Apache-2.0
"""A sample of `nox -s soak`: some updates in a row on one unit, disturbed at random."""

from __future__ import annotations

from pathlib import Path

import pytest
from soak import Soak

UPDATES = 5


@pytest.mark.timeout(400)
@pytest.mark.parametrize(("board", "seed"), [("ast1030-evb", 4), ("rv32-virt", 9)])
def test_a_row_of_updates_without_a_wrong_outcome(board: str, seed: int, tmp_path: Path) -> None:
    soak = Soak(board, seed, tmp_path / "site")
    soak.run(UPDATES)
    assert soak.tried.total() == UPDATES and not soak.wrong, soak.wrong
