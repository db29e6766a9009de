# SPDX-License-Identifier: Apache-2.0
"""`assay twin powercut` on real firmware: a sample of the shipped plans, and a bootloader that bricks.

The whole campaigns are `nox -s powercut`.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import tomllib
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from life_site import LifeSite, Told, environment, patched_site
from twin_firmware import ROOT, Firmware, firmware_for, known_fault, signed_patch, wrong_bootloader

from assay.drivers.twin.bare_twin import Bench
from assay.errors import Interrupted
from assay.model.powercut import CutPlan, parse_cut
from assay.pipeline import powercut_record
from assay.pipeline.manifest_files import load_with_digest
from assay.pipeline.powercut_campaign import tears_of_plan
from assay.pipeline.powercut_images import campaign_images
from assay.pipeline.powercut_order import CutOrder
from assay.pipeline.powercut_recording import Recorder
from assay.pipeline.powercut_run import run_campaign
from assay.pipeline.powercut_trial import Trier
from assay.pipeline.site import Site

BOARDS = ("ast1030-evb", "rv32-virt")
SAMPLE = 36
"""First cuts of all episodes together: three of each, which is what CI has the time for."""
PATIENCE_S = 60.0
CAMPAIGN_TIMEOUT_S = 840  # 30 on an idle host, 600 at a load of 17
pytestmark = pytest.mark.timeout(900)
MEMORY = Path("/dev/shm")


@dataclass
class Recorded:
    """An episode whose cuts can be tried one by one."""

    trier: Trier

    @property
    def operations(self) -> int:
        """How many there are."""
        (recording,) = self.trier.recordings.values()
        return len(recording.operations)

    def fault(self, cut: str, **changes: Any) -> str | None:
        """What a boot from `cut` is judged as, by an episode with these changes."""
        made = parse_cut(cut)
        assert made is not None
        recording = self.trier.recordings[made.episode]
        changed = replace(recording, episode=recording.episode.model_copy(update=changes))
        return replace(self.trier, recordings={made.episode: changed}).boot(made).fault


@dataclass
class Cutter:
    """A site, and plans that use images as files."""

    site: LifeSite
    firmware: Firmware
    folder: Path

    def plan(self, episodes: tuple[str, ...] = (), bootloader: Path | None = None, **changes: Any) -> Path:
        """The shipped plan with files as images, and of its episodes only these."""
        plan = shipped(self.site.board)
        built = self.firmware.folder
        plan["bootloader"] = str(bootloader or built / "bootloader-1.0.0.signed")
        plan["rom"] = str(self.firmware.rom)
        plan["images"] = {
            word: f"{built}/app-{source.partition('@')[2]}.signed" for word, source in plan["images"].items()
        }
        plan["radios"] = {
            word: f"{built}/radio-{source.partition('@')[2]}.signed" for word, source in plan["radios"].items()
        }
        plan["patches"]["delta"]["file"] = str(signed_patch(self.firmware, "1.0.0", "1.3.0"))
        plan["episodes"] = [each for each in plan["episodes"] if not episodes or each["name"] in episodes]
        return self.write({**plan, **changes})

    def write(self, plan: dict[str, Any]) -> Path:
        """A plan as a file in a project: a folder with the boards."""
        if not (self.folder / "boards").exists():
            shutil.copytree(ROOT / "boards", self.folder / "boards")
        tables = {name: plan.pop(name, {}) for name in ("images", "radios")}
        episodes, patches = plan.pop("episodes"), plan.pop("patches", {})
        lines = [f"{key} = {json.dumps(value)}" for key, value in plan.items()]
        for name, table in tables.items():
            lines += [f"[{name}]", *(f"{word} = {json.dumps(source)}" for word, source in table.items())]
        for word, patch in patches.items():
            lines += [f"[patches.{word}]", *(f"{key} = {json.dumps(value)}" for key, value in patch.items())]
        for episode in episodes:
            lines += ["[[episodes]]", *(f"{key} = {_toml(value)}" for key, value in episode.items())]
        path = self.folder / "plan.toml"
        path.write_text("\n".join(lines))
        return path

    def cut(self, plan: Path, *more: str) -> Told:
        """Run the verb; a busy host gets more time than for other verbs."""
        command = self.site.command("twin", "powercut", plan, *more)
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment()
        ) as process:
            try:
                answer, said = process.communicate(timeout=CAMPAIGN_TIMEOUT_S)
            finally:
                process.kill()
        assert "Traceback" not in said, said
        assert folders_of(process.pid) == []
        return Told(process.returncode, json.loads(answer), answer + said)

    def recorded(self, name: str, bootloader: Path) -> Recorded:
        """The episode `name` of the shipped plan, recorded in this process."""
        plan, _ = load_with_digest(path := self.plan((name,), bootloader), CutPlan)
        images = campaign_images(Site(self.site.folder), plan, path.parent, self.firmware.board, None)
        bench = Bench(self.firmware.board, self.firmware.rom, self.folder)
        recording = Recorder(bench, images, print).record(plan.episodes[0])
        return Recorded(Trier(bench, images, {name: recording}, plan.seed, tears_of_plan(plan), plan.goal))

    def statement(self, sha256: str) -> dict[str, Any]:
        """The statement in a record."""
        bundle = json.loads((self.site.folder / "records" / f"{sha256}.json").read_text())
        found: dict[str, Any] = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
        return found


def shipped(board: str) -> dict[str, Any]:
    """The plan of the project."""
    return tomllib.loads((ROOT / "campaigns" / f"{board}.toml").read_text())


def _toml(value: Any) -> str:
    """Texts and lists are written as in JSON; the tables here hold texts and lists of texts."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {json.dumps(text)}" for key, text in value.items()) + " }"
    return json.dumps(value)


def cutter(board: str, folder: Path) -> Cutter:
    firmware = firmware_for(board)
    if shutil.which(str(firmware.board.twin and firmware.board.twin.qemu)) is None:
        pytest.skip(f"no QEMU for {board}")
    return Cutter(LifeSite(folder / "site", board), firmware, folder)


def folders_of(pid: int) -> list[Path]:
    """Where the campaign of a process has its flash files; other people's campaigns are none of our business."""
    return [folder for root in (MEMORY, Path(tempfile.gettempdir())) for folder in root.glob(f"assay-powercut-{pid}-*")]


def processes(*words: str) -> list[str]:
    """Command lines that have all of `words` in them."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it ended meanwhile
            line = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            found += [line] if all(word in line for word in words) else []
    return found


@pytest.mark.parametrize("board", BOARDS)
def test_a_sample_of_the_shipped_plan_bricks_nothing(board: str, tmp_path: Path) -> None:
    cuts = cutter(board, tmp_path)
    plan = cuts.plan()
    whole = cuts.cut(plan, "--sample", str(SAMPLE), "--seed", "5")
    told = whole.data
    assert whole.status == 0, whole.said
    assert (told["outcome"], told["record_type"], told["bricks"], told["faults"]) == ("PASS", "test", [], [])
    assert told["cuts"] == SAMPLE
    assert told["second_cuts"] >= 4
    assert 0 < told["first_cuts_s"] < told["elapsed_s"]
    assert [row["name"] for row in told["episodes"]] == [each["name"] for each in shipped(board)["episodes"]]
    assert all(row["cuts"] >= 3 and row["completed"] >= 1 for row in told["episodes"]), told["episodes"]
    said = cuts.statement(told["record"])
    campaign = said["predicate"]["urn:assay:powercut:v1"]
    assert said["predicate"]["result"] == "PASSED"
    assert next(subject["name"] for subject in said["subject"]).endswith("bootloader-1.0.0.signed")
    assert (campaign["seed"], campaign["sample"], campaign["run"]["emulated"]) == (5, SAMPLE, True)
    assert (sum(row["cuts"] for row in campaign["episodes"]), campaign["bricks"]) == (SAMPLE, [])
    tried = {hashlib.sha256(file).hexdigest() for file in (cuts.firmware.bootloader, *cuts.firmware.apps.values())}
    assert tried <= {subject["digest"]["sha256"] for subject in said["subject"]}
    assert json.loads((Path(told["results"]) / "powercut.json").read_text())["episodes"] == campaign["episodes"]
    cuts.site.good(
        "keys", "trust", "--out", cuts.site.trust, "--name", "demo", "--allow-development", "--allow-emulated"
    )
    cuts.site.good("log", "verify", "--trust", cuts.site.trust)


def test_an_update_is_completed_after_every_cut_where_the_plan_asks_for_it(tmp_path: Path) -> None:
    cuts = cutter("ast1030-evb", tmp_path)
    told = cuts.cut(cuts.plan(("confirm",), completions="every", second_cuts=4))
    assert told.status == 0, told.said
    (row,) = told.data["episodes"]
    assert row["cuts"] >= 5 and row["second_cuts"] >= 2, row
    assert row["completed"] == row["planned_completions"] == row["cuts"] + row["second_cuts"], row


def test_a_bootloader_that_marks_before_it_copies_bricks_and_the_brick_can_be_made_again(tmp_path: Path) -> None:
    cuts = cutter("ast1030-evb", tmp_path)
    wrong = wrong_bootloader(cuts.firmware, known_fault("the journal marks a step before it is done"))
    plan = cuts.plan(("swap",), wrong, second_cuts=0)
    told = cuts.cut(plan, "--sample", "30", "--seed", "2")
    assert told.status == 1, told.said
    assert (told.data["outcome"], told.data["record_type"]) == ("FAIL", "test")
    assert told.data["bricks"], "the bricks of this bootloader were not seen"
    brick = told.data["bricks"][0]
    kept = Path(told.data["results"]) / "brick-1"
    assert len(gzip.decompress((kept / "flash.bin.gz").read_bytes())) == cuts.firmware.board.flash.size
    assert (kept / "uart.txt").read_bytes().startswith(b"ASSAY-")
    assert cuts.statement(told.data["record"])["predicate"]["failedTests"] == ["swap"]

    line = brick["replay"].split()
    assert line[:4] == ["assay", "twin", "powercut", str(plan)]
    again = cuts.cut(plan, *line[4:])
    assert again.status == 1, again.said
    assert again.data["bricks"][0]["what"] == brick["what"]
    assert again.data["record"] is None

    right = cuts.cut(cuts.plan(("swap",)), *line[4:])
    assert right.status == 0, right.said


def test_ctrl_c_while_bricks_are_packed_does_not_lose_the_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signal comes when the first brick is packed; twins, log and journal are real ones."""
    cuts = cutter("ast1030-evb", tmp_path)
    wrong = wrong_bootloader(cuts.firmware, known_fault("the journal marks a step before it is done"))
    plan = cuts.plan(("swap",), wrong, second_cuts=0)
    keep = powercut_record._keep

    def stopped_at_the_second(facts: powercut_record.CampaignFacts, name: str, data: bytes) -> str:
        if name.startswith("brick-2/"):
            raise Interrupted("SIGINT")
        return keep(facts, name, data)

    monkeypatch.setattr(powercut_record, "_keep", stopped_at_the_second)
    said: list[str] = []
    order = CutOrder(plan, size=30, seed=2)
    told = run_campaign(Site(cuts.site.folder), order, say=said.append, progress=lambda _what, _done, _all: None)
    assert (told.outcome.value, told.status) == ("FAIL", 1)
    assert len(told.bricks) > 1
    assert "not all bricks are kept: stopped by SIGINT" in told.reason
    assert told.record is not None
    statement = cuts.statement(told.record.entry.record)["predicate"]
    assert (statement["result"], statement["failedTests"]) == ("FAILED", ["swap"])
    kept = statement["urn:assay:powercut:v1"]["files"]
    assert {name.partition("/")[0] for name in kept} == {"brick-1", "powercut.json"}
    assert [entry["type"] for entry in cuts.site.good("log", "show")["entries"]] == ["test"], "one record, of this run"


LOSES_CONFIRMATIONS = {
    "file": "boot_table.c",
    "edits": [
        {
            "right": "{MARK_SET, MARK_UNSET, MARK_SET, MARK_UNSET, ANY, BOOT_REVERT}",
            "wrong": "{MARK_SET, ANY, MARK_SET, MARK_UNSET, ANY, BOOT_REVERT}",
        }
    ],
}
"""Goes back to the old image although the new one was confirmed."""


def test_a_confirmation_that_was_acknowledged_and_lost_is_a_brick(tmp_path: Path) -> None:
    """The unit runs the old image then, which it may after a cut in the middle, and not behind the acknowledgement."""
    cuts = cutter("ast1030-evb", tmp_path)
    plan = cuts.plan(("confirm",), wrong_bootloader(cuts.firmware, LOSES_CONFIRMATIONS), second_cuts=0)
    told = cuts.cut(plan)
    assert (told.status, told.data["outcome"]) == (1, "FAIL"), told.said
    lost = {brick["cut"]: brick["what"] for brick in told.data["bricks"]}
    operations = told.data["episodes"][0]["operations"]
    assert "comes up as old (confirmed), and has to come up as new" in lost[f"confirm:{operations - 1}:after"]
    right = cuts.cut(cuts.plan(("confirm",), second_cuts=0))
    assert right.status == 0, right.said
    assert right.data["episodes"][0]["came_up"].keys() == {"old", "new"}


MOVES_THE_APP_ALONE = {
    "file": "swap.c",
    "edits": [
        {
            "right": "    swap->kind = (enum swap_kind)head.words[0];\n",
            "wrong": "    swap->kind = (enum swap_kind)head.words[0];\n"
            "    for (uint32_t i = 1; i < IMAGE_COUNT; i++) head.words[1 + i] = 0;\n",
        }
    ],
}
"""A swap that was cut goes on with the app alone: without a cut both images come in, after one the radio stays."""


def test_a_bootloader_that_moves_the_app_alone_is_caught_by_what_belongs_together(tmp_path: Path) -> None:
    """Each image is whole, the app is the one that was asked for, and the update can be completed: else all is well."""
    cuts = cutter("ast1030-evb", tmp_path)
    recorded = cuts.recorded("two-images", wrong_bootloader(cuts.firmware, MOVES_THE_APP_ALONE))
    halves = "the unit runs new, and its radio is not radio-new: updated by halves"
    for cut in ("two-images:100:first", "two-images:900:before"):  # while the app is moved, and the radio
        assert recorded.fault(cut) == halves
    assert recorded.fault("two-images:900:before", together={}) is None


FORGETS_REQUESTS = {
    "file": "boot.c",
    "edits": [
        {
            "right": "        (void)swap(kinds[decision.action], decision.images, choice);\n",
            "wrong": "        drop_requests(decision.images);\n"
            "        (void)swap(kinds[decision.action], decision.images, choice);\n",
        }
    ],
}
"""Takes the request back before the journal is open: between the two nobody knows of it any more."""


def test_a_request_that_was_acknowledged_and_forgotten_is_a_brick(tmp_path: Path) -> None:
    """The unit runs the old image, confirmed and whole, the new one waits whole, and an update can be completed."""
    cuts = cutter("ast1030-evb", tmp_path)
    recorded = cuts.recorded("swap", wrong_bootloader(cuts.firmware, FORGETS_REQUESTS))
    assert recorded.fault("swap:1:before") == "the unit comes up as old (confirmed), and has to come up as new"
    assert recorded.fault("swap:1:before", until={}) is None
    assert recorded.fault("swap:100:before") is None  # the journal is open
    assert recorded.fault(f"swap:{recorded.operations - 1}:after") is None  # not confirmed: it goes back


NO_ERASE = "nothing is erased before it is programmed"
"""On `rv32-virt`, whose flash model overwrites, such a bootloader seems to work."""


def test_programming_without_erase_is_found_where_the_emulated_flash_allows_it(tmp_path: Path) -> None:
    cuts = cutter("rv32-virt", tmp_path)
    told = cuts.cut(cuts.plan(("swap",), wrong_bootloader(cuts.firmware, known_fault(NO_ERASE))), "--sample", "4")
    assert (told.status, told.data["outcome"], told.data["bricks"]) == (1, "FAIL", []), told.said
    assert "programmed without erase" in told.data["faults"][0]
    assert cuts.statement(told.data["record"])["predicate"]["result"] == "FAILED"


@pytest.mark.timeout(900)  # the first test that needs releases builds them
def test_releases_and_their_patch_are_verified_first_and_a_units_history_bears_the_campaign(tmp_path: Path) -> None:
    pytest.importorskip("detools", reason="pip install 'assay[delta]'")
    site = patched_site("ast1030-evb", tmp_path / "site")
    cuts = Cutter(site, firmware_for("ast1030-evb"), tmp_path)
    plan = shipped("ast1030-evb")
    episodes = [each for each in plan["episodes"] if each["name"] in ("confirm", "delta")]
    rom = str(site.folder / "cache" / "rom" / "ast1030-evb" / "part.elf")
    del plan["images"]["raised"]
    path = cuts.write({**plan, "rom": rom, "episodes": episodes, "radios": {}})
    assert "whom to trust" in cuts.cut(path).said
    told = cuts.cut(path, "--trust", str(site.trust), "--sample", "20")
    assert told.status == 0, told.said
    delta = next(row for row in told.data["episodes"] if row["name"] == "delta")
    assert set(delta["came_up"]) <= {"old", "patched"}
    assert (delta["cuts"] >= 10, delta["second_cuts"] >= 4, delta["completed"] >= 1) == (True, True, True)
    assert [subject["name"] for subject in cuts.statement(told.data["record"])["subject"]] == [
        "assay-bootloader@1.0.0", "demo-sensor@1.0.0", "demo-sensor@1.1.0", "demo-sensor@1.2.0", "demo-sensor@1.3.0",
        "demo-sensor@1.3.0 from demo-sensor@1.0.0",
    ]  # fmt: skip
    site.good("log", "verify", "--trust", site.trust)
    site.good("trace", "DEMO-000001", "--trust", site.trust, "--export", tmp_path / "dossier.tar.gz")
    site.good("verify", tmp_path / "dossier.tar.gz", "--trust", site.trust)


def test_a_campaign_that_is_killed_leaves_no_process(tmp_path: Path) -> None:
    cuts = cutter("ast1030-evb", tmp_path)
    command = cuts.site.command("twin", "powercut", cuts.plan(("upload",)))
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment
    ) as process:
        assert process.stderr is not None
        assert any(re.search(r"\d+ cuts", line) for line in process.stderr)
        time.sleep(3.0)
        assert folders_of(process.pid) != []
        process.kill()
    deadline_s = time.monotonic() + PATIENCE_S
    while still := processes(f"assay-powercut-{process.pid}-"):
        assert time.monotonic() < deadline_s, f"twins of the campaign are still there: {still}"
        time.sleep(0.1)
    cuts.cut(cuts.plan(("confirm",)), "--dry-run")
    assert folders_of(process.pid) == [], "the next campaign did not tidy up"


@pytest.mark.parametrize("after_s", [0.3, 3.0], ids=["as its workers begin", "later"])
def test_ctrl_c_leaves_nothing_behind_and_says_aborted(tmp_path: Path, after_s: float) -> None:
    cuts = cutter("ast1030-evb", tmp_path)
    command = cuts.site.command("twin", "powercut", cuts.plan(("upload",)))
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment,
        start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        assert any(re.search(r"\d+ cuts", line) for line in process.stderr)
        time.sleep(after_s)
        os.killpg(process.pid, signal.SIGINT)
        answer, said = process.communicate(timeout=PATIENCE_S)
    told = json.loads(answer)
    assert (process.returncode, told["outcome"], told["record_type"]) == (3, "ABORTED", "run"), said
    row = told["episodes"][0]
    assert row["cuts"] < row["planned"]
    assert "Traceback" not in said
    deadline_s = time.monotonic() + PATIENCE_S
    while still := of_group(process.pid):
        assert time.monotonic() < deadline_s, f"processes of the campaign are still there: {still}"
        time.sleep(0.1)
    assert folders_of(process.pid) == []


def of_group(number: int) -> list[str]:
    """Process ids in a process group, zombies left out."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended meanwhile
            state, _parent, group = stat.read_text().rpartition(")")[2].split()[:3]
            if group == str(number) and state != "Z":
                found.append(stat.parent.name)
    return found


def test_a_dry_run_says_what_would_be_cut_and_claims_nothing(tmp_path: Path) -> None:
    cuts = cutter("ast1030-evb", tmp_path)
    told = cuts.cut(cuts.plan(("confirm",)), "--dry-run")
    assert told.status == 0, told.said
    assert (told.data["dry_run"], told.data["outcome"], told.data["record"]) == (True, None, None)
    assert told.data["planned"]["confirm"]["cuts"] > 0


@pytest.mark.parametrize(
    ("line", "status", "words"),
    [
        (("--results", "/dev/null/here"), 3, "cannot write in /dev/null/here"),
        (("--only", "nonsense"), 2, "names no cut"),
        (("--only", "nowhere:0:before"), 2, "no episode"),
        (("--only", "confirm:9999:before"), 2, "numbered from 0"),
        (("--sample", "0"), 2, "sample of 0"),
    ],
)
def test_what_cannot_be_is_usage(tmp_path: Path, line: tuple[str, ...], status: int, words: str) -> None:
    cuts = cutter("ast1030-evb", tmp_path)
    told = cuts.cut(cuts.plan(("confirm",)), *line)
    assert (told.status, words in told.said) == (status, True), told.said
