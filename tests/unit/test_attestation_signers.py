# SPDX-License-Identifier: Apache-2.0
"""Attacks by signers (docs/reference/attacks.md): beyond their limits, in a wrong role, too few, too late."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attestation_bench import DAY, KIND, NOW, Scene, check, scene
from keyless_bench import SHA256, WHO, identity, services, statement, trust_file
from memory_signer import trust_in

from assay.errors import NotVerified
from assay.formats.statement_verifier import verify_statement, verify_statements
from assay.model.signer_limits import Threshold
from assay.model.statement import PredicateType
from assay.model.trust import Role

__all__ = ["scene"]


@pytest.mark.parametrize(
    ("bundle", "limits", "refused"),
    [
        ("logged", {"valid_until": NOW - DAY}, "is not trusted for .*, when this was signed .as http"),
        ("logged", {"valid_from": NOW + DAY}, "is not trusted for .*, when this was signed .as http"),
        ("keyed", {"valid_until": NOW}, "no time stamp says it is older"),
        ("keyed", {"valid_from": NOW + 9 * DAY}, "is not trusted for"),
        ("keyed", {"revoked": True}, "is revoked"),
        ("logged", {"revoked": True}, "is revoked"),
        ("keyed", {"log_required": True}, "is not in the log of 'lab'"),
        ("keyed", {"predicate_types": (PredicateType.SBOM.value,)}, "may not make statements of the type"),
        ("keyed", {"modules": ("pump",)}, "about pump, not about the module 'blinky'"),
    ],
)
def test_limits_of_a_key(scene: Scene, bundle: str, limits: dict[str, Any], refused: str) -> None:
    with pytest.raises(NotVerified, match=refused):
        check(getattr(scene, bundle), scene.trust(**limits))


def test_limits_that_hold(scene: Scene) -> None:
    limits = {"valid_from": NOW - DAY, "valid_until": NOW + DAY, "modules": ("blinky",)}
    check(scene.logged, scene.trust(**limits))
    check(scene.keyed, scene.trust(**limits), at=NOW)
    with pytest.raises(NotVerified, match="no time is proved"):
        check(scene.keyed, scene.trust(**limits), at=None)


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"revoked": True}, "is revoked"),
        ({"valid_until": NOW - DAY}, "is not trusted for"),
        ({"modules": ("pump",)}, "not about the module 'blinky'"),
        ({"issuer": "https://accounts.example"}, "does not trust"),
        ({"san": WHO + "x"}, "does not trust"),
        ({"san": None, "san_pattern": "https://ci.example/project/*"}, "does not trust"),
        ({"role": Role.STATION}, "names no identity for builder"),
    ],
)
def test_limits_of_an_identity(scene: Scene, changes: dict[str, Any], refused: str) -> None:
    with pytest.raises(NotVerified, match=refused):
        check(scene.keyless, trust_file(scene.lab, identity(scene.lab, **changes)))


def test_a_pattern_that_fits(scene: Scene) -> None:
    wide = identity(scene.lab, san=None, san_pattern="https://ci.example/project/*@refs/heads/*")
    check(scene.keyless, trust_file(scene.lab, wide))


def test_the_right_signer_in_the_wrong_role(scene: Scene) -> None:
    station = scene.signer.sign_statement(Role.STATION, statement())
    with pytest.raises(NotVerified, match="must be signed by builder"):
        check(station, trust_in(scene.signer))
    with pytest.raises(NotVerified, match="a field key may not sign"):
        verify_statement(
            scene.signer.sign_statement(Role.FIELD, statement()),
            trust_in(scene.signer),
            role=Role.FIELD,
            predicate_types={KIND},
        )


@pytest.mark.parametrize("bundle", ["keyless", "keyed", "logged"])
def test_a_clock_at_1970(scene: Scene, bundle: str) -> None:
    with pytest.raises(NotVerified, match="the clock is wrong"):
        check(getattr(scene, bundle), scene.trust(), at=datetime(1970, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("bundle", ["keyless", "logged"])
def test_asked_for_a_time_before_it_was_signed(scene: Scene, bundle: str) -> None:
    with pytest.raises(NotVerified, match="after the time of asking"):
        check(getattr(scene, bundle), scene.trust(), at=NOW - DAY)


def test_a_clock_that_is_a_little_behind(scene: Scene) -> None:
    """Two machines' clocks differ by seconds; what was just signed is not refused for it."""
    when = check(scene.keyless, scene.trust()).time.when
    check(scene.keyless, scene.trust(), at=when - timedelta(minutes=4))
    with pytest.raises(NotVerified, match="after the time of asking"):
        check(scene.keyless, scene.trust(), at=when - timedelta(minutes=6))


def test_a_threshold_of_distinct_signers(scene: Scene) -> None:
    wants_two = scene.trust().model_copy(update={"thresholds": (Threshold(predicate_type=KIND.value, count=2),)})

    def both(*bundles: bytes) -> None:
        verify_statements(bundles, wants_two, role=Role.BUILDER, predicate_types={KIND}, subject_sha256=SHA256)

    both(scene.keyless, scene.keyed)
    with pytest.raises(NotVerified, match=r"wants 2 distinct signers .* there is 1"):
        check(scene.keyless, wants_two)
    again = scene.signer.sign_statement(Role.BUILDER, statement())
    for twice in ((scene.keyed, again), (scene.keyed, scene.logged), (scene.keyless, scene.keyless)):
        with pytest.raises(NotVerified, match="there is 1"):
            both(*twice)
    with pytest.raises(NotVerified, match="different subjects"):
        verify_statements(
            (scene.keyless, scene.signer.sign_statement(Role.BUILDER, statement(sha256="ab" * 32))),
            wants_two,
            role=Role.BUILDER,
            predicate_types={KIND},
        )


def test_one_key_by_two_names_counts_once(scene: Scene) -> None:
    key = scene.key
    named_twice = trust_in(scene.signer).model_copy(
        update={
            "keys": (key, key.model_copy(update={"name": "another"})),
            "thresholds": (Threshold(predicate_type=KIND.value, count=2),),
        }
    )
    with pytest.raises(NotVerified, match="there is 1"):
        verify_statements((scene.keyed, scene.keyed), named_twice, role=Role.BUILDER, predicate_types={KIND})


def test_services_that_a_trust_file_does_not_have(scene: Scene) -> None:
    lost = trust_file(scene.lab, sigstore=(services(scene.lab, "another"),))
    with pytest.raises(NotVerified, match="names no services 'lab'"):
        check(scene.keyless, lost)
