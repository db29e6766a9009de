# SPDX-License-Identifier: Apache-2.0
"""Attacks on log entries, time stamps and the times of certificates (docs/reference/attacks.md): each refused."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attestation_bench import DAY, Scene, changed, changed_entry, check, scene
from keyless_bench import services, sign_keyless, statement, trust_file

from assay.errors import NotVerified
from assay.formats import sigstore_bundle
from assay.formats.keyless_proof import place_and_time
from assay.formats.log_entry_proof import LoggedSignature
from assay.formats.time_stamps import proved_times
from assay.formats.trusted_root import read as read_root
from assay.simulation.sigstore_lab import certificates
from assay.simulation.sigstore_lab.lab import SigstoreLab

__all__ = ["scene"]


@pytest.mark.parametrize("bundle", ["keyless", "logged"])
def test_the_log_entry_of_another_artifact(scene: Scene, bundle: str) -> None:
    """cosign CVE-2026-22703."""
    entries = json.loads(scene.keyless_other)["verificationMaterial"]["tlogEntries"]
    foreign = changed(getattr(scene, bundle), lambda it: it["verificationMaterial"].update(tlogEntries=entries))
    with pytest.raises(NotVerified, match=r"inconsistent with other materials|about another signature"):
        check(foreign, scene.trust())


NO_BUNDLE, PROOF = "InvalidBundle", "inclusion proof contains invalid root hash"
CHANGED = {
    "body": (PROOF, r"entry \d+ is not in the log of size \d+ with this root"),
    "root": (PROOF, "the log entry's proof is for another tree than its checkpoint"),
    "index": ("verificationMaterial.tlogEntries.0.inclusionProof", "the inclusion proof is malformed"),
    "checkpoint": ("checkpoint: invalid signature", "checkpoint is not signed by a log of the trusted root"),
    "none": (NO_BUNDLE, "the statement is not in the log of 'lab'"),
    "junk": (NO_BUNDLE, "the log entry is malformed"),
}
"""What is said of a keyless bundle by the client, and of one by key by our readers."""


@pytest.mark.parametrize("bundle", ["keyless", "logged"])
@pytest.mark.parametrize("part", CHANGED)
def test_a_changed_log_entry(scene: Scene, bundle: str, part: str) -> None:
    with pytest.raises(NotVerified, match=CHANGED[part][bundle == "logged"]):
        check(changed(getattr(scene, bundle), changed_entry(part)), scene.trust(log_required=True))


def test_a_log_entry_twice(scene: Scene) -> None:
    with pytest.raises(NotVerified, match=NO_BUNDLE):
        check(changed(scene.keyless, changed_entry("twice")), scene.trust())


def test_our_own_reader_wants_one_entry_and_a_time(scene: Scene) -> None:
    """The client refuses those bundles before it; nothing rests on that alone."""
    root = read_root(json.dumps(scene.lab.trusted_root))
    logged = LoggedSignature(b"s", b"d" * 32, certificate_der=b"c")
    opened = sigstore_bundle.decode(scene.keyless)
    assert isinstance(opened.material, sigstore_bundle.CertificateMaterial)
    for entries in ((), opened.entries * 2):
        with pytest.raises(NotVerified, match="has one log entry"):
            place_and_time(entries, (), logged, root)
    mine = LoggedSignature(
        opened.envelope.signature,
        hashlib.sha256(opened.envelope.signed).digest(),
        certificate_der=opened.material.certificates[0],
    )
    assert place_and_time(opened.entries, proved_times(opened.stamps, mine.signature, root), mine, root)
    with pytest.raises(NotVerified, match="no time is proved"):
        place_and_time(opened.entries, (), mine, root)


def test_a_log_and_a_stamp_of_strangers(scene: Scene) -> None:
    with SigstoreLab() as other:
        strange = trust_file(other, keys=(scene.key.model_copy(update={"sigstore": "lab", "log_required": True}),))
        with pytest.raises(NotVerified, match="time stamp, and not of an authority of 'lab'"):
            check(scene.logged, strange)
        unstamped = changed(scene.logged, lambda it: it["verificationMaterial"].pop("timestampVerificationData"))
        with pytest.raises(NotVerified, match="not signed by a log of the trusted root"):
            check(unstamped, strange)
        with pytest.raises(NotVerified, match="does not verify"):
            check(scene.keyless, strange)


@pytest.mark.parametrize("what", ["log", "stamper"])
@pytest.mark.parametrize(
    ("window", "refused"),
    [
        (lambda when: {"start": when + DAY}, True),
        (lambda when: {"start": when - DAY, "end": when - timedelta(seconds=1)}, True),
        (lambda when: {"start": when - DAY, "end": when}, False),
        (lambda when: {"end": when + DAY}, True),
        (lambda when: {}, True),
    ],
    ids=["not yet", "no more", "the last second", "no beginning", "nothing"],
)
def test_keys_of_services_count_for_their_time(scene: Scene, what: str, window: Any, refused: bool) -> None:
    """A log's key and a time stamp authority of the trusted root, by the time that is proved."""
    when = check(scene.logged, scene.trust()).time.when
    root = json.loads(json.dumps(scene.lab.trusted_root))
    place = root["tlogs"][0]["publicKey"] if what == "log" else root["timestampAuthorities"][0]
    place["validFor"] = {name: time.isoformat() for name, time in window(when).items()}
    named = services(scene.lab).model_copy(update={"trusted_root": json.dumps(root)})
    trust = scene.trust(log_required=True).model_copy(update={"sigstore": (named,)})
    if not refused:
        assert check(scene.logged, trust).place is not None
        return
    with pytest.raises(NotVerified, match=r"not signed by a log|not of an authority|malformed"):
        check(scene.logged, trust)


def test_a_certificate_that_had_expired_when_it_was_signed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of the time stamp authority says when; ours does not matter."""
    monkeypatch.setattr(scene.lab.stamper, "clock", lambda: datetime.now(UTC) + timedelta(hours=1))
    late = sign_keyless(scene.lab, statement())
    with pytest.raises(NotVerified, match="cert is not valid at validation time"):
        check(late, scene.trust())


def test_a_certificate_that_was_not_valid_yet_when_it_was_signed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "BACKDATED", -timedelta(minutes=1))
    early = sign_keyless(scene.lab, statement())
    with pytest.raises(NotVerified, match="cert is not valid at validation time"):
        check(early, scene.trust())


def test_a_time_stamp_from_before_its_authority(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scene.lab.stamper, "clock", lambda: datetime.now(UTC) - timedelta(hours=1))
    with pytest.raises(NotVerified, match="not enough sources of verified time"):
        check(sign_keyless(scene.lab, statement()), scene.trust())


def test_no_time_stamp(scene: Scene) -> None:
    with pytest.raises(NotVerified, match="promise or signed timestamp"):
        check(
            changed(scene.keyless, lambda it: it["verificationMaterial"].pop("timestampVerificationData")),
            scene.trust(),
        )


def test_the_time_stamp_of_another_signature(scene: Scene) -> None:
    stamps = json.loads(scene.keyless_other)["verificationMaterial"]["timestampVerificationData"]
    foreign = changed(scene.keyless, lambda it: it["verificationMaterial"].update(timestampVerificationData=stamps))
    with pytest.raises(NotVerified, match="time"):
        check(foreign, scene.trust())
