# SPDX-License-Identifier: Apache-2.0
"""A decision counts for what it is about: one about another release, or at another point, is none for what was done."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from made_site import SERIAL, MadeSite
from test_policy_trace import PACK, adopt_pack, ask
from traced_site import reopened, run

from assay.model.policy import Point


@pytest.fixture
def made(finished_copy: Path) -> MadeSite:
    return reopened(finished_copy)


def test_a_decision_about_another_release_is_none(made: MadeSite) -> None:
    """The pack refuses 1.2.0: the record names what it said about 1.0.0."""
    unit = made.unit(SERIAL, 1)
    adopt_pack(made)
    made.policy = ask(made, unit, "demo-sensor@1.0.0")
    made.update(unit, "demo-sensor@1.1.0", "demo-sensor@1.2.0")
    result = run(made.folder.parent)
    assert result.exit_code == 4, result.output
    assert "policy 'strict' had been adopted, and was not asked about the file" in result.stdout


def test_a_decision_at_another_point_is_none(made: MadeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    unit = made.unit(SERIAL, 1)
    monkeypatch.setattr("test_policy_trace.PACK", PACK.replace('["install"]', '["install", "flash"]'))
    adopt_pack(made)
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("test_policy_trace.Point", SimpleNamespace(INSTALL=Point.FLASH))
        made.policy = ask(made, unit, "demo-sensor@1.0.0")
    made.update(unit, "demo-sensor@1.1.0", "demo-sensor@1.0.0")
    result = run(made.folder.parent)
    assert result.exit_code == 4, result.output
    assert "was not asked about the file" in result.stdout
