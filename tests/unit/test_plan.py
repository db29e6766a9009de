# SPDX-License-Identifier: Apache-2.0
"""A plan is a value: the same inputs give the same bytes, and what may not be is refused before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import Refused, WrongBoard
from assay.formats import canonical_json
from assay.model.artifact import Artifact, Release, SignedImage, SourceState
from assay.model.contract import Contract, Dependency
from assay.model.plan import Plan, UnitState, UpdateRules
from assay.stages.field.plan import digest, plan_update, upload_estimate_s

OLD, NEW = "1" * 64, "2" * 64
UNIT = UnitState(
    serial="ASY-000001",
    board="ast1030-evb",
    revision=1,
    name="demo-sensor",
    version="1.0.0",
    image_hash=OLD,
    state="confirmed",
    security_counter=2,
    modules={"assay-bootloader": "1.4.0"},
)
BAUD = 115200
GOLDEN = "baccc4e9aea4f97f1cc846a37368f9af085d30423982eba7bb0eed0cd13336c3"


def release(**changes: Any) -> Release:
    values: dict[str, Any] = {
        "name": "demo-sensor",
        "kind": "app",
        "version": "1.1.0",
        "board": "ast1030-evb",
        "min_revision": 1,
        "security_counter": 2,
        **changes,
    }
    artifact = Artifact(
        module=values["name"],
        **{name: values[name] for name in ("kind", "version", "board", "min_revision", "security_counter")},
        payload_sha256="3" * 64,
        payload_size=1000,
        files={"payload.bin": "3" * 64},
        sbom_sha256="4" * 64,
        source=SourceState(digest="5" * 64),
        tools=(),
        parameters={},
        builder="host",
        builds_compared=2,
        variations=("folder",),
    )
    image_hash = values.pop("image_hash", NEW)
    image = SignedImage(
        file_sha256="6" * 64, image_hash=image_hash, size=200_000, payload_sha256="3" * 64, keyid="7" * 64
    )
    return Release(image=image, artifact=artifact, attestations={}, **values)


def plan(unit: UnitState = UNIT, rules: UpdateRules | None = None, **changes: Any) -> Plan:
    return plan_update(unit, release(**changes), rules or UpdateRules(), baud=BAUD)


def test_the_golden_plan() -> None:
    """The bytes of a plan are an interface: records name plans by their digest."""
    assert [step.action for step in plan().steps] == ["upload", "mark-for-test", "reset", "health-check", "confirm"]
    assert digest(plan()) == GOLDEN


@given(st.integers(0, 5), st.booleans())
def test_the_same_inputs_give_the_same_bytes(minor: int, older: bool) -> None:
    rules = UpdateRules(allow_older_version=older)
    first, second = (canonical_json.encode_value(plan(rules=rules, version=f"1.{minor + 1}.0")) for _ in range(2))
    assert first == second
    assert Plan.model_validate_json(first) == plan(rules=rules, version=f"1.{minor + 1}.0")


def test_another_input_gives_another_digest() -> None:
    other = UNIT.model_copy(update={"serial": "ASY-000002"})
    assert len({digest(plan()), digest(plan(other)), digest(plan(version="1.2.0"))}) == 3


def test_a_unit_that_runs_it_needs_no_steps() -> None:
    assert plan(image_hash=OLD, version="1.0.0").steps == ()


def test_a_unit_that_tests_it_is_checked_and_confirmed() -> None:
    testing = UNIT.model_copy(update={"state": "testing", "image_hash": NEW, "version": "1.1.0"})
    assert [step.action for step in plan(testing).steps] == ["health-check", "confirm"]


def test_the_health_check_has_the_time_that_the_module_gives() -> None:
    steps = plan(rules=UpdateRules(health_timeout_s=42.5)).steps
    assert {step.action: step.timeout_s for step in steps}["health-check"] == 42.5


def test_a_slow_line_gets_more_time() -> None:
    slow = plan_update(UNIT, release(), UpdateRules(), baud=9600).steps[0]
    assert slow.timeout_s > upload_estimate_s(200_000, 9600) > plan().steps[0].timeout_s


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"board": "rv32-virt"}, WrongBoard, "rv32-virt"),
        ({"min_revision": 2}, WrongBoard, "revision 2"),
        ({"name": "other"}, Refused, "another module"),
        ({"kind": "bootloader"}, Refused, "another module"),
        ({"kind": "radio", "name": "demo-radio"}, Refused, "goes with the app, not alone"),
        ({"security_counter": 1}, Refused, "security counter"),
        ({"version": "1.0.0"}, Refused, "same version with another image"),
        ({"version": "0.9.0"}, Refused, "older"),
    ],
)
def test_what_may_not_be_is_refused(changes: dict[str, Any], error: type[Refused], words: str) -> None:
    with pytest.raises(error, match=words):
        plan(**changes)


def test_a_release_says_from_which_version_it_takes_over() -> None:
    with pytest.raises(Refused, match=r"takes over from 1\.0\.5 and later, unit .* runs 1\.0\.0") as caught:
        plan(rules=UpdateRules(min_from_version="1.0.5", allow_older_version=True))
    assert "between the two first" in caught.value.remedy
    assert plan(rules=UpdateRules(min_from_version="1.0.0")).steps
    assert plan(image_hash=OLD, version="1.0.0", rules=UpdateRules(min_from_version="1.0.5")).steps == ()


def test_a_unit_of_a_later_revision_than_the_last_is_refused() -> None:
    made = release()
    contract = Contract(max_revision=1)
    held = made.model_copy(update={"artifact": made.artifact.model_copy(update={"contract": contract})})
    assert plan_update(UNIT, held, UpdateRules(), baud=BAUD).steps
    later = UNIT.model_copy(update={"revision": 2})
    with pytest.raises(WrongBoard, match=r"up to revision 1, unit .* is 2"):
        plan_update(later, held, UpdateRules(), baud=BAUD)


def two(unit: UnitState = UNIT, rules: UpdateRules | None = None, **changes: Any) -> Plan:
    radio = release(**{"kind": "radio", "name": "demo-radio", "image_hash": "c" * 64, **changes})
    return plan_update(unit, release(), rules or UpdateRules(), baud=BAUD, radio=radio)


def test_app_and_radio_are_one_plan_and_what_is_there_is_not_sent() -> None:
    start = ["mark-for-test", "reset", "health-check", "confirm"]
    both = two()
    assert both.radio is not None and both.radio.release == "demo-radio@1.1.0"
    assert [step.action for step in both.steps] == ["upload-radio", "upload", *start]
    has_radio = UNIT.model_copy(update={"radio_hash": "c" * 64})
    has_app = UNIT.model_copy(update={"image_hash": NEW})
    assert [step.action for step in two(has_radio).steps] == ["upload", *start]
    assert [step.action for step in two(has_app).steps] == ["upload-radio", *start]
    assert two(has_radio.model_copy(update={"image_hash": NEW})).steps == ()


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"kind": "app"}, Refused, "not a radio"),
        ({"board": "rv32-virt"}, WrongBoard, "rv32-virt"),
        ({"version": "0.9.0"}, Refused, "older"),
        ({"version": "1.0.0"}, Refused, "same version with another image"),
    ],
)
def test_a_radio_that_may_not_be_is_refused(changes: dict[str, Any], error: type[Refused], words: str) -> None:
    has = UNIT.model_copy(update={"modules": {"demo-radio": "1.0.0"}, "radio_hash": "d" * 64})
    with pytest.raises(error, match=words):
        two(has, **changes)
    with pytest.raises(Refused, match="testing"):
        two(has.model_copy(update={"state": "testing", "image_hash": NEW}))


def test_the_radio_that_comes_along_is_what_the_app_depends_on() -> None:
    rules = UpdateRules(dependencies=(Dependency(name="demo-radio", version=">=1.1.0"),))
    with pytest.raises(Refused, match="demo-radio"):
        plan(rules=rules)
    assert two(rules=rules).steps
    with pytest.raises(Refused, match="demo-radio"):
        two(rules=rules, version="1.0.0")


def test_an_older_version_needs_the_ugly_word() -> None:
    assert plan(rules=UpdateRules(allow_older_version=True), version="0.9.0").steps
    with pytest.raises(Refused, match="unsafe-allow-older-version"):
        plan(version="0.9.0")


def test_the_security_counter_holds_against_the_ugly_word() -> None:
    with pytest.raises(Refused, match="security counter"):
        plan(rules=UpdateRules(allow_older_version=True), version="0.9.0", security_counter=1)


def test_a_module_without_updates_is_refused() -> None:
    with pytest.raises(Refused, match="policy none"):
        plan(rules=UpdateRules(policy="none"))


def test_a_unit_in_the_middle_of_another_test_is_refused() -> None:
    with pytest.raises(Refused, match="testing"):
        plan(UNIT.model_copy(update={"state": "testing"}))


@pytest.mark.parametrize(
    ("need", "fits"),
    [
        (">=1.4.0", True),
        (">=1.0.0", True),
        ("==1.4.0", True),
        (">=1.5.0", False),
        (">=0.9.0", False),
        ("==1.3.0", False),
    ],
)
def test_dependencies(need: str, fits: bool) -> None:
    rules = UpdateRules(dependencies=(Dependency(name="assay-bootloader", version=need),))
    if fits:
        assert plan(rules=rules).steps
    else:
        with pytest.raises(Refused, match=r"assay-bootloader.*1\.4\.0"):
            plan(rules=rules)


def test_a_dependency_that_is_not_known_is_refused() -> None:
    rules = UpdateRules(dependencies=(Dependency(name="radio", version=">=1.0.0"),))
    with pytest.raises(Refused, match="not known to have"):
        plan(rules=rules)
