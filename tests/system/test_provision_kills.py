# SPDX-License-Identifier: Apache-2.0
"""A sample of the kill campaign, with a fixed seed; `kill_campaign.py` runs hundreds."""

from __future__ import annotations

from pathlib import Path

import pytest
from kill_campaign import Turn, disturb, turns

SAMPLE = turns(10, 20261123, 1.0)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("turn", SAMPLE, ids=lambda turn: f"{turn.verb}-{turn.what}-{turn.moment_s:.2f}s")
def test_the_next_run_finishes(turn: Turn, tmp_path: Path) -> None:
    disturb(tmp_path / "site", "ast1030-evb", turn)
