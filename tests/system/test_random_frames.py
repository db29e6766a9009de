# SPDX-License-Identifier: Apache-2.0
"""A sample of `nox -s frames`: frames that nobody should send, into the client and into the firmware."""

from __future__ import annotations

import pytest
from random_frames import into_client, into_device


@pytest.mark.parametrize("seed", [1, 2])
def test_the_client_stays_well(seed: int) -> None:
    fates = into_client(3000, seed)
    assert fates["dropped"] > 500 and fates["no answer"] > 500


@pytest.mark.parametrize("board", ["ast1030-evb", "rv32-virt"])
def test_the_device_stays_well(board: str) -> None:
    fates = into_device(board, 1000, 3)
    assert fates["frames"] == 1000 and fates["bad frames"] > 100
