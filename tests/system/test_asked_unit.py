# SPDX-License-Identifier: Apache-2.0
"""`--serial`: a verb that is told which unit has to be there touches no other one, with two real units and a swap."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from life_site import APP, ROOT, LifeSite, unit_site

from assay.errors import NotVerified, WrongBoard, WrongUnit
from assay.interfaces.device import DeviceInfo, Stage
from assay.pipeline import proved_unit
from assay.pipeline.site import Site
from assay.pipeline.trust_file import load_trust

pytestmark = pytest.mark.timeout(300)

FIRST, SECOND = "DEMO-000001", "DEMO-000002"
SUITE = ROOT / "suites" / "demo-sensor"


@pytest.fixture(scope="module")
def two_units(tmp_path_factory: pytest.TempPathFactory) -> LifeSite:
    """Unit DEMO-000001 on twin `a`, unit DEMO-000002 on twin `b`; both run 1.0.0."""
    site = unit_site("ast1030-evb", tmp_path_factory.mktemp("two") / "site")
    site.twin("b")
    assert site.good(*site.provision_line("b"))["serial"] == SECOND
    return site


@pytest.fixture
def swapped(two_units: LifeSite) -> Iterator[LifeSite]:
    """Somebody has changed the boards: each has the other's chip under its port."""
    _swap(two_units)
    yield two_units
    _swap(two_units)


def _swap(site: LifeSite) -> None:
    chips = [site.folder / "twins" / name / "flash.bin" for name in "ab"]
    kept = chips[0].with_name("kept")
    for source, goal in ((chips[0], kept), (chips[1], chips[0]), (kept, chips[1])):
        shutil.move(source, goal)


def line(site: LifeSite, verb: str, results: Path, place: str = "a", serial: str = FIRST) -> tuple[str | Path, ...]:
    more: dict[str, tuple[str | Path, ...]] = {
        "test": (SUITE, "--release", f"{APP}@1.0.0", "--results", results),
        "update": (f"{APP}@1.1.0",),
        "flash": (f"{APP}@1.1.0",),
        "evidence": (),
    }
    return (verb, *more[verb], "--place", place, "--serial", serial, "--trust", site.trust)


@pytest.mark.parametrize("verb", ["test", "update", "flash", "evidence"])
def test_a_swapped_board_is_refused_and_both_units_are_named(swapped: LifeSite, verb: str, tmp_path: Path) -> None:
    before = swapped.flash_of("a")
    entries = swapped.good("log", "show")["entries"]
    told = swapped.verb(*line(swapped, verb, tmp_path / "results"))
    assert told.status == 4, told.said
    assert FIRST in told.data["error"]
    assert SECOND in told.data["error"]
    assert FIRST in told.data["remedy"]
    assert swapped.flash_of("a") == before
    added = swapped.good("log", "show")["entries"][len(entries) :]
    assert [entry["type"] for entry in added] == (["run"] if verb == "test" else []), "nothing counts for any unit"
    assert all(entry.get("serial") is None for entry in added)


def test_a_plan_for_another_unit_is_not_made(swapped: LifeSite) -> None:
    told = swapped.verb(*swapped.update_line("1.1.0", "a", "--serial", FIRST, "--plan"))
    assert (told.status, SECOND in told.data["error"]) == (4, True), told.said


@pytest.mark.parametrize("verb", ["evidence", "test", "flash", "update"])
def test_the_unit_that_was_asked_for_is_taken(two_units: LifeSite, verb: str, tmp_path: Path) -> None:
    assert two_units.good(*line(two_units, verb, tmp_path / "results", "b", SECOND))["serial"] == SECOND
    if verb == "flash":  # bring it back, so that the update has something to do
        back = ("flash", f"{APP}@1.0.0", "--place", "b", "--serial", SECOND, "--trust", two_units.trust)
        assert two_units.good(*back)["serial"] == SECOND


@pytest.mark.parametrize("verb", ["flash", "evidence", "update"])
def test_a_chip_without_identity_is_not_the_unit_that_was_asked_for(
    two_units: LifeSite, verb: str, tmp_path: Path
) -> None:
    if not (two_units.folder / "twins" / "blank").exists():
        two_units.twin("blank")
    told = two_units.verb(*line(two_units, verb, tmp_path, "blank"))
    assert told.status == 4, told.said


def test_a_serial_number_that_is_none_is_a_usage_fault_for_every_verb(two_units: LifeSite, tmp_path: Path) -> None:
    for verb in ("test", "update", "flash", "evidence"):
        assert two_units.verb(*line(two_units, verb, tmp_path, "a", "../x y")).status == 2


def test_a_fresh_twin_has_no_serial_number_to_ask_for(two_units: LifeSite, tmp_path: Path) -> None:
    told = two_units.verb(*line(two_units, "test", tmp_path, f"twin:{two_units.board}"))
    assert (told.status, "fresh twin" in told.data["error"]) == (2, True), told.said


def test_a_unit_that_only_says_that_it_is_the_one_proves_nothing(two_units: LifeSite) -> None:
    """Somebody's firmware says the serial number of another unit; its certificate, and its key, are its own."""
    site, trust = Site(two_units.folder), load_trust(two_units.trust)
    with proved_unit_place(site, "b") as place:
        honest = place.device.info()
        assert honest.serial == SECOND
        liar = DeviceInfo(**{**vars(honest), "serial": FIRST})
        with pytest.raises(WrongUnit):
            proved_unit.provisioned_app(honest, place, FIRST)
        assert proved_unit.provisioned_app(liar, place, FIRST) is liar
        with pytest.raises(WrongBoard, match=f"{SECOND}.*{FIRST}"):
            proved_unit.attest(place, liar, site.recorder.checkpoint(), trust)
        stolen = SimpleNamespace(**{**vars(place), "device": _Thief(place.device, certificate_of(site, FIRST))})
        with pytest.raises(NotVerified):
            proved_unit.attest(stolen, liar, site.recorder.checkpoint(), trust)


def proved_unit_place(site: Site, name: str) -> Any:
    """The place, open, with its app up."""
    from assay.pipeline.places import open_place

    place = open_place(site, name, verb="test")
    place.device.wait_ready(Stage.APP, 15.0)
    return place


def certificate_of(site: Site, serial: str) -> bytes:
    """The device certificate in the record of the unit's provisioning."""
    import base64

    for file in (site.folder / "records").glob("*.json"):
        said = json.loads(base64.b64decode(json.loads(file.read_text())["dsseEnvelope"]["payload"]))["predicate"]
        if said.get("serial") == serial and "certificate_base64" in said:
            return base64.b64decode(said["certificate_base64"])
    raise AssertionError(f"no record has a certificate of {serial}")


class _Thief:
    """A device that shows another unit's certificate, which everybody may read."""

    def __init__(self, device: Any, certificate: bytes) -> None:
        self._device = device
        self._certificate = certificate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._device, name)

    def read_certificate(self) -> Any:
        from assay.interfaces.device import Certificate

        return Certificate(FIRST, self._certificate)
