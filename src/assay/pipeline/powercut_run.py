# SPDX-License-Identifier: Apache-2.0
"""`assay twin powercut`: a plan's episodes recorded, cut at every flash operation, judged, and recorded in the log.

Guards: whatever ends a campaign leaves no twin and no file in memory; PASS is given only after the record is durable; a
campaign that was broken off is ABORTED, with a report of what was tried.
Leaves to others: one cut (`powercut_trial`), all of them (`powercut_campaign`), the record (`powercut_record`).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from assay.errors import (
    ExitStatus,
    InfrastructureError,
    Interrupted,
    StorageError,
    ToolMissing,
    UnitFailed,
    UsageFault,
)
from assay.model.outcome import Outcome, exit_status
from assay.model.powercut import Brick, CampaignRun, Cut, CutPlan, EpisodeResult, parse_cut
from assay.model.record import RecordRef
from assay.model.trust import Role
from assay.pipeline.powercut_campaign import Campaign, Progress, choose, tears_of_plan
from assay.pipeline.powercut_images import campaign_images
from assay.pipeline.powercut_pool import Pool
from assay.pipeline.powercut_record import VERB, CampaignFacts, files_of, keep_bricks, record_campaign, write_result
from assay.pipeline.powercut_recording import Recorder
from assay.pipeline.powercut_trial import Trier
from assay.simulation.nor_flash import NorFault
from assay.stages.powercut.choice import Recording, cuts_of

if TYPE_CHECKING:
    from assay.drivers.twin.bare_twin import Bench
    from assay.model.manifest import Board
    from assay.model.trust import TrustFile
    from assay.pipeline.site import Site
    from assay.stages.powercut.images import Images

JOBS_MAX = 64
MEMORY = Path("/dev/shm")  # noqa: S108 (a folder of our own is made in it, with a name that nobody can guess)
PREFIX = "assay-powercut-"
CUTS_PER_MINUTE = 600
"""On two cores, for the estimate; what a campaign reached is in its answer."""
QEMU_VERSION_TIMEOUT_S = 20.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class CutOrder:
    """What the user asks for. `size`: how many first cuts to draw, None for all; `jobs`: twins at the same time."""

    plan: Path
    trust: Path | None = None
    results: Path | None = None
    rom: Path | None = None
    jobs: int = 0
    size: int | None = None
    seed: int | None = None
    only: str | None = None
    dry_run: bool = False


@dataclass
class CutAnswer:
    """What came of it. `record` is None for a dry run; `elapsed_s` is of the cuts alone."""

    plan: CutPlan
    seed: int
    outcome: Outcome
    reason: str = ""
    episodes: tuple[EpisodeResult, ...] = ()
    bricks: tuple[Brick, ...] = ()
    faults: tuple[str, ...] = ()
    planned: dict[str, tuple[int, int]] = field(default_factory=dict)
    elapsed_s: float = 0.0
    record: RecordRef | None = None
    campaign: CampaignRun | None = None
    results: Path | None = None

    @property
    def status(self) -> ExitStatus:
        """The exit status of the verb."""
        return exit_status(self.outcome)

    @property
    def tried(self) -> int:
        """First and second cuts that were made."""
        return sum(episode.cuts + episode.second_cuts for episode in self.episodes)


def run_campaign(site: Site, order: CutOrder, *, say: Say, progress: Progress) -> CutAnswer:
    """Carry out a campaign. FAIL and ABORTED are answers; raises what keeps it from beginning, and NotRecorded."""
    from assay.pipeline.manifest_files import board_file, load_board, load_with_digest, project_root

    plan, plan_sha256 = load_with_digest(order.plan, CutPlan)
    _check(order)
    board = load_board(board_file(project_root(order.plan.absolute().parent), plan.board))
    if board.twin is None:
        raise UsageFault(f"board {board.name} has no twin", remedy="choose a board whose TOML has a [twin] table")
    images = campaign_images(site, plan, order.plan.parent, board, _trust(order))
    rom = _rom(site, order, plan, board, say)
    seed = plan.seed if order.seed is None else order.seed
    with _in_memory() as folder:
        work = _Work(site, order, plan, plan_sha256, board, images, rom, seed, folder, say, progress)
        if order.dry_run:
            return work.plan_only()
        return work.replay() if order.only is not None else work.carry_out()


@dataclass
class _Work:
    """One campaign."""

    site: Site
    order: CutOrder
    plan: CutPlan
    plan_sha256: str
    board: Board
    images: Images
    rom: Path
    seed: int
    folder: Path
    say: Say
    progress: Progress
    elapsed_s: float = 0.0

    def plan_only(self) -> CutAnswer:
        """Record, and say what would be cut."""
        campaign = self._campaign(self._recordings())
        planned = {
            name: (len(recording.operations), len(campaign.chosen[name]))
            for name, recording in campaign.recordings.items()
        }
        return CutAnswer(self.plan, self.seed, Outcome.PASS, planned=planned)

    def replay(self) -> CutAnswer:
        """One cut again, for who looks for its reason; nothing new is found, so nothing is recorded in the log."""
        campaign = self._campaign(self._recordings())
        trier = self._trier(campaign.recordings, "replay")
        (cut,) = next(iter(campaign.chosen.values()))
        campaign.try_one([trier.boot(cut), trier.complete(cut)])
        bricks = tuple(brick for brick, _ in campaign.bricks)
        results = self.order.results or self.site.folder / "powercut" / "replay"
        for brick, trial in campaign.bricks:
            for name, data in files_of(brick, trial, trier).items():
                write_result(results, name, data)
        outcome = Outcome.FAIL if bricks else Outcome.PASS
        reason = bricks[0].what if bricks else ""
        return CutAnswer(self.plan, self.seed, outcome, reason, campaign.results(), bricks, results=results)

    def carry_out(self) -> CutAnswer:
        """Record, cut, judge, and make the record durable."""
        site, key = self.site, f"{self.plan.name}#{secrets.token_hex(8)}"
        site.signers.public_key(Role.BENCH)  # a bench that cannot sign finds out before the first cut
        with site.journals.open_run(VERB, key, board=self.board.name, emulated=self.board.emulated) as run:
            facts = CampaignFacts(
                site,
                run,
                self.plan,
                self.plan_sha256,
                self.board,
                self.images,
                hashlib.sha256(self.rom.read_bytes()).hexdigest(),
                _emulator(self.board),
                self.seed,
                tears_of_plan(self.plan),
                self.order.size,
                site.recorder.checkpoint(),
                self.order.results or site.folder / "powercut" / run.run_id,
            )
            return self._carry_out(facts)

    def _carry_out(self, facts: CampaignFacts) -> CutAnswer:
        campaign: Campaign | None = None
        outcome, reason, faults = Outcome.PASS, "", tuple[str, ...]()
        try:
            facts.run.begin("record")
            recordings = self._recordings()
            facts.run.done("record", {name: len(each.operations) for name, each in recordings.items()})
            campaign = self._campaign(recordings)
            facts.run.begin("cut")
            self._cut(campaign)
            facts.run.done("cut", {"bricks": len(campaign.bricks)})
        except (UnitFailed, NorFault) as fault:
            outcome, reason = Outcome.FAIL, str(fault)
            faults = (fault.message if isinstance(fault, UnitFailed) else str(fault),)
        except InfrastructureError as error:
            outcome, reason = Outcome.ERROR, error.message
        except Interrupted as interrupted:
            outcome, reason = Outcome.ABORTED, str(interrupted)
        if campaign is not None and campaign.bricks and outcome is Outcome.PASS:
            outcome, reason = Outcome.FAIL, campaign.stopped or f"{len(campaign.bricks)} bricks"
        return self._record(facts, campaign, outcome, reason, faults)

    def _record(
        self, facts: CampaignFacts, campaign: Campaign | None, outcome: Outcome, reason: str, faults: tuple[str, ...]
    ) -> CutAnswer:
        facts.run.begin("sign")
        episodes = campaign.results() if campaign else ()
        bricks = tuple(brick for brick, _ in campaign.bricks) if campaign else ()
        files = keep_bricks(facts, campaign, self._trier(campaign.recordings, "bricks")) if campaign and bricks else {}
        record, said = record_campaign(facts, outcome, reason, episodes, bricks, faults, files)
        return CutAnswer(
            self.plan,
            self.seed,
            outcome,
            reason,
            episodes,
            bricks,
            faults,
            elapsed_s=self.elapsed_s,
            record=record,
            campaign=said,
            results=facts.results,
        )

    def _recordings(self) -> dict[str, Recording]:
        wanted = _only(self.order)
        recorder = Recorder(self._bench("record"), self.images, self.say)
        chosen = [each for each in self.plan.episodes if wanted is None or each.name == wanted.episode]
        if not chosen and wanted is not None:
            names = ", ".join(episode.name for episode in self.plan.episodes)
            raise UsageFault(f"the plan has no episode {wanted.episode!r}", remedy=f"it has: {names}")
        recordings = {episode.name: recorder.record(episode) for episode in chosen}
        if empty := [name for name, recording in recordings.items() if not recording.operations]:
            raise UsageFault(f"episode {empty[0]!r} writes nothing to the flash", remedy="correct its steps")
        return recordings

    def _campaign(self, recordings: dict[str, Recording]) -> Campaign:
        tears, wanted = tears_of_plan(self.plan), _only(self.order)
        if wanted is not None:
            chosen = {wanted.episode: [wanted]}
        else:
            every = {name: cuts_of(recording, tears, self.seed) for name, recording in recordings.items()}
            chosen = choose(every, self.order.size, self.seed)
        replay = f"assay twin powercut {self.order.plan}"
        return Campaign(self.plan, self.board, self.seed, self.order.size, recordings, chosen, replay)

    def _cut(self, campaign: Campaign) -> None:
        begun_s = time.monotonic()
        try:
            self.say(f"{sum(map(len, campaign.chosen.values()))} cuts")
            jobs = self.order.jobs or _jobs()
            with Pool([self._trier(campaign.recordings, str(number)) for number in range(jobs)]) as pool:
                begun_s = time.monotonic()
                campaign.run(pool, self.progress)
        finally:
            self.elapsed_s = time.monotonic() - begun_s

    def _trier(self, recordings: dict[str, Recording], name: str) -> Trier:
        return Trier(self._bench(name), self.images, recordings, self.seed, tears_of_plan(self.plan), self.plan.goal)

    def _bench(self, name: str) -> Bench:
        from assay.drivers.twin.bare_twin import Bench

        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        return Bench(self.board, self.rom, folder)


def _check(order: CutOrder) -> None:
    if not 0 <= order.jobs <= JOBS_MAX:
        raise UsageFault(f"{order.jobs} twins at the same time", remedy=f"give 1 to {JOBS_MAX}, or 0 for the default")
    if order.size is not None and order.size < 1:
        raise UsageFault(f"a sample of {order.size} cuts", remedy="give at least 1")
    if order.only is not None and order.size is not None:
        raise UsageFault("--only is one cut, --sample draws some", remedy="leave one of them out")
    _only(order)


def _only(order: CutOrder) -> Cut | None:
    if order.only is None:
        return None
    cut = parse_cut(order.only)
    if cut is None:
        raise UsageFault(
            f"{order.only!r} names no cut", remedy="write EPISODE:OP:TEAR or EPISODE:OP:TEAR:OP/TEAR, as a report does"
        )
    return cut


def _trust(order: CutOrder) -> TrustFile | None:
    from assay.pipeline.trust_file import load_trust

    return load_trust(order.trust) if order.trust is not None else None


def _rom(site: Site, order: CutOrder, plan: CutPlan, board: Board, say: Say) -> Path:
    given = order.rom or (order.plan.parent / plan.rom if plan.rom else None)
    if given is None:
        from assay.pipeline.rom_image import rom_for

        return rom_for(site, board.name, order.plan.absolute().parent, say)
    if not given.is_file():
        raise UsageFault(f"no mask ROM at {given}", remedy="give the ELF that the ROM's build wrote")
    return given.absolute()


def _jobs() -> int:
    """One and a half twins for each core: some of a boot is waiting."""
    cores = len(os.sched_getaffinity(0))
    return max(1, min(JOBS_MAX, cores + cores // 2))


def _emulator(board: Board) -> str:
    assert board.twin is not None
    try:
        done = subprocess.run(
            [board.twin.qemu, "--version"], capture_output=True, text=True, timeout=QEMU_VERSION_TIMEOUT_S, check=False
        )
    except FileNotFoundError as error:
        raise ToolMissing(
            f"{board.twin.qemu} is not installed", remedy=f"sudo apt-get install -y {board.twin.package}"
        ) from error
    return done.stdout.partition("\n")[0]


@contextlib.contextmanager
def _in_memory() -> Iterator[Path]:
    """A folder for flash files, in memory where there is some; those of processes that were killed are removed."""
    root = MEMORY if os.access(MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    _sweep(root)
    try:
        folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=root))
    except OSError as error:
        raise StorageError(f"cannot make a folder in {root}: {error.strerror}", remedy="set TMPDIR") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(root: Path) -> None:
    for folder in root.glob(f"{PREFIX}*-*"):
        pid = folder.name.removeprefix(PREFIX).partition("-")[0]
        mine = folder.lstat().st_uid == os.getuid()
        if mine and pid.isdecimal() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(folder, ignore_errors=True)
