# SPDX-License-Identifier: Apache-2.0
"""Plans, names of cuts, what is chosen of them, what a unit says, and when a campaign counts as passed."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from assay.errors import InfrastructureError, ManifestFault, UsageFault
from assay.model.campaign import CampaignRun, EpisodeResult, NamedImage
from assay.model.module import Module
from assay.model.outcome import Outcome
from assay.model.powercut import Cut, CutPlan, Episode, Point, Tear, parse_cut
from assay.model.predicates import RunHeader
from assay.pipeline import powercut_run, powercut_surroundings
from assay.pipeline.manifest_files import load_board
from assay.pipeline.powercut_campaign import Campaign
from assay.pipeline.powercut_images import campaign_images
from assay.pipeline.powercut_trial import Left, Recovery, Trial, Trier, tried
from assay.pipeline.site import Site
from assay.simulation.nor_flash import Erase, NorFault, NorFlash, Program
from assay.stages.manifest.read import read_manifest
from assay.stages.powercut.choice import Recording, cuts_of, sample, some_of_each
from assay.stages.powercut.coming_up import CameUp, fault_of, read_line
from assay.stages.powercut.images import CampaignImage, Images
from assay.stages.powercut.statement import campaign_statement, passed

ROOT = Path(__file__).parents[2]
PLAN = (ROOT / "campaigns" / "ast1030-evb.toml").read_text()
HASH = "ab" * 32
SHA = "cd" * 32


def image(word: str, version: str, image_hash: str) -> CampaignImage:
    return CampaignImage(
        word, b"", NamedImage(source="x", name="app", version=version, file_sha256=SHA, image_hash=image_hash)
    )


IMAGES = Images(
    image("bootloader", "1.0.0", "ee" * 32),
    {"old": image("old", "1.0.0", HASH), "new": image("new", "1.1.0", "ba" * 32)},
)


def test_a_flash_area_that_the_board_lacks_is_told_before_anything_is_recorded(tmp_path: Path) -> None:
    plan = read_manifest(PLAN.replace('writes = ["counters"]', 'writes = ["moon"]').encode(), "plan.toml", CutPlan)
    board = load_board(ROOT / "boards" / "ast1030-evb.toml")
    with pytest.raises(UsageFault, match="'counter': board ast1030-evb has no flash area 'moon'"):
        campaign_images(Site(tmp_path), plan, tmp_path, board, None)


@pytest.mark.parametrize("file", sorted((ROOT / "campaigns").glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_plans_are_of_their_board_and_end_where_they_may(file: Path) -> None:
    plan = read_manifest(file.read_bytes(), file.name, CutPlan)
    assert plan.board == plan.name == file.stem
    assert {episode.name for episode in plan.episodes} >= {
        "first-boot",
        "recovery",
        "upload",
        "swap",
        "confirm",
        "revert",
    }
    after = {episode.name: episode.after for episode in plan.episodes}
    assert after["confirm"] == {"confirm": ("new",)}
    assert after["upload"] == {"test new": ("new",)}
    until = {episode.name: episode.until for episode in plan.episodes if episode.until}
    assert until == {
        "swap": {"new": ("new",)},
        "bad-image": {"bad": ("bad",)},
        "delta": {"patched": ("patched",)},
        "two-images": {"new": ("new",)},
    }
    assert {episode.name: episode.writes for episode in plan.episodes if episode.writes} == {"counter": ("counters",)}


def test_the_image_that_raises_the_counter_is_the_app_with_a_higher_one() -> None:
    module, raised = (
        read_manifest((ROOT / "firmware" / "app" / name).read_bytes(), name, Module)
        for name in ("module.toml", "raised.toml")
    )
    assert raised.update.security_counter > module.update.security_counter
    same = {"version": module.version, "update": module.update}
    assert raised.model_copy(update=same) == module
    images = read_manifest(PLAN.encode(), "plan", CutPlan).images
    assert images["raised"] == f"{raised.name}@{raised.version}"


@pytest.mark.parametrize(
    ("right", "wrong", "words"),
    [
        ('goal = "new"', 'goal = "other"', "no image 'other'"),
        ('cut = ["reset"]', 'cut = ["upload other"]', "there is no 'other'"),
        ('goal = "patched"', 'goal = "delta"', "there is no 'delta'"),
        ('keeps = ["old"]', 'keeps = ["delta"]', "there is no 'delta'"),
        ('new = "radio-new" }', 'new = "new" }', "there is no 'new'"),
        ('base = "old"', 'base = "odl"', "no image 'odl'"),
        ("delta = { base", "radio-old = { base", "is a patch, too"),
        ('cut = ["reset"]', 'cut = ["jump"]', "does not have the form"),
        ('may_run = ["old", "new"]', 'may_run = ["old", "nwe"]', "there is no 'nwe'"),
        ("after = { confirm =", "after = { reset =", "there is no 'reset'"),
        ('after = { confirm = ["new"]', 'after = { confirm = ["bad"]', "there is no 'bad'"),
        ('after = { confirm = ["new"]', "after = { confirm = []", "after"),
        ("until = { new =", "until = { delta =", "there is no 'delta'"),
        ('until = { new = ["new"]', 'until = { new = ["bad"]', "there is no 'bad'"),
        ('until = { new = ["new"]', "until = { new = []", "until"),
        ('name = "swap"', 'name = "upload"', "two episodes"),
        ("seed = 1", "seed = -1", "seed"),
        ('old = "demo', 'rom = "demo', "word of its own"),
        ("seed = 1", 'tears = ["shaken"]', "tears"),
        ("seed = 1", "sed = 1", "did you mean 'seed'"),
        (
            "completions = 2",
            'completions = "some"',
            "^plan.toml:[0-9]+: completions: should be a whole number of at least 1, or",
        ),
        ("completions = 2", "completions = 0", "completions: should be a whole number of at least 1, or 'every'"),
    ],
)
def test_a_wrong_plan_is_told_with_its_line(right: str, wrong: str, words: str) -> None:
    assert right in PLAN
    with pytest.raises(ManifestFault, match=words) as told:
        read_manifest(PLAN.replace(right, wrong, 1).encode(), "plan.toml", CutPlan)
    assert told.value.line is not None


@pytest.mark.parametrize("text", ["swap:12:bits", "first-boot:0:before", "swap:508:last:391/first"])
def test_a_cut_is_named_by_its_text(text: str) -> None:
    cut = parse_cut(text)
    assert cut is not None
    assert str(cut) == text


@pytest.mark.parametrize(
    "text", ["", "swap", "swap:1", "swap:1:shaken", "swap:1:bits:2/shaken", "swap:-1:bits", "a b:1:bits"]
)
def test_what_names_no_cut_is_none(text: str) -> None:
    assert parse_cut(text) is None


def recording() -> Recording:
    chip = NorFlash(64, 16, {1: bytes(16)})
    operations = (Program(0, b"\0\0"), Erase(16, 16), Program(16, b"\xff"), Program(16, b"\xf0"))
    return Recording(Episode(name="swap", cut=("reset",), may_run=("old",)), chip, operations, (4,))


def test_each_operation_is_cut_before_torn_and_after() -> None:
    made = recording()
    cuts = cuts_of(made, tuple(Tear), 1)
    assert [str(cut)[5:] for cut in cuts if cut.first.operation != 1] == [
        "0:before", "0:first", "0:last", "0:bits", "3:before", "3:bits", "3:after",
    ]  # fmt: skip
    assert {cut.first.tear for cut in cuts if cut.first.operation == 1} >= {Tear.BEFORE, Tear.FIRST, Tear.LAST}
    states = [made.at(cut.first, "1").read(0, 64) for cut in cuts]
    assert len(states) == len(set(states))
    assert made.at(cuts[-1].first, "").read(16, 2) == b"\xf0\xff"


def test_what_was_acknowledged_before_the_cut_says_what_may_run() -> None:
    steps: dict[str, tuple[str, ...]] = {"upload new": ("old",), "confirm": ("new",)}
    episode = Episode(name="swap", cut=("upload new", "test new", "confirm"), may_run=("old", "new"), after=steps)
    made = replace(recording(), episode=episode, acknowledged=(1, 2, 4))
    found = [made.may_run(Point(operation=number, tear=Tear.BITS)) for number in range(4)]
    assert found == [("old", "new"), ("old",), ("old",), ("old",)]
    assert made.may_run(Point(operation=3, tear=Tear.AFTER)) == ("new",)


def cuts(name: str, count: int) -> list[Cut]:
    return [Cut(episode=name, first=Point(operation=at, tear=Tear.BEFORE)) for at in range(count)]


def test_a_sample_spreads_over_the_episodes_and_is_the_same_each_time() -> None:
    every = {"long": cuts("long", 1000), "short": cuts("short", 3), "other": cuts("other", 500)}
    chosen = sample(every, 60, 7)
    assert {name: len(found) for name, found in chosen.items()} == {"long": 29, "short": 3, "other": 28}
    assert list(chosen) == list(every)
    assert chosen == sample(every, 60, 7) != sample(every, 60, 8)
    assert all(len(found) == 1 for found in sample(every, 1, 7).values())


def test_some_of_each_kind_and_not_more_than_wanted() -> None:
    items = [(number % 5, number) for number in range(100)]
    assert sorted(number % 5 for number in some_of_each(items, 2, None, "s")) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert len(some_of_each(items, 2, 3, "s")) == 3


def line(version: str, image_hash: str, state: str = "confirmed", selftest: str = "running") -> str:
    return f"ASSAY-APP 1 name=app version={version} board=b hash={image_hash} state={state} selftest={selftest}"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (line("1.0.0", HASH), CameUp("old", "confirmed", settled=False)),
        (line("1.1.0", "ba" * 32, "testing", "pass"), CameUp("new", "testing")),
        (line("1.1.0", "ba" * 32, "testing", "fail"), CameUp("new", "testing, self-test failed", settled=False)),
        (line("1.1.0", HASH), CameUp("stranger", f"app 1.1.0 hash {HASH[:16]}", settled=False)),
        (line("1.0.0", "00" * 32), CameUp("stranger", f"app 1.0.0 hash {'00' * 8}", settled=False)),
        ("ASSAY-BOOT 1 recovery board=b version=1 reason=no-image", CameUp("recovery", "no-image")),
        ("ASSAY-ROM 1 board=b rev=1 chip=00 reason=hash", CameUp("rom", "hash")),
        ("ASSAY-APP 1 selftest failed code=3", None),
    ],
)
def test_what_comes_up_is_known_by_hash_name_and_version(text: str, found: CameUp | None) -> None:
    assert read_line(text, IMAGES) == found


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (CameUp("old"), None),
        (CameUp("recovery", "no-image"), "has to come up as old or new"),
        (CameUp("silent", "nothing"), "does not come up"),
        (CameUp("stranger", "x"), "none of the plan's images"),
    ],
)
def test_what_may_not_run_is_a_fault(found: CameUp, words: str | None) -> None:
    fault = fault_of(found, ("old", "new"))
    assert fault is None if words is None else words in str(fault)


def campaign(**changes: Any) -> CampaignRun:
    header = RunHeader(
        run_id="r", assay="0", place="twin:b", board="b", emulated=True, started="s", finished="f",
        outcome=changes.pop("outcome", Outcome.PASS), checkpoint="c",
    )  # fmt: skip
    episode = EpisodeResult(
        name="swap", operations=3, erases=1, programs=2, cuts=changes.pop("cuts", 9), came_up={"old": 9}, planned=9,
        second_cuts=changes.pop("second_cuts", 4), planned_second_cuts=4, completed=changes.pop("completed", 2),
        planned_completions=changes.pop("planned_completions", 2), bricks=changes.pop("bricked", 0),
    )  # fmt: skip
    return CampaignRun(
        run=header, plan="p", plan_sha256=SHA, seed=1, tears=(Tear.BEFORE,), sample=None, emulator="q", rom_sha256=SHA,
        bootloader=IMAGES.bootloader.named, images={word: each.named for word, each in IMAGES.apps.items()}, goal="new",
        episodes=changes.pop("episodes", (episode,)), bricks=(), faults=changes.pop("faults", ()), files={},
    )  # fmt: skip


def test_passed_needs_every_planned_cut_and_no_fault() -> None:
    assert passed(campaign())
    said = campaign_statement(campaign()).predicate
    assert (said["result"], said["passedTests"], said["failedTests"]) == ("PASSED", ["swap"], [])
    for changes in (
        {"cuts": 8},
        {"second_cuts": 3},
        {"completed": 1},
        {"completed": 0, "planned_completions": 0},
        {"bricked": 1, "outcome": Outcome.FAIL},
        {"faults": ("f",)},
        {"outcome": Outcome.FAIL},
        {"episodes": ()},
    ):
        assert campaign_statement(campaign(**changes)).predicate["result"] == "FAILED", changes


def test_a_statement_is_about_the_files_and_tells_cuts_bricks_and_seed() -> None:
    """Who asks about the bootloader finds it by its digest, and what was tried with it."""
    said = campaign_statement(campaign(bricked=1, outcome=Outcome.FAIL))
    bootloader = IMAGES.bootloader.named
    assert said.subject[0].digest == {"sha256": bootloader.file_sha256}
    told = said.predicate["urn:assay:powercut:v1"]
    (episode,) = told["episodes"]
    assert (told["seed"], told["bootloader"]["image_hash"]) == (1, bootloader.image_hash)
    assert (episode["cuts"], episode["second_cuts"], episode["bricks"]) == (9, 4, 1)


class _Breaching(Trier):
    """Of a firmware that programs without erase while it comes up, and never else."""

    def boot(self, cut: Cut) -> Trial:
        return Trial(cut, "old", "confirmed")

    def complete(self, cut: Cut) -> Trial:
        return Trial(cut, "new", "confirmed", completing=True)

    def _recovery_from(self, cut: Cut, left: Left) -> Recovery:
        raise NorFault(f"programmed without erase after {cut}")


def test_a_brick_of_a_recovery_is_made_again_by_its_line(tmp_path: Path) -> None:
    """It is found where second cuts are drawn, and told with the name of the first cut."""
    plan, board = read_manifest(PLAN.encode(), "plan", CutPlan), load_board(ROOT / "boards" / "ast1030-evb.toml")
    recordings = {"swap": recording()}
    trier = _Breaching(None, IMAGES, recordings, 1, (Tear.BEFORE,), "new")  # type: ignore[arg-type]
    (found,) = tried(trier, "seconds", Cut(episode="swap", first=Point(operation=0, tear=Tear.BEFORE)))
    assert found.fault is not None
    campaign = Campaign(plan, board, 1, None, recordings, {"swap": [found.cut]}, "assay")

    class Work(powercut_run._Work):
        def _recordings(self) -> dict[str, Recording]:
            return campaign.recordings

        def _campaign(self, recordings: dict[str, Recording]) -> Campaign:
            return campaign

        def _trier(self, recordings: dict[str, Recording], name: str) -> Trier:
            return trier

    order = powercut_run.CutOrder(tmp_path / "plan.toml", results=tmp_path / "results", only=str(found.cut))
    nothing: Any = None
    again = Work(nothing, order, plan, "", board, IMAGES, tmp_path, 1, tmp_path, nothing, nothing).replay()
    assert (again.outcome, again.bricks[0].what) == (Outcome.FAIL, found.fault)


def test_flash_files_lie_in_memory_only_where_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory, other = tmp_path / "memory", tmp_path / "other"
    for folder in (memory, other):
        folder.mkdir()
        (folder / "assay-powercut-1-x").mkdir()
        (folder / "assay-powercut-1-x" / "lock").touch()  # of a process that is gone
    monkeypatch.setattr(powercut_surroundings, "MEMORY", memory)
    monkeypatch.setattr(tempfile, "tempdir", str(other))
    board = load_board(ROOT / "boards" / "ast1030-evb.toml")
    for free, where in ((1 << 40, memory), (64 << 20, other)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _path, free=free: SimpleNamespace(free=free))
        with powercut_surroundings.in_memory(board, 3) as folder:
            assert folder.parent == where
        assert list(memory.iterdir()) + list(other.iterdir()) == []


def _trier(*trials: Trial) -> Trier:
    """Its tries end one after the other as `trials`; the last one goes on for ever."""
    left = list(trials)

    class Told(Trier):
        def left_by(self, cut: Cut) -> Left:
            return Left(NorFlash(64, 16), (), ())

        def _boot(self, cut: Cut, behind: Left, timeout_s: float) -> Trial:
            return left.pop(0)

        def _complete_once(self, cut: Cut, chip: NorFlash) -> Trial:
            return left.pop(0)

    return Told(None, IMAGES, {"swap": recording()}, 1, (Tear.BEFORE,), "new")  # type: ignore[arg-type]


def test_what_is_tried_twice_is_counted_and_a_breach_is_not_excused() -> None:
    cut = Cut(episode="swap", first=Point(operation=0, tear=Tear.BEFORE))
    plan, board = read_manifest(PLAN.encode(), "plan", CutPlan), load_board(ROOT / "boards" / "ast1030-evb.toml")
    campaign = Campaign(plan, board, 1, None, {"swap": recording()}, {"swap": [cut]}, "assay")
    good, silent = Trial(cut, "new", "confirmed", completing=True), Trial(cut, "silent", "", "it is silent")
    failed, breach = Trial(cut, "new", "", "not completed"), Trial(cut, "new", "", "no erase", breach=True)
    for made in (
        _trier(good).boot(cut),
        _trier(silent, good).boot(cut),
        _trier(failed, good).complete(cut),
        _trier(breach, good).complete(cut),
    ):
        campaign._take("complete", made)
    (row,) = campaign.results()
    assert (row.tried_again, row.completed, row.bricks) == (2, 3, 1)


@pytest.mark.parametrize("what", ["hangs", "not-allowed"])
def test_an_emulator_that_cannot_be_asked_is_told_of(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "qemu"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    if what == "not-allowed":
        program = tmp_path  # a folder cannot be started, whoever asks
    monkeypatch.setattr(powercut_surroundings, "QEMU_VERSION_TIMEOUT_S", 0.2)
    board: Any = SimpleNamespace(twin=SimpleNamespace(qemu=str(program), package="qemu"))
    with pytest.raises(InfrastructureError, match="does not say its version"):
        powercut_surroundings.emulator_of(board)


def test_what_a_killed_campaign_left_is_removed_and_what_a_living_one_has_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(powercut_surroundings, "MEMORY", tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    board = load_board(ROOT / "boards" / "ast1030-evb.toml")
    killed, fresh = (tmp_path / f"{powercut_surroundings.PREFIX}{name}" for name in ("killed", "fresh"))
    killed.mkdir()
    (killed / powercut_surroundings.LOCK).touch()
    fresh.mkdir()
    with powercut_surroundings.in_memory(board, 1) as living, powercut_surroundings.in_memory(board, 1) as second:
        assert living.is_dir() and second.is_dir() and living != second
        assert fresh.is_dir() and not killed.exists()
    assert not living.exists() and not second.exists()
