# SPDX-License-Identifier: Apache-2.0
"""Updates on real firmware: forward, back by itself, refused, cut off, and the record that says which."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from life_site import APP, BAD_REASON, BAD_VERSION, LIVE, ROOT, LifeSite, environment, life_site, unit_site

from assay.model.trace import Mark

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def site(tmp_path: Path) -> LifeSite:
    return unit_site("ast1030-evb", tmp_path / "site")


def predicate(site: LifeSite, sha256: str) -> dict[str, Any]:
    bundle = json.loads((site.folder / "records" / f"{sha256}.json").read_text())
    said: dict[str, Any] = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))["predicate"]
    return said


def runs(site: LifeSite) -> tuple[str, str]:
    """Version and whether it stays, by the unit's own evidence."""
    said = site.good("evidence", "--place", "a", "--trust", site.trust)
    assert said["kept"] == (said["state"] == "confirmed" or said["confirmed_since"])
    return said["version"], "confirmed" if said["kept"] else said["state"]


def words_on_the_boot_state(site: LifeSite) -> tuple[str, bool]:
    """What the bootloader found at this boot, and whether the image says that it confirmed itself since."""
    said = site.good("evidence", "--place", "a", "--trust", site.trust)
    return said["state"], said["confirmed_since"]


def test_an_update_is_uploaded_tested_and_confirmed(site: LifeSite) -> None:
    site.good("twin", "start", "a")  # otherwise each verb switches it on anew
    try:
        told = site.good(*site.update_line("1.1.0", "a"))
        assert told["outcome"] == "PASS"
        assert (told["before"]["version"], told["after"]["version"]) == ("1.0.0", "1.1.0")
        said = predicate(site, told["record"])
        actions = ["upload", "mark-for-test", "reset", "health-check", "confirm"]
        assert [step["name"] for step in said["steps"]] == ["plan", *actions]
        assert (said["after"]["state"], said["after"]["confirmed_since"]) == ("testing", True)
        assert said["after_evidence"]["evidence_base64"]
        assert runs(site) == ("1.1.0", "confirmed")
        assert words_on_the_boot_state(site) == ("testing", True)
        again = site.good(*site.update_line("1.1.0", "a"))
        assert again["plan"]["steps"] == []
        site.good("twin", "power", "cycle", "a", "--force")
        assert words_on_the_boot_state(site) == ("confirmed", False)  # now the bootloader has seen the mark itself
        assert site.good("log", "verify", "--trust", site.trust)
    finally:
        site.good("twin", "stop", "a", "--force")


def test_the_same_question_gives_the_same_plan_and_changes_nothing(site: LifeSite) -> None:
    before = site.flash_of("a")
    first, second = (site.good(*site.update_line("1.1.0", "a", option)) for option in ("--plan", "--dry-run"))
    assert first == second
    assert len(first["plan_sha256"]) == 64
    assert site.flash_of("a") == before


def test_a_bad_release_goes_back_by_itself_and_the_unit_says_why(site: LifeSite) -> None:
    told = site.verb(*site.update_line(BAD_VERSION, "a"))
    assert told.status == 1, told.said
    assert (told.data["outcome"], told.data["after"]["version"]) == ("FAIL", "1.0.0")
    assert BAD_REASON in told.data["device_reason"]
    assert told.data["after"]["image_hash"] == told.data["before"]["image_hash"]
    assert predicate(site, told.data["record"])["run"]["outcome"] == "FAIL"
    assert runs(site) == ("1.0.0", "confirmed")
    assert site.good(*site.update_line("1.1.0", "a"))["outcome"] == "PASS"


def test_what_may_not_be_is_refused_and_nothing_is_sent(site: LifeSite) -> None:
    site.good(*site.update_line("1.1.0", "a"))
    before = site.flash_of("a")
    older = site.verb(*site.update_line("1.0.0", "a"))
    assert (older.status, "unsafe-allow-older-version" in older.data["remedy"]) == (4, True)
    other = site.verb("update", "assay-bootloader@1.0.0", "--place", "a", "--trust", site.trust)
    assert (other.status, "another module" in other.data["error"]) == (4, True)
    assert site.verb(*site.update_line("9.9.9", "a")).status == 2
    assert site.verb(*site.update_line("one", "a")).status == 2
    assert site.flash_of("a") == before
    assert site.verb(*site.update_line("1.0.0", "a", "--unsafe-allow-older-version", " ")).status == 2
    back = site.good(*site.update_line("1.0.0", "a", "--unsafe-allow-older-version", "1.1.0 drains the battery"))
    assert back["after"]["version"] == "1.0.0"
    (update,) = [link for link in site.links("DEMO-000001") if Mark.OLDER in link.marks]
    assert any("1.1.0 drains the battery" in each.value for each in update.details)


def test_a_release_for_another_board_is_not_offered_to_this_one(site: LifeSite, tmp_path: Path) -> None:
    """The unit is on a site whose store has this release for the other board only."""
    rv32 = life_site("rv32-virt", tmp_path / "rv32")
    shutil.copytree(site.folder / "twins", rv32.folder / "twins", ignore=LIVE)
    before = rv32.flash_of("a")
    told = rv32.verb("update", f"{APP}@1.1.0", "--place", "a", "--trust", site.trust)
    assert told.status == 2, told.said
    assert "ast1030-evb" in told.said
    assert rv32.flash_of("a") == before


def test_a_blank_chip_is_not_updated(site: LifeSite) -> None:
    site.twin("blank")
    told = site.verb("update", f"{APP}@1.1.0", "--place", "blank", "--trust", site.trust)
    assert (told.status, "provision" in told.data["remedy"]) == (4, True)


def start(site: LifeSite, *line: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        site.command(*line), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment()
    )


def wait_for_step(site: LifeSite, verb: subprocess.Popen[str], step: str) -> None:
    """Until the journal says that `step` was begun."""
    import sqlite3

    deadline_s = time.monotonic() + 60
    while verb.poll() is None and time.monotonic() < deadline_s:
        try:
            with sqlite3.connect(f"file:{site.folder / 'journal.sqlite'}?mode=ro", uri=True) as journal:
                query = "SELECT 1 FROM steps JOIN runs USING (run_id) WHERE verb = 'update' AND step = ?"
                if journal.execute(query, (step,)).fetchone():
                    return
        except sqlite3.OperationalError:
            pass
        time.sleep(0.01)
    raise AssertionError(f"{step} was never begun: {verb.communicate()}")


def test_a_link_that_dies_in_the_upload_is_an_error_and_the_next_run_goes_on(site: LifeSite) -> None:
    site.good("twin", "start", "a", "--baud", "115200")
    try:
        verb = start(site, *site.update_line("1.1.0", "a"))
        wait_for_step(site, verb, "upload")
        time.sleep(1.0)
        site.good("twin", "stop", "a", "--force")
        out, said = verb.communicate(timeout=200)
        assert verb.returncode == 3, out + said
        told = json.loads(out)
        assert predicate(site, told["record"])["steps"][-1]["outcome"] == "ERROR"
        site.good("twin", "start", "a", "--baud", "0")
        again = site.good(*site.update_line("1.1.0", "a"))
    finally:
        site.verb("twin", "stop", "a", "--force")
    assert again["after"]["version"] == "1.1.0"


@pytest.mark.parametrize("step", ["upload", "reset", "health-check"])
def test_a_power_cut_in_a_step_ends_in_the_old_or_the_new_version_and_the_next_run_finishes(
    site: LifeSite, step: str
) -> None:
    site.good("twin", "start", "a")
    try:
        verb = start(site, *site.update_line("1.1.0", "a"))
        wait_for_step(site, verb, step)
        site.verb("twin", "power", "cut", "a", "--force")
        site.good("twin", "power", "on", "a", "--force")
        out, said = verb.communicate(timeout=200)
        assert verb.returncode in (0, 3), out + said
        assert site.good(*site.update_line("1.1.0", "a"))["after"]["version"] == "1.1.0"
        assert runs(site) == ("1.1.0", "confirmed")
    finally:
        site.verb("twin", "stop", "a", "--force")


def test_killed_in_the_test_phase_it_is_taken_up_with_the_same_plan(site: LifeSite) -> None:
    """The unit tests the new image while nobody is there; the next run confirms it, under the first run's plan."""
    site.good("twin", "start", "a")
    try:
        planned = site.good(*site.update_line("1.1.0", "a", "--plan"))
        verb = start(site, *site.update_line("1.1.0", "a"))
        wait_for_step(site, verb, "health-check")
        os.kill(verb.pid, signal.SIGKILL)
        verb.communicate()
        told = site.good(*site.update_line("1.1.0", "a"))
        assert told["plan_sha256"] == planned["plan_sha256"]
        assert runs(site) == ("1.1.0", "confirmed")
    finally:
        site.verb("twin", "stop", "a", "--force")


def test_both_boards_update_and_go_back(tmp_path: Path) -> None:
    site = unit_site("rv32-virt", tmp_path / "rv32")
    assert site.good(*site.update_line("1.1.0", "a"))["outcome"] == "PASS"
    assert site.verb(*site.update_line(BAD_VERSION, "a")).status == 1
    assert runs(site) == ("1.1.0", "confirmed")


def test_another_unit_on_the_place_does_not_get_the_plan_of_the_first(site: LifeSite) -> None:
    """A run dies, somebody puts another unit on the place: it gets a plan of its own, the first run a record."""
    site.twin("b")
    assert site.good(*site.provision_line("b"))["serial"] == "DEMO-000002"
    site.good("twin", "start", "a")
    verb = start(site, *site.update_line("1.1.0", "a"))
    wait_for_step(site, verb, "upload")
    verb.kill()
    verb.communicate()
    site.good("twin", "stop", "a", "--force")
    flashes = [site.folder / "twins" / name / "flash.bin" for name in ("a", "b")]
    flashes[0].write_bytes(flashes[1].read_bytes())
    told = site.good(*site.update_line("1.1.0", "a"))
    assert told["plan"]["unit"]["serial"] == told["serial"] == "DEMO-000002"
    kinds = [(entry["type"], entry.get("serial")) for entry in site.good("log", "show")["entries"]]
    assert ("run", "DEMO-000001") in kinds, "the run on the first unit has a record that says where it stopped"
