# SPDX-License-Identifier: Apache-2.0
"""Updates by a patch on twins of both boards, by the ordinary verbs: what travels, what is proved, and the way back."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from life_site import APP, PATCHED_VERSION, LifeSite, patched_site
from test_update import predicate, runs, start, wait_for_step

from assay.model.artifact import Release, ReleasedPatch, VerifiedPatch
from assay.model.identifiers import ImageHash
from assay.pipeline import update_run
from assay.pipeline.patch_gate import verify_patch
from assay.pipeline.site import Site

pytest.importorskip("detools", reason="pip install 'assay[delta]'")
pytestmark = pytest.mark.timeout(600)  # the first one builds seven releases
SMALL = 0.05  # of the whole image: what a small change may take


@pytest.fixture
def site(tmp_path: Path) -> LifeSite:
    return patched_site("ast1030-evb", tmp_path / "site")


def image_of(site: LifeSite, version: str) -> tuple[ImageHash, int]:
    """Hash and size of a published image, from the store and not from what a verb said."""
    image = Site(site.folder).store.find(APP, version, site.board).image
    return image.image_hash, image.size


@pytest.mark.parametrize("board", ["ast1030-evb", "rv32-virt"])
def test_a_unit_is_updated_by_a_patch_and_proves_the_new_image(board: str, tmp_path: Path) -> None:
    site = patched_site(board, tmp_path / "site")
    image_hash, size = image_of(site, PATCHED_VERSION)
    told = site.good(*site.update_line(PATCHED_VERSION, "a"))
    assert (told["outcome"], told["way"], told["patch_refused"]) == ("PASS", "patch", "")
    print(f"{board}: {told['bytes_sent']} of {size} bytes, {told['bytes_sent'] / size:.1%}")
    assert 0 < told["bytes_sent"] < SMALL * size
    assert told["after"]["image_hash"] == image_hash
    said = predicate(site, told["record"])
    assert (said["way"], said["bytes_sent"]) == ("patch", told["bytes_sent"])
    assert [step["name"] for step in said["steps"]][:3] == ["plan", "upload-patch", "apply-patch"]
    proved = site.good("evidence", "--place", "a", "--trust", site.trust)
    assert (proved["version"], proved["kept"], proved["image_hash"]) == (PATCHED_VERSION, True, image_hash)
    traced = site.verb("trace", "DEMO-000001", "--trust", site.trust)
    assert traced.status == 0, traced.said
    assert "a patch" in traced.said
    assert site.good("log", "verify", "--trust", site.trust)


def test_the_patch_is_the_one_for_what_the_unit_runs(site: LifeSite) -> None:
    """From 1.1.0 there is another; and an image that came by a patch is a base like any."""
    first = site.good(*site.update_line("1.1.0", "a"))
    assert (first["way"], first["bytes_sent"]) == ("full", image_of(site, "1.1.0")[1])
    plan = site.good(*site.update_line(PATCHED_VERSION, "a", "--plan"))["plan"]
    assert plan["patch"]["base"] == f"{APP}@1.1.0"
    assert site.good(*site.update_line(PATCHED_VERSION, "a"))["way"] == "patch"
    assert runs(site) == (PATCHED_VERSION, "confirmed")


def test_full_sends_the_whole_image(site: LifeSite) -> None:
    told = site.good(*site.update_line(PATCHED_VERSION, "a", "--full"))
    assert (told["way"], told["bytes_sent"]) == ("full", image_of(site, PATCHED_VERSION)[1])
    assert told["plan"].get("patch") is None


def test_an_image_that_is_there_does_not_travel(site: LifeSite) -> None:
    """It went back, and is in the other slot still: one question, and no byte."""
    site.good(*site.update_line(PATCHED_VERSION, "a"))
    back = site.good(*site.update_line("1.0.0", "a", "--unsafe-allow-older-version", "a test"))
    assert (back["way"], back["bytes_sent"]) == ("none", 0)
    assert back["after"]["version"] == "1.0.0"
    again = site.good(*site.update_line(PATCHED_VERSION, "a", "--full"))
    assert (again["way"], again["bytes_sent"]) == ("none", 0)
    assert runs(site) == (PATCHED_VERSION, "confirmed")


def test_a_patch_that_the_unit_does_not_take_is_followed_by_the_whole_image(
    site: LifeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan names the right patch, and what arrives is made for another image: the unit says so."""

    def other_patch(store: Any, trust: Any, release: Release, _patch: ReleasedPatch) -> VerifiedPatch:
        return verify_patch(store, trust, release, release.patches[1])

    monkeypatch.setattr(update_run, "verify_patch", other_patch)
    order = update_run.UpdateOrder(f"{APP}@{PATCHED_VERSION}", "a", site.trust)
    result = update_run.update(Site(site.folder), order, lambda _line: None, lambda _what: lambda _done, _total: None)
    image_hash, size = image_of(site, PATCHED_VERSION)
    assert result.reason == ""
    assert (result.outcome.value, result.travel.way, result.travel.patch_refused) == (
        "PASS",
        "patch-then-full",
        "wrong-base",
    )
    assert result.travel.bytes_sent == size
    assert result.after is not None
    assert result.after.image_hash == image_hash
    said = predicate(site, result.record.entry.record)
    assert said["way"] == "patch-then-full"
    assert any("wrong-base" in step.get("detail", "") for step in said["steps"])


def test_a_patch_that_does_not_verify_is_refused_and_full_goes_on_without_it(site: LifeSite) -> None:
    """What was asked for differs, so the run that was refused is not taken up again with its patch."""
    (patch,) = (each for each in Site(site.folder).store.find(APP, PATCHED_VERSION, site.board).patches
                if each.base.endswith("@1.0.0"))  # fmt: skip
    blob = site.folder / "store" / "blobs" / "sha256" / patch.file_sha256
    blob.chmod(0o644)
    blob.write_bytes(b"something else")
    refused = site.verb(*site.update_line(PATCHED_VERSION, "a"))
    assert refused.status == 4, refused.said
    assert site.good(*site.update_line(PATCHED_VERSION, "a", "--full"))["way"] == "full"
    assert runs(site) == (PATCHED_VERSION, "confirmed")


@pytest.mark.parametrize("step", ["upload-patch", "apply-patch"])
def test_a_power_cut_in_a_step_is_made_good(site: LifeSite, step: str) -> None:
    site.good("twin", "start", "a")
    try:
        verb = start(site, *site.update_line(PATCHED_VERSION, "a"))
        wait_for_step(site, verb, step)
        site.verb("twin", "power", "cut", "a", "--force")
        site.good("twin", "power", "on", "a", "--force")
        out, said = verb.communicate(timeout=200)
        assert verb.returncode in (0, 3), out + said
        assert site.good(*site.update_line(PATCHED_VERSION, "a"))["after"]["version"] == PATCHED_VERSION
        assert runs(site) == (PATCHED_VERSION, "confirmed")
    finally:
        site.verb("twin", "stop", "a", "--force")


def test_what_a_killed_run_sent_is_in_the_record_of_the_one_that_goes_on(site: LifeSite) -> None:
    site.good("twin", "start", "a")
    try:
        verb = start(site, *site.update_line(PATCHED_VERSION, "a"))
        wait_for_step(site, verb, "apply-patch")
        os.kill(verb.pid, signal.SIGKILL)
        verb.communicate()
        told = site.good(*site.update_line(PATCHED_VERSION, "a"))
    finally:
        site.verb("twin", "stop", "a", "--force")
    said = predicate(site, told["record"])
    assert said["steps"][1]["attempts"] == 2, "the run was taken up"
    assert (said["way"], said["bytes_sent"]) == ("patch", told["plan"]["patch"]["size"])
