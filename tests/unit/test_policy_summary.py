# SPDX-License-Identifier: Apache-2.0
"""Verification summaries: derived and signed here, believed at a station after all seven steps, one test for each."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from memory_signer import MemorySigner
from policy_sample import pack_text
from published_release import Published

from assay.cli.main import main
from assay.errors import NotVerified, Refused, UsageFault
from assay.formats import canonical_json, trust_file
from assay.model.artifact import Release, VerifiedImage
from assay.model.board import Board
from assay.model.policy import Point
from assay.model.signer_limits import SummaryPolicy
from assay.model.statement import PredicateType
from assay.model.trust import Role, TrustFile
from assay.pipeline.policy_adoption import adopt
from assay.pipeline.policy_facts import facts_of
from assay.pipeline.policy_files import policy_engine
from assay.pipeline.policy_summary import Summarized, derive_again, summarize
from assay.pipeline.release_gate import verify_release, verify_summarized
from assay.pipeline.site_keys import use_key
from assay.pipeline.withdrawing import withdraw
from assay.stages.provenance.summary import summary_statement

SIGNER = MemorySigner()
KIND = PredicateType.SUMMARY.value
ALLOWS, DENIES = "release.kind == 'bootloader'", "release.kind == 'app'"


@pytest.fixture
def decided(published: Published) -> Published:
    adopt_pack(published, ALLOWS)
    return published


def adopt_pack(published: Published, deny_if: str, **changes: str) -> None:
    path = published.root / "strict.toml"
    path.write_text(pack_text(deny_if, **changes))
    adopt(published.site, path, "for the tests", published.trust(), policy_engine(), untested="for the tests")


def station_trust(published: Published, *, ours: bool = True) -> TrustFile:
    """No builder; and our own verifier, or the one in memory, which signs whatever it is given."""
    trust = published.trust()
    keys = [key for key in trust.keys if key.role not in (Role.BUILDER, *(() if ours else (Role.VERIFIER,)))]
    keys += [] if ours else [SIGNER.public_key(Role.VERIFIER)]
    return trust.model_copy(update={"keys": tuple(keys)})


def gate(published: Published, trust: TrustFile) -> VerifiedImage:
    return verify_release(published.site.store, trust, "tiny", "1.0.0", published.board)


@dataclass(frozen=True)
class Summed:
    """A release with its summary, made once: what the steps are tried on."""

    image: VerifiedImage
    made: Summarized
    board: Board
    trust: TrustFile
    ours: TrustFile

    def forged(self, change: Callable[[dict[str, Any]], object], role: Role = Role.VERIFIER) -> bytes:
        """A summary as ours by the verifier in memory, changed before it is signed."""
        decision, keyid = self.made.judged.decision, SIGNER.public_key(role).keyid
        statement = summary_statement(decision, self.made.release, {}, keyid, 1, "2026-11-25T00:00:00+00:00")
        document = canonical_json.plain(statement)
        change(document)
        return SIGNER.sign_statement(role, canonical_json.encode(document))

    def verify(self, bundle: bytes, trust: TrustFile | None = None, release: Release | None = None) -> VerifiedImage:
        return verify_summarized(
            release or self.image.release, self.image.data, bundle, trust or self.trust, self.board
        )


@pytest.fixture(scope="module")
def summed(made_release: Path, tmp_path_factory: pytest.TempPathFactory) -> Summed:
    root = tmp_path_factory.mktemp("summed") / "copy"
    shutil.copytree(made_release, root)
    published = Published(root)
    adopt_pack(published, ALLOWS)
    made = summarize(published.site, "tiny@1.0.0", published.board, published.trust(), None)
    theirs, ours = station_trust(published, ours=False), station_trust(published)
    found = Summed(published.gate(), made, published.board, theirs, ours)
    published.site.signers.close()  # type: ignore[attr-defined]
    return found


def test_a_station_accepts_a_release_by_its_summary(decided: Published) -> None:
    trust = station_trust(decided)
    with pytest.raises(NotVerified, match="has no verification summary, and 'test' names nobody who builds"):
        gate(decided, trust)
    made = summarize(decided.site, "tiny@1.0.0", decided.board, decided.trust(), None)
    image = gate(decided, trust)
    assert image.summary is not None
    assert image.summary.policy_uri == "urn:assay:policy:strict:1.0.0"
    assert image.summary.policy_sha256 == made.judged.pack.sha256
    assert {check.key.role for check in image.checks if check.key} == {Role.IMAGE, Role.VERIFIER}
    assert len(made.bundle) < 4096
    facts = facts_of(decided.site, trust, Point.FLASH, image, decided.board)
    assert facts.release.provenance is None and facts.release.sbom is None
    assert facts.release.summary is not None and facts.release.summary.levels == ("SLSA_BUILD_LEVEL_1",)
    assert gate(decided, decided.trust()).summary is None  # who names a builder verifies the statements


def test_a_summary_that_nobody_changed_passes(summed: Summed) -> None:
    """The way that the changed ones below take."""
    assert summed.verify(summed.forged(lambda _document: None)).summary is not None


STEPS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "subject": (lambda it: it["subject"][0]["digest"].update(sha256="0" * 64), "is not about the file with the"),
    "release document": (lambda it: it["subject"].pop(), "is about another release document"),
    "predicate type": (lambda it: it.update(predicateType=PredicateType.POLICY.value), "the predicate type is"),
    "verifier": (lambda it: it["predicate"]["verifier"].update(id="urn:assay:verifier:" + "0" * 64), "is not its key"),
    "no verifier": (lambda it: it["predicate"].pop("verifier"), "lacks verifier"),
    "resource": (lambda it: it["predicate"].update(resourceUri="urn:assay:release:x:tiny@1.0.0"), "is about 'urn:"),
    "failed": (lambda it: it["predicate"].update(verificationResult="FAILED"), "and not PASSED"),
    "no result": (lambda it: it["predicate"].pop("verificationResult"), "and not PASSED"),
    "no levels": (lambda it: it["predicate"].update(verifiedLevels=[]), "verifies no SLSA build level"),
    "level 0": (lambda it: it["predicate"].update(verifiedLevels=["SLSA_BUILD_LEVEL_0"]), "verifies no SLSA build"),
    "another track": (lambda it: it["predicate"].update(verifiedLevels=["SLSA_SOURCE_LEVEL_3"]), "verifies no SLSA"),
    "no list": (lambda it: it["predicate"].update(verifiedLevels="SLSA_BUILD_LEVEL_3"), "verifies no SLSA build level"),
    "no policy": (lambda it: it["predicate"].pop("policy"), "lacks policy"),
}  # fmt: skip


@pytest.mark.parametrize("step", STEPS)
def test_each_step_refuses(summed: Summed, step: str) -> None:
    change, said = STEPS[step]
    with pytest.raises(NotVerified) as caught:
        summed.verify(summed.forged(change))
    assert said in caught.value.message


def test_a_signature_over_another_payload_is_refused(summed: Summed) -> None:
    bundle = json.loads(summed.forged(lambda _document: None))
    other = json.loads(summed.forged(lambda it: it.update(more=1)))
    bundle["dsseEnvelope"]["payload"] = other["dsseEnvelope"]["payload"]
    with pytest.raises(NotVerified, match="signature"):
        summed.verify(json.dumps(bundle).encode())


def test_a_key_that_the_trust_file_does_not_name_is_refused(summed: Summed) -> None:
    with pytest.raises(NotVerified, match="is not in the trust file"):
        summed.verify(summed.forged(lambda _document: None), summed.ours)


def test_a_key_with_another_role_is_refused(summed: Summed) -> None:
    trust = summed.trust.model_copy(update={"keys": (*summed.trust.keys, SIGNER.public_key(Role.POLICY))})
    with pytest.raises(NotVerified, match=r"must be signed by verifier; its key .* is trusted as policy"):
        summed.verify(summed.forged(lambda _document: None, Role.POLICY), trust)


def test_a_release_document_that_was_changed_in_the_store_is_refused(summed: Summed) -> None:
    """No provenance says at a station what the release needs: the summary's second subject does."""
    artifact = summed.image.release.artifact.model_copy(update={"dependencies": ()})
    changed = summed.image.release.model_copy(update={"artifact": artifact})
    with pytest.raises(NotVerified, match="another release document"):
        summed.verify(summed.made.bundle, summed.ours, changed)


VERSION, DIGEST = "1.0.0", "ab" * 32
PINS: dict[str, tuple[dict[str, object], str | None]] = {
    "this pack": ({}, None),
    "this version": ({"version": VERSION}, None),
    "derived early enough": ({"verified_from": datetime(2026, 11, 24, tzinfo=UTC)}, None),
    "another pack": ({"name": "another"}, "does not ask for"),
    "another version": ({"version": "9.0.0"}, "does not ask for"),
    "another digest": ({"sha256": DIGEST}, "does not ask for"),
    "derived too early": ({"verified_from": datetime(2026, 11, 26, tzinfo=UTC)}, "before the time"),
}


@pytest.mark.parametrize("pin", PINS)
def test_a_trust_file_says_whose_summaries_count(summed: Summed, pin: str) -> None:
    change, said = PINS[pin]
    pack = summed.made.judged.pack.pack
    policy = SummaryPolicy.model_validate({"name": pack.name, **change})
    trust = summed.trust.model_copy(update={"summary_policies": (policy,)})
    assert trust_file.faults(trust) == []
    bundle = summed.forged(lambda _document: None)
    if said is None:
        assert pack.version == VERSION
        summed.verify(bundle, trust)
    else:
        with pytest.raises(NotVerified, match=said):
            summed.verify(bundle, trust)


@pytest.mark.parametrize("when", [None, "yesterday", "2026-11-25T00:00:00", 5])
def test_a_summary_without_its_time_is_not_young_enough(summed: Summed, when: object) -> None:
    pack = summed.made.judged.pack.pack
    policy = SummaryPolicy(name=pack.name, verified_from=datetime(2020, 1, 1, tzinfo=UTC))
    bundle = summed.forged(lambda document: document["predicate"].update({"timeVerified": when}))
    with pytest.raises(NotVerified, match="at no time that it tells"):
        summed.verify(bundle, summed.trust.model_copy(update={"summary_policies": (policy,)}))
    summed.verify(bundle)


def test_a_limit_on_summaries_that_limits_nothing(summed: Summed) -> None:
    policy = SummaryPolicy(name="release")
    none = summed.trust.model_copy(update={"summary_policies": (policy,), "keys": summed.trust.keys_for(Role.IMAGE)})
    assert [where for where, _ in trust_file.faults(none)] == [("summary_policies", 0, "name")]


def test_a_release_that_was_withdrawn_has_no_summary_that_counts(decided: Published) -> None:
    """The one from before lies in the store, whole and signed; and there is no new one."""
    summarize(decided.site, "tiny@1.0.0", decided.board, decided.trust(), None)
    gate(decided, station_trust(decided))
    withdraw(decided.site, "tiny@1.0.0", decided.board.name, "the watchdog is off")
    with pytest.raises(Refused, match=r"was withdrawn on .*: the watchdog is off"):
        gate(decided, station_trust(decided))
    with pytest.raises(Refused, match="was withdrawn"):
        summarize(decided.site, "tiny@1.0.0", decided.board, decided.trust(), None)


def test_derived_again_it_is_the_same_but_for_the_time(decided: Published) -> None:
    made = summarize(decided.site, "tiny@1.0.0", decided.board, decided.trust(), None)
    ask = (decided.site, "tiny@1.0.0", decided.board, decided.trust(), None)
    assert derive_again(*ask, made.bundle) == ()
    adopt_pack(decided, ALLOWS, version="1.1.0")
    assert derive_again(*ask, made.bundle) == ("policy",)
    keys = tuple(key for key in decided.trust().keys if key.role is not Role.VERIFIER)
    with pytest.raises(NotVerified, match="trust file"):
        derive_again(*ask[:3], decided.trust(keys=keys), None, made.bundle)


def test_derived_again_by_another_key(decided: Published, tmp_path: Path) -> None:
    """The verifier's key is rotated: what it vouched for stands while the old key counts, and says who it was."""
    ask = (decided.site, "tiny@1.0.0", decided.board)
    before = decided.trust()
    old = next(key for key in before.keys if key.role is Role.VERIFIER)
    made = summarize(*ask, before, None)
    file = tmp_path / "second.pem"
    form = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(ec.generate_private_key(ec.SECP256R1()).private_bytes(*form))
    file.chmod(0o600)
    new = use_key(decided.site, Role.VERIFIER, f"file2:{file}", public=None, name="second", make=False, production=True)
    assert new.keyid != old.keyid
    others = tuple(key for key in decided.trust().keys if key.role is not Role.VERIFIER)
    both = decided.trust(keys=(*others, new, old))
    assert derive_again(*ask, both, None, made.bundle) == ("verifier",)
    with pytest.raises(NotVerified, match="trust file"):
        derive_again(*ask, decided.trust(keys=(*others, new)), None, made.bundle)
    with pytest.raises(NotVerified, match="is revoked"):
        revoked = old.model_copy(update={"revoked": True})
        derive_again(*ask, decided.trust(keys=(*others, new, revoked)), None, made.bundle)
    again = summarize(*ask, both, None)
    assert derive_again(*ask, both, None, again.bundle) == ()


def test_what_a_policy_denies_gets_no_summary(published: Published) -> None:
    ask = (published.site, "tiny@1.0.0", published.board, published.trust(), None)
    with pytest.raises(UsageFault, match="which policy"):
        summarize(*ask)
    adopt_pack(published, DENIES)
    with pytest.raises(Refused, match="that is denied"):
        summarize(*ask)
    assert published.site.store.attached(published.gate().release, KIND) == ()


def test_a_summary_is_not_derived_from_a_summary(decided: Published) -> None:
    summarize(decided.site, "tiny@1.0.0", decided.board, decided.trust(), None)
    with pytest.raises(Refused, match="not derived from a summary"):
        summarize(decided.site, "tiny@1.0.0", decided.board, station_trust(decided), None)


def test_the_verbs(decided: Published, tmp_path: Path) -> None:
    def assay(*words: str) -> tuple[int, dict[str, Any]]:
        told = CliRunner().invoke(main, [*words, "--json", "--site", str(decided.site.folder)])
        return told.exit_code, json.loads(told.stdout)

    out, trust = tmp_path / "vsa.json", tmp_path / "station.toml"
    named = ("policy", "summarize", "tiny@1.0.0", "--board", "ast1030-evb")
    assert assay(*named, "--out", str(out))[0] == 0
    assert assay(*named, "--check", str(out))[0] == 0
    flags = ("--allow-development", "--allow-emulated", "--summaries")
    assert assay("keys", "trust", "--out", str(trust), "--name", "station", *flags)[0] == 0
    image = tmp_path / "image.bin"
    image.write_bytes(decided.gate().data)
    status, told = assay("verify", str(out), "--trust", str(trust), "--artifact", str(image))
    assert (status, told["broken"]) == (0, [])
    assert any("verification summary" in check["what"] for check in told["tree"]["checks"])
    out.write_bytes(out.read_bytes().replace(b"dsseEnvelope", b"dsseEnvelopf"))
    assert assay("verify", str(out), "--trust", str(trust))[0] == 4
    assert assay("policy", "check", "tiny", "--board", "ast1030-evb", "--at", "flash", "--trust", str(trust))[0] == 0
