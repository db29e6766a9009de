# SPDX-License-Identifier: Apache-2.0
"""Policy at a site: what is adopted decides, what was changed refuses, decisions are in the log and replay."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from policy_sample import pack_text
from published_release import Published

from assay.cli.main import main
from assay.errors import ManifestFault, NotVerified, Refused, UsageFault
from assay.formats import canonical_json
from assay.model.policy import DecisionRecord, Point
from assay.model.record import RecordType
from assay.model.trust import Role
from assay.pipeline import policy_adoption, policy_replay
from assay.pipeline.policy_adoption import adopt, adopted_packs, packs_at, retire
from assay.pipeline.policy_files import load_pack, policy_engine
from assay.pipeline.publishing import publish_signed
from assay.stages.policy import pack_check
from assay.stages.provenance.statements import POLICY_ANNOTATION

ENGINE = policy_engine()
DENIES, ALLOWS = "release.kind == 'app'", "release.kind == 'bootloader'"
WHY = "for the tests"


def write_pack(published: Published, deny_if: str = DENIES, **changes: str) -> Path:
    path = published.root / f"{changes.get('name', 'strict')}.toml"
    path.write_text(pack_text(deny_if, **changes))
    return path


def adopt_pack(published: Published, deny_if: str = DENIES, **changes: str) -> Path:
    adopt(
        published.site,
        write_pack(published, deny_if, **changes),
        WHY,
        published.trust(),
        ENGINE,
        untested="for the tests",
    )
    return published.site.folder / "policy" / f"{changes.get('name', 'strict')}.toml"


def kinds(published: Published) -> list[str]:
    return [entry.type.value for _, entry in published.site.records.entries()]


def decisions(published: Published) -> tuple[policy_replay.Recorded, ...]:
    return policy_replay.recorded_decisions(published.site, (), published.trust())


def assay(published: Published, *words: str) -> tuple[int, dict[str, Any]]:
    told = CliRunner().invoke(main, [*words, "--json", "--site", str(published.site.folder)])
    return told.exit_code, json.loads(told.stdout)


def test_without_a_pack_all_is_as_it_was_and_the_record_says_that_nobody_decided(published: Published) -> None:
    before = kinds(published)
    again = publish_signed(published.signed, published.site)
    assert kinds(published) == before
    assert again.policy.decisions == ()
    statement = json.loads(_payload(published, again.record.entry.record))
    assert statement["subject"][0]["annotations"][POLICY_ANNOTATION] == {"decisions": []}


def test_a_denial_is_refused_before_anything_is_published_and_recorded(published: Published) -> None:
    adopt_pack(published)
    shutil.rmtree(published.site.folder / "store")
    with pytest.raises(Refused) as caught:
        publish_signed(published.signed, published.site)
    for part in ("policy 'strict' 1.0.0", "publish tiny@1.0.0", "one: that is denied"):
        assert part in caught.value.message
    assert caught.value.remedy == "do it in another way"
    assert not (published.site.folder / "store").exists()
    assert kinds(published)[-2:] == ["policy", "decision"]
    (recorded,) = decisions(published)
    assert recorded.signer.role is Role.BUILDER
    assert not recorded.said.decision.allowed
    assert recorded.facts.release.provenance is not None
    assert recorded.facts.release.provenance.builder == "host"
    assert canonical_json.digest_of(recorded.facts) == recorded.said.decision.facts_sha256


def test_what_is_allowed_names_its_decision(published: Published) -> None:
    adopt_pack(published, ALLOWS)
    done = publish_signed(published.signed, published.site)
    (digest,) = done.policy.decisions
    assert [entry.payload for _, entry in published.site.records.entries() if entry.type is RecordType.DECISION] == [
        digest
    ]
    statement = json.loads(_payload(published, done.record.entry.record))
    assert statement["subject"][0]["annotations"][POLICY_ANNOTATION] == {"decisions": [digest]}


def test_a_pack_decides_only_where_it_is_asked(published: Published) -> None:
    adopt_pack(published, at='"flash"')
    assert publish_signed(published.signed, published.site).policy.decisions == ()
    assert len(packs_at(published.site, published.trust(), Point.FLASH, ENGINE)) == 1


def test_skipping_needs_a_reason_and_is_recorded(published: Published) -> None:
    adopt_pack(published)
    for reason in ("", "  ", "two\nlines", "x" * 501):
        with pytest.raises(UsageFault, match="is no reason"):
            publish_signed(published.signed, published.site, skip_policy=reason)
    said: list[str] = []
    done = publish_signed(published.signed, published.site, skip_policy="line is down", say=said.append)
    assert done.policy.skipped == "line is down"
    assert any(line.startswith("UNSAFE: policy is skipped (line is down)") for line in said)
    (recorded,) = decisions(published)
    assert recorded.said.skipped == "line is down"
    assert not recorded.said.decision.allowed


def _change(path: Path) -> None:
    path.write_text(path.read_text().replace(DENIES, "false"))


def _remove(path: Path) -> None:
    path.unlink()


def _remove_folder(path: Path) -> None:
    shutil.rmtree(path.parent)


def _add(path: Path) -> None:
    path.with_name("more.toml").write_text(pack_text("false", name="more"))


def test_a_pack_file_that_is_not_the_adopted_one_refuses(published: Published) -> None:
    file = adopt_pack(published)
    adopted = file.read_bytes()
    for change, said in (
        (_change, "was changed without being adopted"),
        (_remove, "there is no such file"),
        (_remove_folder, "there is no such file"),
        (_add, "was never adopted"),
    ):
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(adopted)
        change(file)
        with pytest.raises(Refused, match=said):
            publish_signed(published.signed, published.site)
        with pytest.raises(Refused, match=said):  # nobody can say what would be skipped
            publish_signed(published.signed, published.site, skip_policy="line is down")
    assert "decision" not in kinds(published)


def test_what_was_adopted_can_be_restored(published: Published) -> None:
    file = adopt_pack(published)
    _change(file)
    before = kinds(published)
    loaded, record = adopt(
        published.site, published.root / "strict.toml", WHY, published.trust(), ENGINE, untested="for the tests"
    )
    assert record is None
    assert kinds(published) == before
    assert file.read_bytes() == loaded.data == published.site.records.attachment(loaded.sha256)


def test_a_pack_whose_own_tests_fail_is_not_adopted(published: Published) -> None:
    path = write_pack(published, ALLOWS)
    tests = path.with_name("strict.tests.toml")
    example = (Path(__file__).parents[2] / "policies" / "production.tests.toml").read_text()
    tests.write_text(example.partition("[[tests]]")[0] + '[[tests]]\nname = "all is refused"\nexpect = "deny"\n')
    before = kinds(published)
    with pytest.raises(Refused, match="1 of the pack's own tests fail, the first is 'all is refused'"):
        adopt(published.site, path, WHY, published.trust(), ENGINE, untested="for the tests")
    assert kinds(published) == before
    tests.write_text("no tests = {")
    with pytest.raises(ManifestFault):
        adopt(published.site, path, WHY, published.trust(), ENGINE, untested="for the tests")


def test_a_pack_without_tests_is_adopted_only_with_a_reason(published: Published) -> None:
    path = write_pack(published, ALLOWS)
    before = kinds(published)
    with pytest.raises(Refused, match="has no tests: nobody has seen it deny anything"):
        adopt(published.site, path, WHY, published.trust(), ENGINE)
    with pytest.raises(UsageFault, match="is no reason"):
        adopt(published.site, path, WHY, published.trust(), ENGINE, untested=" ")
    assert assay(published, "policy", "adopt", str(path), "--reason", WHY)[0] == 4
    assert kinds(published) == before
    assert assay(published, "policy", "adopt", str(path), "--reason", WHY, "--unsafe-untested", "a recall")[0] == 0
    (listed,) = assay(published, "policy", "list")[1]["policies"]
    assert listed["untested"] == "a recall"


def test_an_adoption_says_what_decided_before_and_a_retired_pack_decides_no_more(published: Published) -> None:
    adopt_pack(published)
    old = adopted_packs(published.site, published.trust())["strict"].adoption.pack
    adopt_pack(published, ALLOWS, version="1.1.0")
    newest = adopted_packs(published.site, published.trust())["strict"].adoption
    assert newest.before == old
    assert (newest.reason, newest.pack.version if newest.pack else "") == (WHY, "1.1.0")
    retire(published.site, "strict", "the product is over", published.trust())
    assert publish_signed(published.signed, published.site).policy.decisions == ()
    with pytest.raises(UsageFault, match="no policy 'strict' decides here"):
        retire(published.site, "strict", WHY, published.trust())


def test_an_adoption_that_follows_another_pack_than_decided_is_noticed(published: Published) -> None:
    """One in between is missing, or somebody wrote this one without looking."""
    adopt_pack(published, ALLOWS)
    loaded = load_pack(write_pack(published, DENIES, version="2.0.0"), ENGINE)
    policy_adoption._record(published.site, published.trust(), policy_adoption.Change("strict", loaded, None, WHY))
    with pytest.raises(NotVerified, match="changes 'strict' from a pack that did not decide then"):
        adopted_packs(published.site, published.trust())


def test_all_packs_at_a_point_decide_and_one_that_denies_is_enough(published: Published) -> None:
    adopt_pack(published, ALLOWS, name="lenient")
    adopt_pack(published)
    with pytest.raises(Refused) as caught:
        publish_signed(published.signed, published.site)
    assert "'strict'" in caught.value.message and "'lenient'" not in caught.value.message
    assert [each.said.decision.allowed for each in decisions(published)] == [True, False]


def test_only_a_policy_key_of_the_trust_file_adopts(published: Published) -> None:
    adopt_pack(published, ALLOWS)
    trust = published.trust()
    others = trust.model_copy(update={"keys": tuple(key for key in trust.keys if key.role is not Role.POLICY)})
    with pytest.raises(NotVerified, match="must be signed by policy"):
        packs_at(published.site, others, Point.PUBLISH, ENGINE)


def test_an_adoption_that_was_taken_out_of_the_log_is_noticed(
    published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The entry is spelled as another kind, and the file is gone. The recorder sees it in the newest 256 entries only:
    here it does not look.
    """
    file = adopt_pack(published)
    adopt_pack(published, name="later", at='"flash"')
    old, new = b'"type":"policy"', b'"type":"update"'
    entries = [path for path in (published.site.folder / "log" / "tile" / "entries").rglob("*") if path.is_file()]
    trust = published.trust()
    for path in entries:
        path.write_bytes(path.read_bytes().replace(old, new, 1))
    file.unlink()
    monkeypatch.setattr(type(published.site.recorder), "checkpoint", lambda _self: b"")
    with pytest.raises(NotVerified, match="the entries of the log are not those of its checkpoint"):
        packs_at(published.site, trust, Point.PUBLISH, ENGINE)


def test_a_decision_is_explained_and_derived_again(published: Published) -> None:
    adopt_pack(published, ALLOWS)
    publish_signed(published.signed, published.site)
    (recorded,) = decisions(published)
    assert policy_replay.explain(published.site, recorded, ENGINE).same
    for name in (str(recorded.index), f"#{recorded.index}", recorded.record[:8]):
        status, told = assay(published, "policy", "explain", name)
        assert (status, told["derived_again"], told["index"]) == (0, True, recorded.index)
    for name in ("0", "99", "xyz", "a" * 64):
        assert assay(published, "policy", "explain", name)[0] == 2


def test_a_pack_from_before_a_rule_for_packs_decides_no_more_and_its_decisions_are_explained(
    published: Published,
) -> None:
    with pytest.MonkeyPatch.context() as before:
        before.setattr(pack_check, "value_faults", lambda _: iter(()))
        adopt_pack(published, "release.tests.exists(t, t.result == 'FAIL')")
        publish_signed(published.signed, published.site)
    (recorded,) = decisions(published)
    status, told = assay(published, "policy", "explain", str(recorded.index))
    assert (status, told["derived_again"]) == (0, True)
    with pytest.raises(Refused, match=r"cannot decide: .*check 'one': t.result is never 'FAIL'; did you mean 'FAILED'"):
        packs_at(published.site, published.trust(), Point.PUBLISH, ENGINE)


def test_a_decision_that_its_facts_do_not_give_is_refused(published: Published) -> None:
    """Signed by the right key, and not what the pack says: whoever signs decisions cannot make them up."""
    adopt_pack(published)
    with pytest.raises(Refused):
        publish_signed(published.signed, published.site)
    (recorded,) = decisions(published)
    document = recorded.said.model_dump(mode="json", by_alias=True)
    document["decision"]["allowed"] = True
    document["decision"]["checks"][0] |= {"outcome": "passed", "reason": ""}
    lie = dataclasses.replace(recorded, said=DecisionRecord.model_validate_json(json.dumps(document)))
    again = policy_replay.explain(published.site, lie, ENGINE)
    assert not again.same


def test_replay_shows_what_would_change(published: Published) -> None:
    adopt_pack(published, ALLOWS)
    publish_signed(published.signed, published.site)
    new = write_pack(published, DENIES, version="2.0.0")
    status, told = assay(published, "policy", "replay", "--with", str(new))
    assert (status, told["decisions"], [each["change"] for each in told["changed"]]) == (0, 1, ["would be refused"])
    assert told["changed"][0]["new"]["checks"][0]["outcome"] == "denied"
    same = write_pack(published, ALLOWS, version="2.0.0")
    assert assay(published, "policy", "replay", "--with", str(same))[1]["changed"] == []
    elsewhere = write_pack(published, ALLOWS, at='"flash"')
    assert [
        each["change"] for each in assay(published, "policy", "replay", "--with", str(elsewhere))[1]["changed"]
    ] == ["not asked"]
    assert kinds(published).count("decision") == 1


def test_replay_by_a_pack_whose_checks_have_other_names(published: Published) -> None:
    """Refused before and refused now, by a check of another name: said, since whoever reads the reasons reads others.
    Allowed before and now: nobody's answer changes, whatever the checks are called.
    """
    adopt_pack(published)
    with pytest.raises(Refused):
        publish_signed(published.signed, published.site)
    renamed = write_pack(published, DENIES, id="another", version="2.0.0")
    told = assay(published, "policy", "replay", "--with", str(renamed))[1]
    assert [each["change"] for each in told["changed"]] == ["other checks"]
    adopt_pack(published, ALLOWS, version="1.1.0")
    publish_signed(published.signed, published.site)
    lax = write_pack(published, ALLOWS, id="another", version="2.0.0")
    told = assay(published, "policy", "replay", "--with", str(lax))[1]
    assert [each["change"] for each in told["changed"]] == ["would be allowed"]


def test_check_decides_without_acting(published: Published) -> None:
    before = kinds(published)
    ask = ("policy", "check", "tiny@1.0.0", "--board", "ast1030-evb", "--at")
    assert assay(published, *ask, "publish")[0] == 0
    pack = write_pack(published)
    status, told = assay(published, *ask, "publish", "--pack", str(pack))
    assert (status, told["decisions"][0]["allowed"]) == (4, False)
    unit = write_pack(published, "unit.serial != 'A-1'", name="unit")
    assert assay(published, *ask, "install", "--pack", str(unit))[0] == 4
    there = published.root / "unit.json"
    there.write_text('{"chip": "00", "stage": "app", "proved": true, "serial": "A-1"}')
    assert assay(published, *ask, "install", "--pack", str(unit), "--unit", str(there))[0] == 0
    there.write_text('{"chip": "00"}')
    assert assay(published, *ask, "install", "--pack", str(unit), "--unit", str(there))[0] == 2
    assert kinds(published) == before
    adopt_pack(published)
    assert assay(published, *ask, "publish")[0] == 4


def test_the_verbs_adopt_list_and_retire(published: Published) -> None:
    pack = write_pack(published, ALLOWS)
    assert assay(published, "policy", "list")[1]["policies"] == []
    assert assay(published, "policy", "adopt", str(pack), "--reason", " ")[0] == 2
    status, told = assay(published, "policy", "adopt", str(pack), "--reason", WHY, "--unsafe-untested", WHY)
    assert (status, told["pack"]["name"]) == (0, "strict")
    (listed,) = assay(published, "policy", "list")[1]["policies"]
    assert (listed["reason"], listed["pack"]) == (WHY, told["pack"])
    assert assay(published, "policy", "retire", "strict", "--reason", WHY)[0] == 0
    pack.write_text(pack_text("release.nothing == 1"))
    status, told = assay(published, "policy", "adopt", str(pack), "--reason", WHY, "--unsafe-untested", WHY)
    assert status == 2
    assert f"{pack}:10: " in told["error"]


def test_tests_of_a_pack_that_fail_are_status_1(published: Published) -> None:
    pack = write_pack(published, ALLOWS)
    tests = pack.with_name("strict.tests.toml")
    source = load_pack(pack, ENGINE)
    assert source.pack.name == "strict"
    policies = Path(__file__).parents[2] / "policies" / "production.tests.toml"
    facts = policies.read_text().partition("[[tests]]")[0]
    tests.write_text(facts + '[[tests]]\nname = "x"\nexpect = "deny"\ndenied = ["one"]\n')
    assert assay(published, "policy", "test", str(pack))[0] == 1
    tests.write_text(facts + '[[tests]]\nname = "x"\nexpect = "allow"\n')
    status, told = assay(published, "policy", "test", str(pack))
    assert (status, told["packs"][0]["never_seen"]) == (0, ["one"])
    tests.unlink()
    assert assay(published, "policy", "test", str(pack))[0] == 2


def _payload(published: Published, record: str) -> bytes:
    from assay.formats import sigstore_bundle

    return sigstore_bundle.decode(published.site.records.record(record)).envelope.payload
