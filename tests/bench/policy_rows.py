# SPDX-License-Identifier: Apache-2.0
"""Rows about policy: decisions of this project's own pack, by both CEL engines."""

from __future__ import annotations

import sys
from pathlib import Path

from measuring import in_turn, row

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from policy_sample import POLICIES, SecondEngine, facts

from assay.pipeline.policy_files import load_pack, policy_engine
from assay.stages.policy.decide import decide

COUNT = 100
"""Decisions in one measurement."""


def decisions(rounds: int) -> None:
    """Row: decisions for each second, facts hashed and all, against the same with an engine that compiles each time."""
    ours, other = policy_engine(), SecondEngine()
    pack = load_pack(POLICIES / "production.toml", ours)
    about = facts()

    def by(engine: object) -> None:
        for _ in range(COUNT):
            decide(pack.pack, pack.sha256, about, engine)  # type: ignore[arg-type]

    taken = in_turn(rounds, ours=lambda: by(ours), other=lambda: by(other))
    rate = {name: COUNT / taken_s for name, taken_s in taken.items()}
    what = f"policy decisions a second, {len(pack.pack.checks)} checks"
    row(what, f"{rate['ours']:.0f}", f"{rate['other']:.0f} ({SecondEngine.name})", rate["ours"] / rate["other"])
