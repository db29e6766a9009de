# SPDX-License-Identifier: Apache-2.0
"""Decisions: what cannot be decided denies, whatever is wrong and whatever the severity; two engines agree."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from policy_sample import DIGEST, POLICIES, SecondEngine, facts, facts_document, loaded, pack_text, unchecked
from pydantic import ValidationError

from assay.backends.policies.cel_engine import CelEngine
from assay.cli.policy import POINTS
from assay.errors import ManifestFault, ToolMissing
from assay.formats import canonical_json
from assay.interfaces.policy_engine import ExpressionFault
from assay.model.policy import CheckOutcome, Decision, Point
from assay.pipeline.policy_files import file_of_tests, load_pack, load_tests, parse_pack, policy_engine
from assay.stages.policy.decide import bind, check_document, decide
from assay.stages.policy.pack_tests import run_tests

ENGINE = policy_engine()
PACKS = sorted(path for path in POLICIES.glob("*.toml") if not path.name.endswith(".tests.toml"))

UNDECIDED = {
    "a missing field": "release.nothing == 'x'",
    "a missing field of what is absent": "unit.serial == 'x'",
    "a missing field inside a macro": "release.provenance.tools.size() == 0 && release.tests.size() == release.absent",
    "an unknown function": "verify(release.name)",
    "an unknown variable": "host.name == 'x'",
    "no bool": "release.name",
    "a number": "release.size",
    "null": "null",
    "types that do not compare": "release.name < release.size",
    "a division by zero": "release.size / 0 == 1",
    "an index that is not there": "release.tests[7].emulated",
    "no expression": "release.name ==",
    "a text that says true": "'true'",
}


@pytest.mark.parametrize("severity", ["deny", "warn"])
@pytest.mark.parametrize("deny_if", UNDECIDED.values(), ids=UNDECIDED)
def test_what_cannot_be_decided_denies(deny_if: str, severity: str) -> None:
    decision = decide(unchecked(deny_if, severity=severity), DIGEST, facts(), ENGINE)
    assert not decision.allowed
    (check,) = decision.checks
    assert check.outcome is CheckOutcome.UNDECIDED
    assert check.reason.startswith("`deny_if` cannot be decided: ")
    assert "\n" not in check.reason


@pytest.mark.parametrize("when", UNDECIDED.values(), ids=UNDECIDED)
def test_a_condition_that_cannot_be_decided_denies(when: str) -> None:
    pack = unchecked("false")
    pack = pack.model_copy(update={"checks": (pack.checks[0].model_copy(update={"when": when}),)})
    decision = decide(pack, DIGEST, facts(), ENGINE)
    assert not decision.allowed
    assert decision.checks[0].reason.startswith("`when` cannot be decided: ")


def test_outcomes_of_a_check_that_can_be_decided() -> None:
    assert decide(unchecked("false"), DIGEST, facts(), ENGINE).allowed
    denied = decide(unchecked("release.kind == 'app'"), DIGEST, facts(), ENGINE)
    assert (denied.allowed, [check.reason for check in denied.denials]) == (False, ["that is denied"])
    warned = decide(unchecked("release.kind == 'app'", severity="warn"), DIGEST, facts(), ENGINE)
    assert (warned.allowed, [check.id for check in warned.warnings]) == (True, ["one"])
    pack = unchecked("true")
    pack = pack.model_copy(update={"checks": (pack.checks[0].model_copy(update={"when": "point == 'publish'"}),)})
    assert decide(pack, DIGEST, facts(), ENGINE).checks[0].outcome is CheckOutcome.NOT_APPLICABLE


def test_a_pack_that_is_not_asked_there_denies() -> None:
    decision = decide(unchecked("false", at='"publish"'), DIGEST, facts(), ENGINE)
    assert not decision.allowed
    assert "not asked at flash" in decision.checks[0].reason


@pytest.mark.parametrize(
    "change",
    [
        {"board": {"name": "a", "revision": 1}},
        {"board": {"name": "a", "revision": "1", "emulated": False}},
        {"point": "eat"},
        {"more": 1},
        {"release": None},
    ],
)
def test_facts_of_another_shape_deny(change: dict[str, Any]) -> None:
    (check,) = check_document(unchecked("false"), facts_document() | change, ENGINE)
    assert (check.id, check.outcome) == ("facts", CheckOutcome.UNDECIDED)


def test_a_decision_is_a_value_without_time() -> None:
    one, two = (decide(unchecked("false"), DIGEST, facts(), ENGINE) for _ in range(2))
    assert canonical_json.encode_value(one) == canonical_json.encode_value(two)
    assert one.facts_sha256 == canonical_json.digest_of(facts())
    assert one.pack.sha256 == DIGEST
    assert decide(unchecked("false"), DIGEST, facts(point="install"), ENGINE).facts_sha256 != one.facts_sha256


@pytest.mark.parametrize("change", [{"allowed": True}, {"allowed": True, "checks": []}])
def test_what_is_allowed_follows_from_the_checks(change: dict[str, Any]) -> None:
    decision = decide(unchecked("true"), DIGEST, facts(), ENGINE)
    document = decision.model_dump(mode="json", by_alias=True) | change
    with pytest.raises(ValidationError, match="does not follow"):
        Decision.model_validate_json(json.dumps(document))


@pytest.mark.parametrize(
    ("deny_if", "said"),
    [
        ("release.provenence.builder == 'x'", "there is no fact 'provenence' in release; did you mean 'provenance'?"),
        ("has(unit.seriel)", "there is no fact 'seriel' in unit; did you mean 'serial'?"),
        ("release.name.x == 'x'", "there is no fact release.name.x"),
        ("release.tests.exists(t, has(t.emulatd))", "there is no fact 'emulatd' in t; did you mean 'emulated'?"),
        ("release.tests.all(t, t.emulatd)", "there is no fact 'emulatd' in t"),
        ("release.tests.filter(t, t.passed > 1).exists_one(u, has( u . signer\n. nam))", "no fact 'nam' in u.signer"),
        ("release.tests.exists(t, t.serials.exists(s, has(s.x)))", "there is no fact s.x"),
        ("release.rebuilds.exists(r, has(r.signer.rol))", "there is no fact 'rol' in r.signer"),
        ("has(release.tests[0].emulatd)", "there is no fact 'emulatd' in release.tests[0]"),
        ("release.tests.exists(release, has(release.sbom))", "there is no fact 'sbom' in release"),
        ("release.tests.map(t, {'a': t}).exists(m, has(m.b))", "has(m.b) asks for what cannot be looked up"),
        ("has({'a': release}.a.provenence)", "asks for what cannot be looked up"),
        ("has(release.tests.filter(t, true)[0].emulatd)", "asks for what cannot be looked up"),
        ("has({'a': release}['a'].b)", "has({'a': release}['a'].b) asks for what cannot be looked up"),
        ("release.tests.exists(t, t.result == 'FAIL')", "t.result is never 'FAIL'; did you mean 'FAILED'?"),
        ("!release.tests.exists(t, 'suites' != t . kind)", "t.kind is never 'suites'; did you mean 'suite'?"),
        ("point == 'instal'", "point is never 'instal'; did you mean 'install'?"),
        ("point in ['flash', r'x']", "point is never 'x'; expected one of: publish, provision, flash, install"),
        ("release.kind == 'application'", "release.kind is never 'application'; expected one of: app, bootloader,"),
        ("has(unit.change) && unit.change == 'OLDER'", "unit.change is never 'OLDER'"),
        ("release.rebuilds[0].result == 'same'", "release.rebuilds[0].result is never 'same'"),
        ("has(unit.state) && unit.state == 'test'", "unit.state is never 'test'; did you mean 'testing'?"),
        ("unit.state in ['confirmed', 'pending']", "unit.state is never 'pending'"),
        ("release.image_key.role == 'builder'", "release.image_key.role is never 'builder'; expected one of: image"),
        ("release.provenance.signer.role == 'buidler'", "signer.role is never 'buidler'; did you mean 'builder'?"),
        ("release.sbom.signer.role != 'bench'", "release.sbom.signer.role is never 'bench'"),
        ("release.rebuilds.exists(r, r.signer.role == 'verifier')", "r.signer.role is never 'verifier'"),
        ("release.tests.exists(t, t.signer.role == 'builder')", "t.signer.role is never 'builder'; expected one of: b"),
        ("has(release.summary) && release.summary.signer.role == 'policy'", "signer.role is never 'policy'"),
        ("release.tests.filter(t, true).exists(u, u.result == 'FAIL')", "u.result is never 'FAIL'"),
        ("'developement' in release.image_key", "there is no fact 'developement' in release.image_key; did you mean"),
        ("!('sbon' in release)", "there is no fact 'sbon' in release; did you mean 'sbom'?"),
        ("release.tests.exists(t, 'emulatd' in t)", "there is no fact 'emulatd' in t; did you mean 'emulated'?"),
        ("release.name in release", "what is looked for in release cannot be looked up"),
        ("release.exists(k, k == 'sbon')", "`exists(k, ...)` goes over the names of facts, and no list"),
        ("unit.all(k, k != 'seriel')", "`all(k, ...)` goes over the names of facts, and no list"),
        ("size(release.tests)", "gives a value of the type INT, and no bool"),
        ("verify(release.name)", "undeclared reference to 'verify'"),
        ("release.name ==", "Syntax error"),
    ],
)
def test_a_wrong_expression_is_told_with_file_and_line(deny_if: str, said: str) -> None:
    with pytest.raises(ManifestFault) as caught:
        loaded(deny_if)
    assert caught.value.status == 2
    assert caught.value.message.startswith("strict.toml:10: check 'one': ")
    assert said in caught.value.message


@pytest.mark.parametrize(
    "deny_if",
    [
        "release.name.startsWith('release.nothing')",
        'release.tests.exists(t, t.name == "unit.nothing")',
        "release.provenance.source.commit.size() == 0",
        "release.tests.exists(t, has(t.signer.name) && t.serials.exists(s, s == 'x')) || has(release.sbom.parts)",
        "release.tests.filter(t, t.emulated)[0].passed > 1 || has(release.tests[0].signer.keyid)",
        "release.tests.exists(t, t.name == 'has(x)') && has(unit.serial)",
        "release.tests.exists(t, t.result == 'FAILED' || 'suite' == t.kind) && point in ['flash', 'install']",
        "release.kind + 's' == 'apps' || 's' + release.kind == 'sapp' || 's' + 'app' == release.kind",
        "release.kind == 'ap' + 'p' || release.kind == '\\x61pp'",
        "release.kind in ['app', 'a' + 'b'] || release.kind.startsWith('a') || release.name == 'apple'",
        "!('sbom' in release) || 'serial' in unit || 'path' in release.provenance.variations",
        "release.name in ['a', 'b'] || 'x' in ['x', 'y'] || release.name in release.provenance.variations",
        "unit.serial in release.tests[0].serials || 'a' in {'a': 1} || ['a'].exists(k, k == 'a')",
    ],
)
def test_a_right_expression_is_not_told(deny_if: str) -> None:
    assert loaded(deny_if).pack.name == "strict"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('name = "strict"', 'name = "strict"\nauthor = "x"', "strict.toml:3: unknown key 'author'"),
        ('id = "one"', 'id = "one"\nid2 = "x"', "unknown key 'id2'"),
        ('remedy = "do it in another way"', "", "missing key 'remedy'"),
        ('severity = "deny"', 'severity = "maybe"', "severity"),
        ("assay.policy/1", "assay.policy/9", "newer than"),
        (pack_text()[pack_text().index("[[checks]]"):], "", "missing key 'checks'"),
    ],
)  # fmt: skip
def test_a_wrong_pack_is_told_with_file_and_line(old: str, new: str, said: str) -> None:
    with pytest.raises(ManifestFault) as caught:
        parse_pack(pack_text().replace(old, new).encode(), "strict.toml", ENGINE)
    assert said in caught.value.message


def test_two_checks_have_two_ids() -> None:
    text = pack_text() + pack_text()[pack_text().index("[[checks]]") :]
    with pytest.raises(ManifestFault, match="the id 'one' is taken"):
        parse_pack(text.encode(), "strict.toml", ENGINE)


@pytest.mark.parametrize("path", PACKS, ids=[path.stem for path in PACKS])
def test_the_packs_of_this_project_pass_their_tests(path: Path) -> None:
    report = run_tests(load_pack(path, ENGINE).pack, load_tests(file_of_tests(path)), ENGINE)
    assert [(test.name, test.faults) for test in report.failed] == []
    assert report.never_seen == ()


def test_a_test_that_expects_something_else_fails() -> None:
    tests = load_tests(POLICIES / "production.tests.toml")
    pack = load_pack(POLICIES / "production.toml", ENGINE).pack
    wrong = tests.model_copy(
        update={
            "tests": (
                tests.tests[0].model_copy(update={"expect": "deny"}),
                tests.tests[1].model_copy(update={"denied": ()}),
                tests.tests[0].model_copy(update={"unset": ("board.nothing",)}),
                tests.tests[0].model_copy(update={"set_": {"board.name.x": 1}}),
            )
        }
    )
    report = run_tests(pack, wrong, ENGINE)
    assert [len(test.faults) for test in report.outcomes] == [1, 1, 1, 1]
    assert "bill-of-materials" in report.never_seen


def test_another_engine_gives_the_same_outcomes() -> None:
    """Over every test of every pack of this project."""
    compared = 0
    for path in PACKS:
        pack, tests = load_pack(path, ENGINE).pack, load_tests(file_of_tests(path))
        ours, theirs = (run_tests(pack, tests, engine) for engine in (ENGINE, SecondEngine()))  # type: ignore[arg-type]
        for one, other in zip(ours.outcomes, theirs.outcomes, strict=True):
            assert [(check.id, check.outcome) for check in one.checks] == [
                (check.id, check.outcome) for check in other.checks
            ], one.name
            compared += len(one.checks)
    assert compared > 50


@pytest.mark.parametrize("deny_if", UNDECIDED.values(), ids=UNDECIDED)
def test_another_engine_denies_what_cannot_be_decided(deny_if: str) -> None:
    bound = bind(facts_document())
    with pytest.raises(ExpressionFault):
        try:
            SecondEngine().compile(deny_if).holds(bound)
        except ValueError as error:  # it does not compile there
            raise ExpressionFault(str(error), remedy="") from error


def test_without_the_extra_the_remedy_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cel_expr_python.cel", None)
    with pytest.raises(ToolMissing) as caught:
        CelEngine().compile("true")
    assert "assay[policy]" in caught.value.remedy


def test_the_points_of_the_command_are_those_of_the_model() -> None:
    assert tuple(point.value for point in Point) == POINTS
