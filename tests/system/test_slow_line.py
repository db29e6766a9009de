# SPDX-License-Identifier: Apache-2.0
"""A line that is slower than its port says, or goes a long way: the answer comes when the first tries are over."""

from __future__ import annotations

from pathlib import Path

import pytest
from life_site import unit_site

from assay.backends.clocks.system_clock import SystemClock
from assay.interfaces.device import DeviceInfo
from assay.pipeline.places import open_place, what_answers
from assay.pipeline.site import Site
from assay.stages.provisioning.firmware import wait_up

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize("baud", [19_200, 9_600])
def test_a_unit_is_found(tmp_path: Path, baud: int) -> None:
    """Questions at the pace of the port would come faster than the line takes the answers, and each would be late."""
    made = unit_site("ast1030-evb", tmp_path / "site")
    made.good("twin", "start", "a", "--baud", str(baud))
    try:
        made.good("twin", "power", "off", "a")
        with open_place(Site(made.folder), "a", verb="test") as place:
            found = what_answers(place)
            again = wait_up(place.device, SystemClock())
    finally:
        made.verb("twin", "stop", "a", "--force")
    assert isinstance(found, DeviceInfo) and found.serial == again.serial == "DEMO-000001"
