# SPDX-License-Identifier: Apache-2.0
"""Who built a release again and agrees: a fact of policies, counted by signers, and taken in with every check."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from memory_signer import MemorySigner
from rebuild_house import House, again, house, stranger

from assay.backends.stores.oci_layout import OciLayoutStore
from assay.errors import NotVerified, Refused
from assay.formats import canonical_json, sigstore_bundle
from assay.model.policy import Point
from assay.model.signer_limits import Threshold
from assay.model.statement import PredicateType
from assay.model.trust import Role, TrustFile
from assay.pipeline.manifest_files import load_board
from assay.pipeline.policy_adoption import adopt
from assay.pipeline.policy_facts import facts_of
from assay.pipeline.policy_files import policy_engine
from assay.pipeline.policy_gate import Question, enforce
from assay.pipeline.rebuild_statements import rebuilds_of, take_in
from assay.pipeline.release_gate import verify_release
from assay.pipeline.site import Site

__all__ = ["house", "stranger"]

PACK = """\
schema = "assay.policy/1"
name = "two-builders"
version = "1.0.0"
at = ["flash"]

[[checks]]
id = "two-agree"
version = 1
deny_if = "!has(release.builders_agree) || release.builders_agree < 2"
message = "only one builder says that this is what the commit gives"
remedy = "assay rebuild, by somebody else"

[[checks]]
id = "nobody-disagrees"
version = 1
deny_if = "has(release.rebuilds) && release.rebuilds.exists(r, r.result == 'different')"
message = "somebody built it again and got something else"
remedy = "find out why"
"""


def test_a_policy_asks_for_two_builders_that_agree(
    house: House, stranger: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The house's own rebuild does not make it two; the stranger's does, once its key is trusted."""
    monkeypatch.chdir(house.root)
    board = load_board(house.root / "boards" / "ast1030-evb.toml")
    trust = house.trust(stranger)
    image = verify_release(house.site.store, trust, "tiny", None, board)
    (tmp_path / "pack.toml").write_text(PACK)
    adopt(house.site, tmp_path / "pack.toml", "for the test", house.trust(), policy_engine(), untested="for the tests")

    def ask(by: TrustFile) -> None:
        enforce(house.site, Question(Point.FLASH, image, board, by), skip=None, say=lambda _line: None)

    with pytest.raises(Refused, match="two-agree"):
        ask(trust)
    own = again(house, house.site, tmp_path, release=image.release)
    assert own.identical
    facts = facts_of(house.site, trust, Point.FLASH, image, board)
    assert facts.release.builders_agree == 1 and facts.release.rebuilds is not None
    assert [each.other_builder for each in facts.release.rebuilds] == [False]
    theirs = again(house, stranger, tmp_path)
    with pytest.raises(NotVerified):
        take_in(house.site, house.trust(), image.release, theirs.bundle)
    take_in(house.site, trust, image.release, theirs.bundle)
    assert len(rebuilds_of(house.site, trust, image.release)) == 2
    ask(trust)
    with pytest.raises(Refused, match="two-agree"):
        ask(house.trust())


def test_a_threshold_counts_who_built_it_again_and_who_vouches_for_what_is_followed(
    house: House, stranger: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = house.site.store.find("tiny", None, "ast1030-evb")
    other, mine = MemorySigner(), house.trust(stranger)

    def wanting(kind: PredicateType) -> TrustFile:
        two = (Threshold(predicate_type=kind.value, count=2),)
        return mine.model_copy(update={"keys": (*mine.keys, other.public_key(Role.BUILDER)), "thresholds": two})

    def also(bundle: bytes) -> bytes:
        return other.sign_statement(Role.BUILDER, sigstore_bundle.decode(bundle).envelope.payload)

    wanted = wanting(PredicateType.PROVENANCE)
    with pytest.raises(NotVerified, match=r"wants 2 distinct signers of .*provenance/v1; there is 1"):
        again(house, stranger, tmp_path, trust=wanted)
    theirs = again(house, stranger, tmp_path, trust=wanted, beside=(also(house.bundle.read_bytes()),)).bundle

    def counted(*said: bytes) -> list[str]:
        monkeypatch.setattr(OciLayoutStore, "attached", lambda *_: said)
        return [each.said.result for each in rebuilds_of(house.site, wanting(PredicateType.REBUILD), release)]

    lied = json.loads(sigstore_bundle.decode(theirs).envelope.payload)
    lied["predicate"]["result"] = "different"
    lied["predicate"]["compared"][0]["found"] = "00" * 32
    different = other.sign_statement(Role.BUILDER, canonical_json.encode(lied))
    assert counted(theirs) == counted(theirs, theirs) == []
    assert counted(theirs, also(theirs)) == ["identical", "identical"]
    assert counted(theirs, different) == ["different"]


def test_a_statement_about_another_release_is_not_taken_in(
    house: House, stranger: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = house.site.store.find("tiny", None, "ast1030-evb")
    good = again(house, stranger, tmp_path)
    trust = house.trust(stranger)
    before = house.site.store.attached(release, PredicateType.REBUILD.value)
    for change, said in (
        (lambda s: s["predicate"].update(provenance="ab" * 32), "is not about tiny@1.0.0 and its provenance"),
        (lambda s: s["predicate"].update(result="different"), "says one thing and shows another"),
        (lambda s: s["predicate"].update(compared=s["predicate"]["compared"][:1]), "did not compare"),
        (lambda s: s["predicate"].update(more=1), "a form that is not ours"),
        (lambda s: s.update(subject=s["subject"][1:]), "not about the file"),
    ):
        statement = json.loads(sigstore_bundle.decode(good.bundle).envelope.payload)
        change(statement)  # type: ignore[no-untyped-call]
        lied = stranger.signers.sign_statement(Role.BUILDER, canonical_json.encode(statement))
        with pytest.raises(NotVerified, match=said):
            take_in(house.site, trust, release, lied)
    assert house.site.store.attached(release, PredicateType.REBUILD.value) == before
