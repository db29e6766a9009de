# SPDX-License-Identifier: Apache-2.0
"""Flashing at the bench: the hash is read back, what is there costs one question, what does not fit is not written."""

from __future__ import annotations

from pathlib import Path

import pytest
from life_site import APP, BAD_VERSION, BOOTLOADER, LifeSite, life_site, unit_site

from assay.drivers.mcumgr.device import open_device
from assay.interfaces.device import Stage
from assay.pipeline.site import Site

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def site(tmp_path: Path) -> LifeSite:
    return unit_site("ast1030-evb", tmp_path / "site")


def line(site: LifeSite, release: str, place: str = "a") -> tuple[str | Path, ...]:
    return "flash", release, "--place", place, "--trust", site.trust


def test_forward_and_back_and_there_already(site: LifeSite) -> None:
    for version, least in (("1.1.0", 60_000), ("1.0.0", 0)):  # on the way back the unit still has it: nothing is sent
        told = site.good(*line(site, f"{APP}@{version}"))
        assert (told["read_back"], told["how"]) == (told["image_hash"], "recomputed")
        assert told["bytes_sent"] > least if least else told["bytes_sent"] == 0
    again = site.good(*line(site, f"{APP}@1.0.0"))
    assert (again["bytes_sent"], again["how"]) == (0, "verified-at-boot")
    assert site.good(*line(site, BOOTLOADER))["bytes_sent"] == 0
    assert site.good("log", "verify", "--trust", site.trust)


def test_an_app_that_does_not_stay_is_a_fail(site: LifeSite) -> None:
    told = site.verb(*line(site, f"{APP}@{BAD_VERSION}"))
    assert told.status == 1, told.said
    assert site.good("evidence", "--place", "a", "--trust", site.trust)["version"] == "1.0.0"


def test_a_blank_chip_takes_a_bootloader_and_then_an_app(tmp_path: Path) -> None:
    site = life_site("ast1030-evb", tmp_path / "site")
    site.twin("a")
    refused = site.verb(*line(site, f"{APP}@1.0.0"))
    assert (refused.status, "no bootloader" in refused.data["error"]) == (4, True)
    assert site.good(*line(site, BOOTLOADER))["how"] == "recomputed"
    told = site.good(*line(site, f"{APP}@1.0.0"))
    assert (told["serial"], told["read_back"]) == (None, told["image_hash"])


def test_foreign_keys_are_refused_before_anything_is_written(site: LifeSite, tmp_path: Path) -> None:
    other = tmp_path / "other"
    trust = tmp_path / "other.toml"
    LifeSite(other, site.board).good(
        "keys", "trust", "--out", trust, "--name", "other", "--allow-development", "--allow-emulated"
    )
    before = site.flash_of("a")
    told = site.verb("flash", f"{APP}@1.1.0", "--place", "a", "--trust", trust)
    assert told.status == 4, told.said
    assert site.flash_of("a") == before


def start_a_test(site: LifeSite) -> None:
    """The unit boots what its secondary slot holds, under test, and nobody confirms it."""
    device = open_device(str(site.folder / "twins" / "a" / "tty"))
    try:
        device.wait_ready(Stage.APP, 20)
        device.set_pending(next(slot.image_hash for slot in device.image_state() if slot.slot == 1) or b"")
        device.reset()
        device.wait_ready(Stage.APP, 20)
    finally:
        device.close()


def test_a_unit_under_test_keeps_its_image_and_no_run_is_left_open(site: LifeSite) -> None:
    site.good("twin", "start", "a")
    try:
        site.good(*line(site, f"{APP}@1.1.0"))
        start_a_test(site)
        told = site.verb(*line(site, f"{APP}@{BAD_VERSION}"))
        assert (told.status, f"the unit tests {APP} 1.0.0" in told.data["error"]) == (4, True), told.said
        assert Site(site.folder).journals.open_runs() == []
        assert site.good(*line(site, f"{APP}@1.0.0"))["bytes_sent"] == 0  # the very image: it is kept
    finally:
        site.good("twin", "stop", "a")
