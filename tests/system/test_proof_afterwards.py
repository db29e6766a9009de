# SPDX-License-Identifier: Apache-2.0
"""Work that was done is recorded, also when the unit does not prove itself afterwards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from life_site import APP, BAD_VERSION, LifeSite, unit_site
from test_update import predicate

from assay.errors import DeviceTimeout, ExitStatus
from assay.model.trust import TrustFile
from assay.pipeline import flash_run, update_run
from assay.pipeline.proved_unit import attest
from assay.pipeline.site import Site
from assay.pipeline.trust_file import load_trust
from assay.stages.field.evidence import VerifiedEvidence

pytestmark = pytest.mark.timeout(300)

SERIAL = "DEMO-000001"
Attest = Callable[..., VerifiedEvidence]


@pytest.fixture
def site(tmp_path: Path) -> LifeSite:
    return unit_site("ast1030-evb", tmp_path / "site")


@pytest.fixture
def foreign(site: LifeSite, tmp_path: Path) -> TrustFile:
    """A trust file that knows another device CA: for it the unit's own evidence proves nothing."""
    path = tmp_path / "other.toml"
    other = LifeSite(tmp_path / "other", site.board)
    other.good("keys", "trust", "--out", path, "--name", "other", "--allow-development", "--allow-emulated")
    return load_trust(path)


def replace_after_first(patching: pytest.MonkeyPatch, verb: ModuleType, then: Attest) -> None:
    """The first question for evidence of `verb` is asked as it is; the ones after the work, by `then`."""
    asked: list[int] = []

    def ask(*arguments: Any) -> VerifiedEvidence:
        asked.append(len(asked))
        return (then if len(asked) > 1 else attest)(*arguments)

    patching.setattr(verb, "attest", ask)


def by(trust: TrustFile) -> Attest:
    return lambda place, info, checkpoint, _trust: attest(place, info, checkpoint, trust)


def silent(*_: Any) -> VerifiedEvidence:
    raise DeviceTimeout("the unit did not answer", remedy="look at its cable")


def flash(site: LifeSite) -> flash_run.FlashResult:
    order = flash_run.FlashOrder(f"{APP}@1.1.0", "a", site.trust, serial=SERIAL)
    return flash_run.flash(Site(site.folder), order, lambda _line: None, lambda _what: lambda _done, _total: None)


def update(site: LifeSite, version: str = "1.1.0") -> update_run.UpdateResult:
    order = update_run.UpdateOrder(f"{APP}@{version}", "a", site.trust)
    return update_run.update(Site(site.folder), order, lambda _line: None, lambda _what: lambda _done, _total: None)


def check_last_entry(site: LifeSite, kind: str, record: str) -> None:
    """It is the newest of the log, the run is closed by it, and a trace of the unit takes it."""
    entries = site.good("log", "show")["entries"]
    assert [(entry["type"], entry["record"]) for entry in entries[-1:]] == [(kind, record)]
    assert site.verb("trace", SERIAL, "--trust", site.trust).status == 0
    assert site.good("log", "show")["entries"] == entries, "no second record of the run"


def test_a_flash_whose_unit_proves_nothing_afterwards_is_recorded_and_refused(
    site: LifeSite, foreign: TrustFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_after_first(monkeypatch, flash_run, by(foreign))
    told = flash(site)
    assert (told.outcome.value, told.status) == ("ERROR", ExitStatus.REFUSED)
    assert told.remedy
    said = predicate(site, told.record.entry.record)
    assert said["run"]["outcome"] == "ERROR"
    assert "written and read back" in said["run"]["reason"]
    assert said["read_back"] == said["image"]["image_hash"]
    assert said["bytes_sent"] > 0
    check_last_entry(site, "flash", told.record.entry.record)


def test_an_update_whose_unit_proves_nothing_afterwards_is_recorded_and_refused(
    site: LifeSite, foreign: TrustFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_after_first(monkeypatch, update_run, by(foreign))
    told = update(site)
    assert (told.outcome.value, told.status, told.after) == ("ERROR", ExitStatus.REFUSED, None)
    said = predicate(site, told.record.entry.record)
    assert said["run"]["outcome"] == "ERROR"
    assert "the walk was done, and the unit did not prove itself afterwards" in said["run"]["reason"]
    assert said["steps"][-1]["name"] == "confirm"
    check_last_entry(site, "update", told.record.entry.record)


def test_that_the_unit_went_back_is_no_verdict_without_its_proof(
    site: LifeSite, foreign: TrustFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_after_first(monkeypatch, update_run, by(foreign))
    told = update(site, BAD_VERSION)
    assert (told.outcome.value, told.status) == ("ERROR", ExitStatus.REFUSED)
    assert "went back" in told.reason
    assert "did not prove itself" in told.reason
    check_last_entry(site, "update", told.record.entry.record)


@pytest.mark.parametrize("verb", [flash, update])
def test_a_unit_that_is_silent_after_the_work_is_an_error_with_a_record(
    site: LifeSite, monkeypatch: pytest.MonkeyPatch, verb: Callable[[LifeSite], Any]
) -> None:
    replace_after_first(monkeypatch, flash_run if verb is flash else update_run, silent)
    told = verb(site)
    assert (told.outcome.value, told.status) == ("ERROR", ExitStatus.ERROR)
    check_last_entry(site, verb.__name__, told.record.entry.record)
