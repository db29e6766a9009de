# SPDX-License-Identifier: Apache-2.0
"""Envelopes by certificate whose Rekor v1 entry is a `hashedrekord` 0.0.1 or an `intoto` 0.0.2, which Sigstore's client
for Python does not know (docs/adr/0315); and services whose time had ended when they were used.

Every bundle that is refused is one change away from one that is accepted.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conformance_bench import DIGEST, STATEMENT, Case, RekorV1, Services, Signed, services, stamp
from conformance_cases import entry_of, envelope_v1, envelope_v2, file_v1, file_v2, flip
from cryptography.hazmat.primitives.asymmetric import ec
from keyless_bench import WHO, statement

from assay.errors import NotVerified
from assay.formats.statement_verifier import verify_statement
from assay.model.signer_limits import TrustedServices
from assay.model.statement import PredicateType
from assay.model.trust import Role, TrustedIdentity, TrustFile, VerifiedStatement

__all__ = ["services"]

HOUR = timedelta(hours=1)
KINDS = ("hashedrekord", "intoto")
of_each_kind = pytest.mark.parametrize("kind", KINDS)


def verified(found: Case) -> VerifiedStatement:
    """As `assay verify` does, by a trust file."""
    trusted = TrustedServices(name="lab", trusted_root=json.dumps(found.root), development=True)
    who = {"role": Role.BUILDER, "name": "ci", "issuer": found.services.lab.url, "san": WHO, "sigstore": "lab"}
    trust = TrustFile(
        schema="assay.trust/1",
        name="site",
        allow_development=True,
        sigstore=(trusted,),
        identities=(TrustedIdentity.model_validate(who),),
    )
    kinds, data = {PredicateType.RELEASE}, json.dumps(found.bundle).encode()
    return verify_statement(data, trust, role=Role.BUILDER, predicate_types=kinds, subject_sha256=DIGEST.hex())


@of_each_kind
@pytest.mark.parametrize("version", ["0.1", "0.2", "0.3"])
def test_who_when_and_where(services: Services, kind: str, version: str) -> None:
    found = services.old(services.sign(STATEMENT), kind)
    found.older(version)
    proof = verified(found)
    assert proof.named == (services.lab.url, WHO) and proof.time is not None and proof.place is not None
    assert proof.time.when == datetime.fromtimestamp(int(found.entry["integratedTime"]), UTC)
    assert (proof.time.source, proof.place.log, proof.place.index) == (proof.place.log, "https://rekor.example", 1)


@of_each_kind
def test_a_time_stamp_in_the_place_of_the_promise(services: Services, kind: str) -> None:
    found = services.old(services.sign(STATEMENT), kind)
    found.stamps(stamp(services.lab.stamper, found.signed.signature))
    del found.entry["inclusionPromise"]
    found.entry["integratedTime"] = "0"
    assert verified(found).time is not None
    found.entry["inclusionPromise"] = {"signedEntryTimestamp": "AAAA"}  # of no time, which is none
    assert verified(found).time is not None
    found.stamps(stamp(services.other.stamper, found.signed.signature))
    with pytest.raises(NotVerified, match="not enough sources of verified time"):
        verified(found)


def _other_signature(it: Case) -> None:
    again = Signed(it.signed.key, it.signed.certificate, STATEMENT)
    it.bundle.update(again.content)


def _other_statement(it: Case) -> None:
    said = STATEMENT.replace(b"blinky", b"blinkz")
    it.bundle.update(Signed(it.signed.key, it.signed.certificate, said).content)


def _other_time(it: Case) -> None:
    it.entry["integratedTime"] = str(int(it.entry["integratedTime"]) + 1)


def _no_promise(it: Case) -> None:
    del it.entry["inclusionPromise"]


def _other_promise(it: Case) -> None:
    said = it.entry["inclusionPromise"]
    said["signedEntryTimestamp"] = flip(said["signedEntryTimestamp"])


def _other_log(it: Case) -> None:
    it.root["tlogs"][-1] = RekorV1().trusted


def _other_payload_type(it: Case) -> None:
    it.bundle["dsseEnvelope"]["payloadType"] = "application/vnd.in-toto+cbor"


def _swapped(it: Case) -> None:
    kind = it.entry["kindVersion"]["kind"]
    entry_of(lambda s: s.old(s.sign(statement(sha256=DIGEST.hex())), kind))(it)


def _named_otherwise(it: Case) -> None:
    it.entry["kindVersion"]["version"] = {"0.0.1": "0.0.2", "0.0.2": "0.0.1"}[it.entry["kindVersion"]["version"]]


CHANGES: tuple[tuple[Callable[[Case], None], str], ...] = (
    (_other_signature, "inconsistent with other materials|about another signature"),
    (_other_statement, "Signature is invalid|InvalidSignature|inconsistent|about another signature"),
    (_other_time, "invalid inclusion promise"),
    (_no_promise, "must contain an inclusion promise"),
    (_other_promise, "invalid inclusion promise"),
    (_other_log, "invalid log entry"),
    (_other_payload_type, "payload type"),
    (_swapped, "inconsistent with other materials|about another signature"),
    (_named_otherwise, "does not verify"),
)


@of_each_kind
@pytest.mark.parametrize(("change", "says"), CHANGES, ids=[change.__name__ for change, _ in CHANGES])
def test_one_change_and_it_is_refused(services: Services, kind: str, change: Callable[[Case], None], says: str) -> None:
    found = services.old(services.sign(STATEMENT), kind)
    verified(found)
    change(found)
    with pytest.raises(NotVerified, match=says):
        verified(found)


def test_words_of_a_bundle_that_are_repeated_steer_no_terminal(services: Services) -> None:
    found = envelope_v1(services)
    found.entry["x\x1b[31m\u202e"] = 1
    with pytest.raises(NotVerified, match=r"tlogEntries\.0\.x\\u\{1b\}\[31m\\u\{202e\}: Extra inputs"):
        verified(found)


@of_each_kind
def test_an_entry_about_a_signature_that_the_certificate_did_not_make(services: Services, kind: str) -> None:
    """The entry and the envelope agree; the key is another."""
    theirs = Signed(ec.generate_private_key(ec.SECP256R1()), services.sign(STATEMENT).certificate, STATEMENT)
    with pytest.raises(NotVerified, match=r"Signature is invalid for input|InvalidSignature"):
        verified(services.old(theirs, kind))


@of_each_kind
@pytest.mark.parametrize("when", [-2 * HOUR, 2 * HOUR])
def test_a_certificate_of_another_time(services: Services, kind: str, when: timedelta) -> None:
    made = services.old(services.sign(STATEMENT), kind, datetime.now(UTC) + when)
    made.root["tlogs"][-1]["publicKey"]["validFor"]["start"] = (datetime.now(UTC) - 3 * HOUR).isoformat()
    with pytest.raises(NotVerified, match=r"does not verify: (CertValidation|Verification)Error|no authority"):
        verified(made)


# Services whose time had ended: the client looks at the begin of it only.

MAKES = {
    "file-v1": file_v1,
    "file-v2": file_v2,
    "envelope-v1": envelope_v1,
    "envelope-v2": envelope_v2,
    **{f"envelope-{kind}": lambda s, kind=kind: s.old(s.sign(STATEMENT), kind) for kind in KINDS},
}


@pytest.mark.parametrize("make", MAKES.values(), ids=MAKES)
@pytest.mark.parametrize("service", ["certificateAuthorities", "ctlogs"])
def test_a_service_that_had_ended_before_it_was_used(
    services: Services,
    make: Callable[[Services], Case],
    service: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = make(services)
    place = found.root[service][0]
    window = place.get("publicKey", place)["validFor"]
    window["end"] = (datetime.now(UTC) + HOUR).isoformat()
    assert found.verdict(tmp_path) == 0, capsys.readouterr().err
    window["end"] = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    assert found.verdict(tmp_path) == 4
    assert "of certificates of the trusted root counts at" in capsys.readouterr().err
