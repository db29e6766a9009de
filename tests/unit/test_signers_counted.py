# SPDX-License-Identifier: Apache-2.0
"""Who counts as another signer, whose log and time count, and how often a PIN that was refused is given."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from keyless_bench import WHO, identity, services, sign_keyless, statement, trust_file
from memory_signer import MemorySigner, trust_in

from assay.backends.logs.rekor_client import services_of
from assay.backends.signers.wrong_pin import WrongPin
from assay.errors import NotVerified, Refused
from assay.formats import canonical_json
from assay.formats import trust_file as trust_text
from assay.formats.signer_choice import distinct_signers
from assay.formats.statement_verifier import verify_statement, verify_statements
from assay.interfaces.signer import KeyPlace
from assay.model.keys import PinSource
from assay.model.signer_limits import Threshold
from assay.model.statement import PredicateType, Statement, Subject
from assay.model.trust import Role
from assay.pipeline.log_submit import log_bundle
from assay.simulation.sigstore_lab.lab import SigstoreLab

KIND = PredicateType.RELEASE
TWO = (Threshold(predicate_type=KIND.value, count=2),)


@pytest.fixture(scope="module")
def lab() -> Iterator[SigstoreLab]:
    with SigstoreLab() as lab:
        yield lab


def test_one_person_with_certificates_of_two_services_counts_once(lab: SigstoreLab) -> None:
    """The services differ, the issuer and the name do not: no threshold is met by that."""
    mine, again = identity(lab), identity(lab, name="ci-again", sigstore="other")
    assert mine.is_who == again.is_who
    trust = trust_file(lab, mine, again, sigstore=(services(lab), services(lab, "other")), thresholds=TWO)
    assert [text for _, text in trust_text.faults(trust)] == [
        "expected at least 2 signers that may make these statements, there are 1"
    ]


PATTERN = WHO.replace("release.yml", "*")


def test_one_person_who_fits_two_lines_counts_once(lab: SigstoreLab) -> None:
    """The pattern's line in one statement, the name's in the other: who signed is what the certificate says."""
    by_pattern = identity(lab, san=None, san_pattern=PATTERN, sigstore="other")
    trust = trust_file(lab, sigstore=(services(lab), services(lab, "other")))
    bundle = sign_keyless(lab, statement())
    found = [
        verify_statement(
            bundle, trust.model_copy(update={"identities": lines}), role=Role.BUILDER, predicate_types={KIND}
        )
        for lines in ((by_pattern,), (identity(lab),))
    ]
    assert found[0].signer.is_who != found[1].signer.is_who
    assert found[0].is_who & found[1].is_who
    assert distinct_signers(found) == 1
    other = sign_keyless(lab, statement(), WHO.replace("release.yml", "nightly.yml"))
    by_name = identity(lab, san=WHO.replace("release.yml", "nightly.yml"))
    found.append(
        verify_statement(
            other, trust.model_copy(update={"identities": (by_name,)}), role=Role.BUILDER, predicate_types={KIND}
        )
    )
    assert distinct_signers(found) == 2


def test_subjects_without_a_sha256_are_not_the_same_subject() -> None:
    first, second = MemorySigner(), MemorySigner()

    def about(digest: str) -> bytes:
        subject = Subject(name="image", digest={"sha512": digest * 64})
        return canonical_json.encode_value(Statement(subject=(subject,), predicateType=KIND.value, predicate={}))

    keys = (first.public_key(Role.BUILDER), second.public_key(Role.BUILDER))
    trust = trust_in(first).model_copy(update={"keys": keys, "thresholds": TWO})
    bundles = [signer.sign_statement(Role.BUILDER, about(text)) for signer, text in ((first, "ab"), (second, "cd"))]
    with pytest.raises(NotVerified, match="different subjects"):
        verify_statements(bundles, trust, role=Role.BUILDER, predicate_types={KIND})


def test_the_log_and_the_time_of_a_lab_do_not_count_in_production(lab: SigstoreLab) -> None:
    signer = MemorySigner()
    key = signer.public_key(Role.BUILDER).model_copy(
        update={"sigstore": "lab", "log_required": True, "development": False}
    )
    where = services_of(lab.trust_config)
    bundle = log_bundle(signer.sign_statement(Role.BUILDER, statement()), key, where, json.dumps(lab.trusted_root))[0]
    trust = trust_file(lab, keys=(key,))
    assert verify_statement(bundle, trust, role=Role.BUILDER, predicate_types={KIND}).place is not None
    production = trust.model_copy(update={"allow_development": False})
    with pytest.raises(NotVerified, match="whose keys are UNSAFE-DEVELOPMENT"):
        verify_statement(bundle, production, role=Role.BUILDER, predicate_types={KIND})


def test_a_person_who_asks_for_one_more_try_gets_one(tmp_path: Path) -> None:
    """The session that `assay keys login` opens may be asked to sign, too."""
    asked = WrongPin("T", PinSource(env="ASSAY_PIN_T"), KeyPlace(uri="hsm:1", public="", folder=tmp_path, again=True))
    asked.check(locked=True)
    asked.remember()
    with pytest.raises(Refused, match="was wrong the last time"):
        asked.check(locked=True)


def test_a_module_that_is_not_the_first_subject_is_not_passed_over() -> None:
    """A bench for `blinky` signs a result on `blinky` and on something else."""
    signer = MemorySigner()
    key = signer.public_key(Role.BENCH).model_copy(update={"modules": ("blinky",)})
    trust = trust_in(signer).model_copy(update={"keys": (key,)})
    blinky = Subject(name="blinky@1.0.0", digest={"sha256": "ab" * 32})
    pump = Subject(name="pump@1.0.0", digest={"sha256": "cd" * 32})

    def result(*subjects: Subject) -> bytes:
        made = Statement(subject=subjects, predicateType=PredicateType.TEST_RESULT.value, predicate={})
        return signer.sign_statement(Role.BENCH, canonical_json.encode_value(made))

    def check(bundle: bytes) -> None:
        verify_statement(bundle, trust, role=Role.BENCH, predicate_types={PredicateType.TEST_RESULT})

    check(result(blinky))
    with pytest.raises(NotVerified, match="not about the module 'pump'"):
        check(result(blinky, pump))
