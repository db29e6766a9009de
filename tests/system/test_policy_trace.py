# SPDX-License-Identifier: Apache-2.0
"""Decisions of policies in `assay trace`: shown, bound to what was done under them, and an override for ever."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from made_site import BOARD, SERIAL, MadeSite, Unit
from traced_site import reopened, run, trace

from assay.errors import Refused
from assay.model.outcome import Outcome
from assay.model.policy import Point, PolicyNote
from assay.model.policy_facts import UnitFacts
from assay.pipeline.manifest_files import load_board
from assay.pipeline.policy_adoption import adopt
from assay.pipeline.policy_files import parse_pack, policy_engine
from assay.pipeline.policy_gate import Question, enforce
from assay.pipeline.release_gate import verify_release
from assay.pipeline.trust_file import site_trust
from assay.stages.records.verify import verify_log

ROOT = Path(__file__).parents[2]
PACK = """\
schema = "assay.policy/1"
name = "strict"
version = "1.0.0"
at = ["install"]

[[checks]]
id = "no-two"
version = 1
deny_if = "release.version in ['1.2.0', '1.3.0'] && unit.serial.startsWith('DEMO')"
message = "it was withdrawn"
remedy = "update to 1.3.0"
"""


@pytest.fixture
def made(finished_copy: Path) -> MadeSite:
    return reopened(finished_copy)


def adopt_pack(made: MadeSite) -> None:
    path = made.folder.parent / "strict.toml"
    path.write_text(PACK)
    adopt(
        made.site,
        path,
        "a recall",
        site_trust(made.site, "x", allow_development=True),
        policy_engine(),
        untested="for the tests",
    )


def ask(made: MadeSite, unit: Unit, release: str, skip: str | None = None) -> PolicyNote:
    trust = site_trust(made.site, "this-site", allow_development=True, allow_emulated=True)
    board = load_board(ROOT / "boards" / f"{BOARD}.toml")
    name, _, version = release.partition("@")
    image = verify_release(made.site.store, trust, name, version, board)
    there = UnitFacts(chip=unit.chip.hex(), stage="app", proved=True, serial=unit.serial)
    return enforce(made.site, Question(Point.INSTALL, image, board, trust, there), skip=skip, say=lambda _line: None)


def test_what_was_allowed_is_shown_and_bound_to_what_was_done(made: MadeSite) -> None:
    unit = made.unit(SERIAL, 1)
    adopt_pack(made)
    made.policy = ask(made, unit, "demo-sensor@1.0.0")
    made.update(unit, "demo-sensor@1.1.0", "demo-sensor@1.0.0")
    result = run(made.folder.parent)
    assert result.exit_code == 0, result.output
    assert "policy 'strict' 1.0.0 allowed to install demo-sensor@1.0.0" in result.stdout
    checks = [check.what for node in trace(made.folder.parent).root.walk() for check in node.checks]
    assert "decided by policy 'strict' 1.0.0" in checks
    assert "SKIPPED" not in result.stdout


def test_a_denial_is_shown_and_is_no_fault(made: MadeSite) -> None:
    unit = made.unit(SERIAL, 1)
    made.publish("demo-sensor", "1.3.0")
    adopt_pack(made)
    with pytest.raises(Refused, match=r"no-two: it was withdrawn"):
        ask(made, unit, "demo-sensor@1.3.0")
    result = run(made.folder.parent)
    assert result.exit_code == 0, result.output
    for words in ("policy 'strict' 1.0.0 refused to install demo-sensor@1.3.0", "no-two: it was withdrawn"):
        assert words in result.stdout


def test_an_override_shows_for_ever_with_its_reason(made: MadeSite, tmp_path: Path) -> None:
    unit = made.unit(SERIAL, 1)
    adopt_pack(made)
    made.policy = ask(made, unit, "demo-sensor@1.2.0", skip="the line is down")
    made.update(unit, "demo-sensor@1.1.0", "demo-sensor@1.2.0")
    made.policy = None
    made.evidence(unit, "demo-sensor@1.2.0")
    result = run(made.folder.parent, "--html", str(tmp_path / "page.html"))
    assert result.exit_code == 0, result.output
    assert "[POLICY-SKIPPED]" in result.stdout
    assert "SKIPPED: the line is down" in result.stdout
    assert "POLICY-SKIPPED: somebody went on" in result.stdout
    assert "POLICY-SKIPPED" in (tmp_path / "page.html").read_text()
    marked = [node.link for node in trace(made.folder.parent).root.walk() if "POLICY-SKIPPED" in node.marks]
    assert len(marked) == 2  # the decision, and what was done


def test_what_was_done_against_a_policy_breaks_the_chain(made: MadeSite) -> None:
    unit = made.unit(SERIAL, 1)
    adopt_pack(made)
    note = ask(made, unit, "demo-sensor@1.2.0", skip="the line is down")
    for change, said in (
        ({"skipped": None}, "refused it, and it was done"),
        ({"decisions": ("0" * 64,)}, f"the decision {'0' * 64} that it was done under is not there"),
        ({"skipped": "another reason"}, "disagree on whether"),
    ):
        made.policy = note.model_copy(update=change)
        made.update(unit, "demo-sensor@1.1.0", "demo-sensor@1.2.0", Outcome.PASS)
        result = run(made.folder.parent)
        assert result.exit_code == 4, result.output
        assert said in result.stdout


def test_an_export_with_decisions_verifies_and_the_log_too(made: MadeSite, tmp_path: Path) -> None:
    unit = made.unit(SERIAL, 1)
    adopt_pack(made)
    made.policy = ask(made, unit, "demo-sensor@1.0.0")
    made.update(unit, "demo-sensor@1.1.0", "demo-sensor@1.0.0")
    result = run(made.folder.parent, "--export", str(tmp_path / "unit.tar"), "--json")
    assert (result.exit_code, json.loads(result.stdout)["broken"]) == (0, []), result.output
    trust = site_trust(made.site, "x", allow_development=True, allow_emulated=True)
    assert verify_log(made.site.records, trust).faults == []
    (attachment,) = [path for path in (made.folder / "attachments").iterdir() if path.read_bytes() == PACK.encode()]
    shutil.move(attachment, tmp_path)
    (fault,) = verify_log(made.site.records, trust).faults
    assert "is not there, and a record names it" in fault.what


@pytest.mark.parametrize("note", [None, PolicyNote()])
def test_an_adopted_policy_that_was_not_asked_breaks_the_chain(made: MadeSite, note: PolicyNote | None) -> None:
    unit = made.unit(SERIAL, 1)
    made.policy = note
    made.update(unit, "demo-sensor@1.1.0", "demo-sensor@1.0.0")  # before it is adopted
    assert run(made.folder.parent).exit_code == 0
    adopt_pack(made)
    assert run(made.folder.parent).exit_code == 0
    made.update(unit, "demo-sensor@1.0.0", "demo-sensor@1.1.0")
    result = run(made.folder.parent)
    assert result.exit_code == 4, result.output
    assert "policy 'strict' had been adopted, and was not asked" in result.stdout


def test_a_decision_by_a_pack_that_nobody_adopted_breaks_the_chain(
    made: MadeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A station signs its decisions itself: it cannot choose by which pack."""
    unit = made.unit(SERIAL, 1)
    adopt_pack(made)
    lenient = parse_pack(PACK.replace("deny_if = ", 'deny_if = "false" # ').encode(), "strict", policy_engine())
    monkeypatch.setattr("assay.pipeline.policy_gate.packs_at", lambda *_: (lenient,))
    made.policy = ask(made, unit, "demo-sensor@1.2.0")
    made.update(unit, "demo-sensor@1.1.0", "demo-sensor@1.2.0")
    result = run(made.folder.parent)
    assert result.exit_code == 4, result.output
    assert "policy 'strict' 1.0.0 was not what was adopted then" in result.stdout


def test_an_adoption_that_is_not_there_is_missed(made: MadeSite) -> None:
    adopt_pack(made)
    result = run(made.folder.parent)
    assert "Policy 'strict' 1.0.0 adopted" in result.stdout
    entries = [entry for _, entry in made.site.records.entries() if entry.type == "policy"]
    (made.folder / "records" / f"{entries[0].record}.json").unlink()
    assert run(made.folder.parent).exit_code == 4
