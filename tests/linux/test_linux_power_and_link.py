# SPDX-License-Identifier: Apache-2.0
"""What is cut while RAUC installs on a Linux module; and the history of all that was done to the unit before."""

from __future__ import annotations

from pathlib import Path

import pytest
from cut_campaign import UPDATE_TIMEOUT_S, stop
from linux_site import good, start
from linux_unit import (
    TWIN,
    forget_other_slot,
    other_version,
    rauc_installs,
    relayed,
    runs,
    unit_host,
    update,
    update_words,
    wait_until,
)


def test_the_power_goes_while_rauc_installs(unit: str, trust: Path) -> None:
    """All is uploaded and not installed: the same command installs it."""
    wanted = other_version(runs(trust)[0])
    forget_other_slot()
    with unit_host() as host:
        process = start(*update_words(wanted, trust))
        wait_until(lambda: rauc_installs(host), UPDATE_TIMEOUT_S, "RAUC does not install")
        stop(process)
    good("twin", "power", "on", TWIN)
    answer = update(wanted, trust)
    assert answer.status == 0, answer
    assert runs(trust) == (wanted, "confirmed")


def test_the_link_is_cut_while_rauc_installs(unit: str, trust: Path) -> None:
    """The last answer is lost with it: it is not waited for, and nobody disturbs RAUC."""
    wanted = other_version(runs(trust)[0])
    forget_other_slot()
    with unit_host() as host, relayed(()) as relay:
        process = start(*update_words(wanted, trust))
        wait_until(lambda: rauc_installs(host), UPDATE_TIMEOUT_S, "RAUC does not install")
        relay.cut_now()
        _, words = process.communicate(timeout=UPDATE_TIMEOUT_S)
    assert process.returncode == 0, words
    assert runs(trust) == (wanted, "confirmed")


@pytest.mark.sampled
def test_the_history_verifies(unit: str, trust: Path) -> None:
    found = good("trace", unit, "--trust", str(trust))
    assert found["broken"] == []
    assert found["links"] >= 6
