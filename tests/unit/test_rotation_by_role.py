# SPDX-License-Identifier: Apache-2.0
"""The key of each role is rotated and revoked: what it signed before goes on to verify, as far as a time is proved,
what it signs later is refused, and a revoked key counts for nothing. Gates ask so: with a clock, and archive stamps.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from keyless_bench import services, statement
from memory_signer import MemorySigner
from rfc3161_client import HashAlgorithm, TimestampRequestBuilder

from assay.errors import NotVerified
from assay.formats import checkpoint, signed_note, sigstore_bundle
from assay.formats.archive_stamp import stamped_bytes
from assay.formats.checkpoint import Checkpoint
from assay.formats.public_key import raw_ed25519
from assay.formats.signed_note import VerifierKey
from assay.formats.statement_verifier import verify_statement
from assay.model.statement import PredicateType
from assay.model.trust import STATEMENT_ROLES, Asking, Role, TrustedKey, TrustedLog, TrustFile, VerifiedStatement
from assay.simulation.sigstore_lab.lab import SigstoreLab

SAYS = {
    Role.BUILDER: PredicateType.RELEASE,
    Role.BENCH: PredicateType.QUARANTINE,
    Role.STATION: PredicateType.PROVISIONING,
    Role.FIELD: PredicateType.UPDATE,
    Role.POLICY: PredicateType.POLICY,
    Role.VERIFIER: PredicateType.SUMMARY,
}
NOW = datetime.now(UTC).replace(microsecond=0)
BEFORE, CUT, AFTER = NOW + timedelta(hours=5), NOW + timedelta(hours=6), NOW + timedelta(hours=7)
"""Behind the start of the lab, which counts for nothing before, however long the tests before these take."""


def test_the_table_has_every_role_that_makes_statements() -> None:
    assert set(SAYS) == STATEMENT_ROLES


@pytest.fixture(scope="module")
def lab() -> Iterator[SigstoreLab]:
    with SigstoreLab() as running:
        yield running


def stamped(lab: SigstoreLab, data: bytes, when: datetime) -> bytes:
    builder = TimestampRequestBuilder().hash_algorithm(HashAlgorithm.SHA256).data(stamped_bytes(data, ()))
    lab.stamper.clock = lambda: when
    return lab.stamper.answer(builder.build().as_bytes())


class Rotation:
    """The old key of a role, the new one, and a record that each made."""

    def __init__(self, lab: SigstoreLab, role: Role) -> None:
        self.lab, self.role = lab, role
        self.old, self.new = MemorySigner(), MemorySigner()
        said = statement(SAYS[role].value)
        self.record, self.later = self.old.sign_statement(role, said), self.new.sign_statement(role, said)

    def trust(self, **limits: object) -> TrustFile:
        old: TrustedKey = self.old.public_key(self.role).model_copy(update=limits)
        return TrustFile(
            schema="assay.trust/1",
            name="site",
            allow_development=True,
            keys=(old, self.new.public_key(self.role)),
            sigstore=(services(self.lab),),
        )

    def verify(
        self, bundle: bytes, trust: TrustFile, at: datetime, stamps: dict[str, tuple[bytes, ...]] | None = None
    ) -> VerifiedStatement:
        """As a gate does: the trust file knows the time."""
        asking = Asking(now=lambda: at, stamps=lambda sha256: (stamps or {}).get(sha256, ()))
        return verify_statement(bundle, trust.asked(asking), role=self.role, predicate_types={SAYS[self.role]})


@pytest.mark.parametrize("role", sorted(SAYS))
def test_a_key_is_rotated(lab: SigstoreLab, role: Role) -> None:
    made = Rotation(lab, role)
    trust = made.trust(valid_until=CUT)
    made.verify(made.record, trust, BEFORE)  # a window that ends in the future refuses nothing yet
    for at in (BEFORE, AFTER):
        assert made.verify(made.later, trust, at).signer.keyid == made.new.public_key(role).keyid
    with pytest.raises(NotVerified, match=f"the {role} signer .* is not trusted for .*, when this was asked, and no"):
        made.verify(made.record, trust, AFTER)
    digest = hashlib.sha256(made.record).hexdigest()
    kept = made.verify(made.record, trust, AFTER, {digest: (stamped(lab, made.record, BEFORE),)})
    assert kept.signer.keyid == made.old.public_key(role).keyid
    with pytest.raises(NotVerified, match=r"when this was signed .as an archive stamp says."):
        made.verify(made.record, trust, AFTER, {digest: (stamped(lab, made.record, AFTER),)})
    with pytest.raises(NotVerified, match="archive stamp 1 is not over this file"):  # that of another record
        made.verify(made.record, trust, AFTER, {digest: (stamped(lab, made.later, BEFORE),)})


@pytest.mark.parametrize("role", sorted(SAYS))
def test_a_key_that_does_not_count_yet(lab: SigstoreLab, role: Role) -> None:
    made = Rotation(lab, role)
    trust = made.trust(valid_from=CUT)
    with pytest.raises(NotVerified, match="is not trusted for"):
        made.verify(made.record, trust, BEFORE)
    made.verify(made.record, trust, AFTER)
    digest = hashlib.sha256(made.record).hexdigest()
    with pytest.raises(NotVerified, match="is not trusted for"):  # it was there before the key counted
        made.verify(made.record, trust, AFTER, {digest: (stamped(lab, made.record, BEFORE),)})


@pytest.mark.parametrize("role", sorted(SAYS))
def test_a_revoked_key_counts_for_nothing_however_old(lab: SigstoreLab, role: Role) -> None:
    made = Rotation(lab, role)
    digest = hashlib.sha256(made.record).hexdigest()
    for limits in ({"revoked": True}, {"revoked": True, "valid_until": CUT}):
        trust = made.trust(**limits)
        for stamps in ({}, {digest: (stamped(lab, made.record, BEFORE),)}):
            with pytest.raises(NotVerified, match="is revoked"):
                made.verify(made.record, trust, BEFORE, stamps)
        made.verify(made.later, trust, AFTER)


@pytest.mark.parametrize("role", sorted(SAYS))
def test_a_gate_whose_clock_is_wrong(lab: SigstoreLab, role: Role) -> None:
    """It is asked only where a window needs it: a field node without a clock goes on with keys that have none."""
    made, wrong = Rotation(lab, role), datetime(1970, 1, 1, tzinfo=UTC)
    with pytest.raises(NotVerified, match="the clock is wrong"):
        made.verify(made.record, made.trust(valid_until=CUT), wrong)
    made.verify(made.later, made.trust(valid_until=CUT), wrong)
    digest = hashlib.sha256(made.record).hexdigest()
    made.verify(made.record, made.trust(valid_until=CUT), wrong, {digest: (stamped(lab, made.record, BEFORE),)})
    nobody = made.trust(valid_until=CUT)
    with pytest.raises(NotVerified, match="no time is proved"):  # a trust file that nobody gave a clock
        verify_statement(made.record, nobody, role=role, predicate_types={SAYS[role]})


@pytest.mark.parametrize("order", [1, -1])
def test_a_bundle_with_several_stamps_is_of_the_time_of_the_first_that_verifies(lab: SigstoreLab, order: int) -> None:
    made = Rotation(lab, Role.BUILDER)
    opened = sigstore_bundle.decode(made.record)
    stamps = tuple(_inside(lab, opened.envelope.signature, when) for when in (BEFORE, AFTER)[::order])
    with SigstoreLab() as other:
        strange = _inside(other, opened.envelope.signature, BEFORE - timedelta(seconds=30))
    keyid = made.old.public_key(Role.BUILDER).keyid
    bundle = sigstore_bundle.encode(opened.envelope, keyid, (), (strange, *stamps))
    trust = made.trust(valid_until=CUT, sigstore="lab")
    found = made.verify(bundle, trust, AFTER)
    assert found.time is not None and found.time.when == BEFORE
    late = sigstore_bundle.encode(opened.envelope, keyid, (), stamps[::order][1:])
    with pytest.raises(NotVerified, match="when this was signed"):
        made.verify(late, trust, AFTER)


def _inside(lab: SigstoreLab, signature: bytes, when: datetime) -> bytes:
    return stamped(lab, signature, when)


def test_the_key_of_a_log_is_followed_by_a_log_of_its_own() -> None:
    """A log keeps its key for life: another key is another log, under another origin. The old one verifies as long as
    the trust file names it, and a checkpoint by another key under its name never does.
    """
    old, new = MemorySigner(), MemorySigner()
    text = Checkpoint("assay.local/old", 3, bytes(32)).text
    first, second = (_log(signer, name) for signer, name in ((old, "old"), (new, "new")))
    both = TrustFile(schema="assay.trust/1", name="site", allow_development=True, logs=(first, second))
    assert checkpoint.verify_with_trust(_note(old, first, text), both)[1] == first
    other = Checkpoint("assay.local/new", 1, bytes(32)).text
    assert checkpoint.verify_with_trust(_note(new, second, other), both)[1] == second
    with pytest.raises(NotVerified):
        checkpoint.verify_with_trust(_note(new, _log(new, "old"), text), both)
    gone = both.model_copy(update={"logs": (second,)})
    with pytest.raises(NotVerified, match="is not in the trust file"):
        checkpoint.verify_with_trust(_note(old, first, text), gone)


def _log(signer: MemorySigner, name: str) -> TrustedLog:
    vkey = VerifierKey(f"assay.local/{name}", raw_ed25519(signer.public_key(Role.LOG).public))
    return TrustedLog(origin=vkey.name, vkey=str(vkey), development=True)


def _note(signer: MemorySigner, log: TrustedLog, text: str) -> bytes:
    key = signed_note.parse_vkey(log.vkey)
    return signed_note.write(text, key.name, key.public, signer.sign(Role.LOG, text.encode()))
