# SPDX-License-Identifier: Apache-2.0
"""Thresholds hold at every gate: a release that one signer vouches for is refused where the trust file wants two, and
passes with the statement of another one beside it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from memory_signer import MemorySigner
from published_release import Published

from assay.errors import NotVerified, UsageFault
from assay.formats import sigstore_bundle
from assay.formats.trust_policy import policy_faults
from assay.model.policy import Point
from assay.model.signer_limits import Threshold
from assay.model.statement import PredicateType
from assay.model.trust import Role, TrustFile
from assay.pipeline import statement_forms
from assay.pipeline.policy_ask import ask
from assay.pipeline.trust_file import write_trust
from assay.stages.records.verify import verify_log

PROVENANCE = PredicateType.PROVENANCE.value
OTHER = MemorySigner()


def wanting(published: Published, kind: str = PROVENANCE, count: int = 2, signer: MemorySigner = OTHER) -> TrustFile:
    trust = published.trust()
    keys = (*trust.keys, *(signer.public_key(role) for role in (Role.BUILDER, Role.VERIFIER)))
    return trust.model_copy(update={"keys": keys, "thresholds": (Threshold(predicate_type=kind, count=count),)})


def bundle_of(published: Published, kind: str = PROVENANCE) -> bytes:
    release = published.site.store.find("tiny", None, "ast1030-evb")
    return published.site.store.get(release.attestations[kind])


def by(signer: MemorySigner, bundle: bytes) -> bytes:
    """The same statement, signed by somebody else."""
    return signer.sign_statement(Role.BUILDER, sigstore_bundle.decode(bundle).envelope.payload)


def attach(published: Published, bundle: bytes, kind: str = PROVENANCE) -> None:
    release = published.site.store.find("tiny", None, "ast1030-evb")
    published.site.store.attach(release, kind, bundle)


@pytest.mark.parametrize("kind", [PROVENANCE, PredicateType.SBOM.value])
def test_a_release_of_one_signer_is_refused_at_every_gate_and_passes_with_two(published: Published, kind: str) -> None:
    """Provision, flash and install take a `VerifiedImage`, and `verify_release` alone makes one."""
    trust = wanting(published, kind)
    with pytest.raises(NotVerified, match=f"wants 2 distinct signers of {kind}; there is 1"):
        published.gate(trust)
    for point in Point:
        with pytest.raises(NotVerified, match="wants 2 distinct signers"):
            ask(published.site, point, "tiny@1.0.0", "ast1030-evb", trust, None, None)
    attach(published, by(OTHER, bundle_of(published, kind)), kind)
    assert published.gate(trust).release.name == "tiny"
    for point in Point:
        assert ask(published.site, point, "tiny@1.0.0", "ast1030-evb", trust, None, None) == ()
    with pytest.raises(NotVerified, match="wants 3 distinct signers"):
        published.gate(wanting(published, kind, count=3))
    assert verify_log(published.site.records, trust).faults == []  # a record is one statement


def test_what_does_not_count(published: Published) -> None:
    """The same signer again, a stranger, a revoked one, and a statement about something else; none stops who counts."""
    trust, bundle = wanting(published), bundle_of(published)
    payload = sigstore_bundle.decode(bundle).envelope.payload
    again = published.site.signers.sign_statement(Role.BUILDER, payload)
    stranger = by(MemorySigner(), bundle)
    release = published.site.store.find("tiny", None, "ast1030-evb")
    first, subject, rest = payload.rpartition(release.image.payload_sha256.encode())
    assert subject
    about_more = OTHER.sign_statement(Role.BUILDER, first + b"0" * 64 + rest)
    for each in (again, stranger, about_more):
        attach(published, each)
        with pytest.raises(NotVerified, match=r"wants 2 distinct signers of .*; there is 1"):
            published.gate(trust)
    attach(published, by(OTHER, bundle))
    assert published.gate(trust)
    keys = tuple(
        key.model_copy(update={"revoked": True}) if key.keyid == OTHER.public_key(Role.BUILDER).keyid else key
        for key in trust.keys
    )
    with pytest.raises(NotVerified, match="there is 1"):
        published.gate(trust.model_copy(update={"keys": keys}))


@pytest.mark.parametrize("kind", [PROVENANCE, PredicateType.SBOM.value])
def test_a_release_is_published_when_so_many_vouch_for_it(published: Published, tmp_path: Path, kind: str) -> None:
    """Their statements are then beside it, for the gates that follow."""
    from test_policy_site import assay

    other, path = tmp_path / "other.sigstore.json", tmp_path / "trust.toml"
    write_trust(path, wanting(published, kind), replace=False)
    other.write_bytes(by(OTHER, bundle_of(published, kind)))
    shutil.rmtree(published.site.folder / "store")
    words = ("publish", str(published.signed), "--trust", str(path))
    for more in ((), ("--beside", str(next(published.signed.glob("*.sigstore.json"))))):
        status, _told = assay(published, *words, *more)
        assert status == 4 and not published.site.store.releases()
    assert assay(published, *words, "--beside", str(other))[0] == 0
    assert published.gate(wanting(published, kind)).release.name == "tiny"
    assert assay(published, *words, "--beside", str(other))[0] == 0
    assert len(published.site.store.attached(published.gate().release, kind)) == 2


def test_nobody_is_asked_for_what_no_gate_counts(published: Published) -> None:
    for kind in (PredicateType.POLICY, PredicateType.DECISION, PredicateType.WITHDRAWAL, PredicateType.VEX):
        found = policy_faults(wanting(published, kind.value))
        assert found and found[-1][0] == ("thresholds", 0, "predicate_type") and "is of one signer" in found[-1][1]
    assert policy_faults(wanting(published)) == []


def test_another_ones_statement_is_taken_in_by_the_verb(published: Published, tmp_path: Path) -> None:
    from test_policy_site import assay

    trust, file, path = wanting(published), tmp_path / "other.sigstore.json", tmp_path / "trust.toml"
    write_trust(path, trust, replace=False)
    words = ("rebuild", "tiny@1.0.0", "--board", "ast1030-evb", "--trust", str(path), "--take-in", str(file))
    file.write_bytes(by(MemorySigner(), bundle_of(published)))
    assert assay(published, *words)[0] == 4
    file.write_bytes(by(OTHER, bundle_of(published)))
    for _ in range(2):
        status, told = assay(published, *words)
        assert (status, told["type"]) == (0, PROVENANCE)
    release = published.site.store.find("tiny", None, "ast1030-evb")
    assert len(published.site.store.attached(release, PROVENANCE)) == 2
    assert published.gate(trust)
    vex = OTHER.sign_statement(
        Role.BUILDER, sigstore_bundle.decode(bundle_of(published)).envelope.payload.replace(PROVENANCE.encode(), b"x:y")
    )
    with pytest.raises(UsageFault, match="are not counted beside a release"):
        statement_forms.take_in(published.site.store, release, vex, trust)


def test_two_verifiers_where_a_station_goes_by_summaries(published: Published) -> None:
    from test_policy_summary import adopt_pack

    from assay.pipeline.policy_summary import summarize
    from assay.stages.provenance.summary import VERIFIER_URI

    adopt_pack(published, "release.kind == 'bootloader'")
    made = summarize(published.site, "tiny", published.board, published.trust(), None)
    trust = wanting(published, PredicateType.SUMMARY.value)
    trust = trust.model_copy(update={"keys": tuple(key for key in trust.keys if key.role is not Role.BUILDER)})
    with pytest.raises(NotVerified, match=r"wants 2 distinct signers of .*summary.*; there is 1"):
        published.gate(trust)
    payload = sigstore_bundle.decode(made.bundle).envelope.payload
    ours, theirs = (signer.public_key(Role.VERIFIER).keyid for signer in (published.site.signers, OTHER))
    assert (VERIFIER_URI + ours).encode() in payload
    attach(published, OTHER.sign_statement(Role.VERIFIER, payload), PredicateType.SUMMARY.value)
    with pytest.raises(NotVerified, match="there is 1"):  # it names another verifier than signed it
        published.gate(trust)
    second = OTHER.sign_statement(Role.VERIFIER, payload.replace(ours.encode(), theirs.encode()))
    attach(published, second, PredicateType.SUMMARY.value)
    assert published.gate(trust).summary is not None


def test_a_store_reads_each_statement_beside_its_releases_once(
    published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    from assay.backends.stores.blob_folder import BlobFolder

    read: list[str] = []
    real = BlobFolder.get

    def get(self: BlobFolder, sha256: str) -> bytes:
        read.append(sha256)
        return real(self, sha256)

    store = published.site.store
    release = store.find("tiny", None, "ast1030-evb")
    manifests = {each.sha256 for each in store.index().manifests if each.artifactType and "bundle" in each.artifactType}
    assert len(manifests) >= 2
    monkeypatch.setattr(BlobFolder, "get", get)
    for kind in (PROVENANCE, PredicateType.SBOM.value, PROVENANCE):
        assert store.attached(release, kind)
    assert sorted(each for each in read if each in manifests) == sorted(manifests)
