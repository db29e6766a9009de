# SPDX-License-Identifier: Apache-2.0
"""The pipelines of the project, as values: what each of them has to keep to."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

PIPELINES = sorted((Path(__file__).parents[2] / "pipelines").glob("*.toml"))
ON_A_UNIT = ("test", "update", "evidence", "flash")


@pytest.mark.parametrize("file", PIPELINES, ids=lambda file: file.stem)
def test_what_follows_provisioning_names_the_unit_that_it_is_about(file: Path) -> None:
    """A board that is changed in the middle of a pipeline is refused, and not taken for the one before."""
    serial, named = "", 0
    for step in tomllib.loads(file.read_text())["steps"]:
        if serial and step["run"][0] in ON_A_UNIT:
            assert step["run"][step["run"].index("--serial") + 1] == serial, step["name"]
            named += 1
        serial = next((f"{{{name}}}" for name, path in step.get("capture", {}).items() if path == "serial"), serial)
    assert named or not serial
