# SPDX-License-Identifier: Apache-2.0
"""App and radio by one update: both come in, both go back, and no kill and no cut leaves one of each."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from life_site import BAD_REASON, BAD_VERSION, LifeSite, two_image_site
from test_update import predicate, runs, start, wait_for_step

from assay.drivers.mcumgr.device import open_device
from assay.interfaces.device import Stage
from assay.stages.field import radio as radios

pytestmark = pytest.mark.timeout(400)
RADIO = "demo-radio"


@pytest.fixture(params=["ast1030-evb", "rv32-virt"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> LifeSite:
    """A unit that has app and radio 1.0.0."""
    site = two_image_site(request.param, tmp_path / "site")
    told = site.good(*line(site, "1.0.0", "1.0.0"))
    steps = [step["action"] for step in told["plan"]["steps"]]
    assert steps == ["upload-radio", "mark-for-test", "reset", "health-check", "confirm"], "the app is there"
    return site


def line(site: LifeSite, version: str, radio: str, *more: str | Path) -> tuple[str | Path, ...]:
    return site.update_line(version, "a", "--radio", f"{RADIO}@{radio}", *more)


def radio_hash(site: LifeSite) -> str:
    """What the radio's slot holds, asked over the port and not by the verb."""
    site.good("twin", "start", "a")
    try:
        device = open_device(str(site.folder / "twins" / "a" / "tty"))
        device.wait_ready(Stage.APP, 20)
        held = radios.held(device, radios.PRIMARY_SLOT).hex()
        device.close()
    finally:
        site.good("twin", "stop", "a", "--force")
    return held


def test_both_come_in_and_both_go_back(site: LifeSite) -> None:
    before = radio_hash(site)
    bad = site.verb(*line(site, BAD_VERSION, "1.1.0"))
    assert (bad.status, bad.data["outcome"], bad.data["after"]["version"]) == (1, "FAIL", "1.0.0"), bad.said
    assert BAD_REASON in bad.data["device_reason"]
    said = predicate(site, bad.data["record"])["radio"]
    assert (said["before"], said["after"], said["how"]) == (before, before, "recomputed")
    assert radio_hash(site) == before

    planned = site.good(*line(site, "1.1.0", "1.1.0", "--plan"))["plan"]
    assert (planned["release"], planned["radio"]["release"]) == ("demo-sensor@1.1.0", "demo-radio@1.1.0")
    told = site.good(*line(site, "1.1.0", "1.1.0"))
    said = predicate(site, told["record"])
    actions = ["plan", "upload-radio", "upload", "mark-for-test", "reset", "health-check", "confirm"]
    assert [step["name"] for step in said["steps"]] == actions
    wanted = planned["radio"]["image_hash"]
    assert (said["radio"]["before"], said["radio"]["after"], said["radio"]["image"]["image_hash"]) == (
        before, wanted, wanted,
    )  # fmt: skip
    assert radio_hash(site) == wanted != before
    assert runs(site) == ("1.1.0", "confirmed")
    assert site.good(*line(site, "1.1.0", "1.1.0"))["plan"]["steps"] == []
    assert site.good("log", "verify", "--trust", site.trust)
    trace = site.verb("trace", told["serial"], "--trust", site.trust)
    assert trace.status == 0, trace.said
    assert "demo-radio@1.1.0" in trace.said


def test_an_older_radio_and_what_is_none_are_refused(site: LifeSite) -> None:
    site.good(*line(site, "1.1.0", "1.1.0"))
    before = site.flash_of("a")
    older = site.verb(*line(site, "1.1.0", "1.0.0"))
    assert (older.status, "older" in older.data["error"]) == (4, True), older.said
    app = site.verb(*site.update_line("1.1.0", "a", "--radio", "demo-sensor@1.1.0"))
    assert (app.status, "not a radio" in app.data["error"]) == (4, True), app.said
    alone = site.verb("update", f"{RADIO}@1.1.0", "--place", "a", "--trust", site.trust)
    assert (alone.status, "--radio demo-radio@1.1.0" in alone.data["remedy"]) == (4, True), alone.said
    assert site.flash_of("a") == before


@pytest.mark.parametrize("site", ["ast1030-evb"], indirect=True)
@pytest.mark.parametrize("how", ["kill", "cut"])
@pytest.mark.parametrize("step", ["upload-radio", "upload", "mark-for-test", "reset", "health-check", "confirm"])
def test_broken_off_in_any_step_the_next_run_brings_both(site: LifeSite, step: str, how: str) -> None:
    site.good("twin", "start", "a")
    try:
        verb = start(site, *line(site, "1.1.0", "1.1.0"))
        wait_for_step(site, verb, step)
        if how == "cut":
            site.verb("twin", "power", "cut", "a", "--force")
            site.good("twin", "power", "on", "a", "--force")
            out, said = verb.communicate(timeout=150)
            assert verb.returncode in (0, 3), out + said
        else:
            os.kill(verb.pid, signal.SIGKILL)
            verb.communicate()
        told = site.good(*line(site, "1.1.0", "1.1.0"))
        assert told["after"]["version"] == "1.1.0"
        assert told["radio"]["after"] == told["plan"]["radio"]["image_hash"]
        assert runs(site) == ("1.1.0", "confirmed")
    finally:
        site.verb("twin", "stop", "a", "--force")
