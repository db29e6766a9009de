# SPDX-License-Identifier: Apache-2.0
"""Policy packs under attack and under accidents: adoptions put into the log again, cut short, or made at once; test
results that are taken away from a policy that asks for them.
"""

from __future__ import annotations

import shutil
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from memory_signer import MemorySigner
from policy_sample import pack_text
from published_release import Published

from assay.backends.records.site_recorder import SiteRecorder
from assay.errors import NotRecorded, NotVerified
from assay.formats import log_entry
from assay.interfaces.signer import SignerService
from assay.model.campaign import CAMPAIGN
from assay.model.outcome import Outcome
from assay.model.policy import Point
from assay.model.predicates import RunHeader
from assay.model.record import LogEntry, RecordType
from assay.model.signer_limits import Threshold
from assay.model.statement import PredicateType, Statement, Subject
from assay.model.trust import Role, TrustFile
from assay.pipeline import policy_adoption
from assay.pipeline.policy_adoption import adopt, adopted_packs, packs_at, retire
from assay.pipeline.policy_facts import facts_of
from assay.pipeline.policy_files import policy_engine

ENGINE = policy_engine()
WHY = "for the tests"


def pack(published: Published, **changes: str) -> Path:
    path = published.root / "strict.toml"
    path.write_text(pack_text("release.kind == 'app'", **changes))
    return path


def adopt_pack(published: Published, **changes: str) -> None:
    adopt(published.site, pack(published, **changes), WHY, published.trust(), ENGINE, untested="for the tests")


def policies(published: Published) -> list[LogEntry]:
    return [entry for _, entry in published.site.records.entries() if entry.type is RecordType.POLICY]


def put_again(published: Published, entry: LogEntry) -> None:
    """By who has the log's key, and no key of a policy."""
    recorder = published.site.recorder
    assert isinstance(recorder, SiteRecorder)
    recorder.checkpoint()
    recorder._log.append([log_entry.encode(entry)])


def test_a_retirement_that_is_put_into_the_log_again_retires_nothing(published: Published) -> None:
    adopt_pack(published)
    retire(published.site, "strict", "a mistake", published.trust())
    adopt_pack(published)
    assert len(packs_at(published.site, published.trust(), Point.PUBLISH, ENGINE)) == 1
    put_again(published, policies(published)[1])
    (published.site.folder / "policy" / "strict.toml").unlink()
    with pytest.raises(NotVerified, match="it is replayed"):
        packs_at(published.site, published.trust(), Point.PUBLISH, ENGINE)


def test_an_older_pack_that_is_put_into_the_log_again_decides_nothing(published: Published) -> None:
    for version in ("1.0.0", "2.0.0", "1.0.0"):
        adopt_pack(published, version=version)
    put_again(published, policies(published)[1])
    with pytest.raises(NotVerified, match="it is replayed"):
        adopted_packs(published.site, published.trust())


def test_an_adoption_that_was_cut_short_is_followed_by_the_next(
    published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The statement was in the outbox when the power went, and not in the log."""
    with monkeypatch.context() as cut:
        cut.setattr(SiteRecorder, "_drain", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            adopt_pack(published)
    adopt_pack(published, version="1.1.0")
    newest = adopted_packs(published.site, published.trust())["strict"].adoption
    assert newest.before is not None and newest.before.version == "1.0.0"
    assert newest.pack is not None and newest.pack.version == "1.1.0"


def test_two_that_adopt_at_once_follow_each_other(published: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has to see what the other has done: a log whose adoptions do not follow each other cannot be mended."""
    path, trust, real = pack(published), published.trust(), policy_adoption._record
    other = path.with_name("other.toml")
    other.write_text(pack_text("release.kind == 'app'", version="1.1.0"))
    untested = {"untested": WHY}
    second = threading.Thread(target=adopt, args=(published.site, other, WHY, trust, ENGINE), kwargs=untested)

    def record(*words: object) -> object:
        if not second.ident:
            second.start()
            second.join(1)
        return real(*words)  # type: ignore[arg-type]

    monkeypatch.setattr(policy_adoption, "_record", record)
    adopt(published.site, path, WHY, trust, ENGINE, untested="for the tests")
    second.join(250)
    assert len(policies(published)) == 2
    newest = adopted_packs(published.site, trust)["strict"].adoption
    assert newest.pack is not None and newest.pack.version == "1.1.0"


def recorded_test(published: Published) -> LogEntry:
    """A test result on the image, by the bench, of a form that nobody knows."""
    image = published.gate().release.image.file_sha256
    statement = Statement(
        subject=(Subject(name="tiny@1.0.0", digest={"sha256": image}),),
        predicateType=PredicateType.TEST_RESULT.value,
        predicate={"result": "FAILED"},
    )
    return published.site.recorder.record(statement, RecordType.TEST, Role.BENCH).entry


def facts(published: Published) -> object:
    return facts_of(published.site, published.trust(), Point.FLASH, published.gate(), published.board)


def test_a_test_result_that_cannot_be_read_is_no_test_that_was_not_made(published: Published) -> None:
    recorded_test(published)
    with pytest.raises(NotVerified, match="has a form that this version cannot read"):
        facts(published)


def test_a_test_result_that_was_taken_away_is_missed(published: Published) -> None:
    entry = recorded_test(published)
    next(published.site.records.records_dir.glob(f"{entry.record}*")).unlink()
    with pytest.raises(NotVerified, match="a test result of the log cannot be had"):
        facts(published)


def test_a_bench_for_another_module_says_nothing_about_this_image(published: Published) -> None:
    """It may name its own module in the subject, whatever file the digest is of: the name is its word."""
    recorded_test(published)
    trust = published.trust()
    keys = tuple(
        key.model_copy(update={"modules": ("tiny2",)}) if key.role is Role.BENCH else key for key in trust.keys
    )
    image = published.gate().release.image.file_sha256
    other = Statement(
        subject=(Subject(name="tiny2@1.0.0", digest={"sha256": image}),),
        predicateType=PredicateType.TEST_RESULT.value,
        predicate={"result": "PASSED"},
    )
    published.site.recorder.record(other, RecordType.TEST, Role.BENCH)
    limited = trust.model_copy(update={"keys": keys})
    found = facts_of(published.site, limited, Point.FLASH, published.gate(limited), published.board)
    assert found.release.tests == ()


class BenchOf:
    """Whose bench is another one's; the log and the rest stay."""

    def __init__(self, own: SignerService, other: MemorySigner) -> None:
        self._own, self._other = own, other

    def sign_statement(self, role: Role, payload: bytes) -> bytes:
        return (self._other if role is Role.BENCH else self._own).sign_statement(role, payload)

    def __getattr__(self, name: str) -> object:
        return getattr(self._own, name)


def campaign(result: str, image: str, plan: str = "swap", seed: int = 1) -> Statement:
    """A campaign's result on that file."""
    run = RunHeader(
        run_id="r",
        assay="0.1.0",
        place="-",
        board="ast1030-evb",
        emulated=True,
        started="2026-11-26T00:00:00Z",
        finished="2026-11-26T00:00:01Z",
        outcome=Outcome.PASS,
        checkpoint="",
    )
    named = {"source": "x", "name": "tiny", "version": "1.0.0", "file_sha256": image, "image_hash": image}
    said = {"run": run.model_dump(mode="json"), "plan": plan, "plan_sha256": image, "seed": seed, "tears": []}
    said |= {"sample": None, "emulator": "x", "rom_sha256": image, "bootloader": named, "images": {}, "goal": "new"}
    said |= {"episodes": [], "bricks": [], "faults": [], "files": {}}
    predicate = {"result": result, "configuration": [{"uri": "urn:x"}], "passedTests": [], "failedTests": []}
    return Statement(
        subject=(Subject(name="tiny@1.0.0", digest={"sha256": image}),),
        predicateType=PredicateType.TEST_RESULT.value,
        predicate={**predicate, CAMPAIGN: said},
    )


LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("change", [{"valid_until": LONG_AGO}, {"revoked": True}, {"modules": ("pump",)}, None])
def test_a_test_that_failed_stays_so_when_the_key_of_its_bench_is_rotated(
    published: Published, change: dict[str, object] | None
) -> None:
    """What passed is nothing any more. A stranger, or a bench for other modules, never said anything."""
    image = published.gate().release.image.file_sha256
    for result in ("PASSED", "FAILED"):
        published.site.recorder.record(campaign(result, image), RecordType.TEST, Role.BENCH)
    trust = published.trust()

    def results(by: TrustFile) -> list[str]:
        found = facts_of(published.site, by, Point.FLASH, published.gate(by), published.board)
        return [each.result for each in found.release.tests]

    assert results(trust) == ["PASSED", "FAILED"]
    if change is None:
        keys = tuple(key for key in trust.keys if key.role is not Role.BENCH)
    else:
        keys = tuple(key.model_copy(update=change) if key.role is Role.BENCH else key for key in trust.keys)
    counts = change is not None and "modules" not in change
    assert results(trust.model_copy(update={"keys": keys})) == (["FAILED"] if counts else [])


def test_a_threshold_for_test_results(published: Published) -> None:
    """What passed is a fact once so many benches say so, and what failed at once."""
    image, other = published.gate().release.image.file_sha256, MemorySigner()
    two = (Threshold(predicate_type=PredicateType.TEST_RESULT.value, count=2),)
    mine = published.trust(thresholds=two)
    trust = mine.model_copy(update={"keys": (*mine.keys, other.public_key(Role.BENCH))})

    def results() -> list[str]:
        found = facts_of(published.site, trust, Point.FLASH, published.gate(trust), published.board)
        return [each.result for each in found.release.tests]

    for plan in ("swap", "swap", "another"):
        published.site.recorder.record(campaign("PASSED", image, plan), RecordType.TEST, Role.BENCH)
    assert results() == []
    theirs = SiteRecorder(published.site.folder, BenchOf(published.site.signers, other), published.site.clock)
    theirs.record(campaign("PASSED", image, "swap", seed=2), RecordType.TEST, Role.BENCH)
    assert results() == ["PASSED", "PASSED"]
    published.site.recorder.record(campaign("FAILED", image, "third"), RecordType.TEST, Role.BENCH)
    assert results() == ["PASSED", "PASSED", "FAILED"]


def test_what_waits_for_a_key_that_is_away_stops_no_verb(published: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only who changes a policy has to wait for what is in front of it."""
    adopt_pack(published)

    def away(_self: object) -> int:
        raise NotRecorded("the signer of the bench is away", remedy="plug it in")

    monkeypatch.setattr(SiteRecorder, "recover", away)
    assert len(packs_at(published.site, published.trust(), Point.PUBLISH, ENGINE)) == 1
    with pytest.raises(NotRecorded):
        adopt_pack(published, version="1.1.0")


def test_a_checkpoint_that_was_taken_away_takes_no_policy_away(published: Published) -> None:
    adopt_pack(published)
    trust = published.trust()
    shutil.rmtree(published.site.folder / "policy")
    (published.site.folder / "log" / "checkpoint").unlink()
    with pytest.raises(NotVerified, match="has records and no checkpoint"):
        packs_at(published.site, trust, Point.FLASH, ENGINE)
