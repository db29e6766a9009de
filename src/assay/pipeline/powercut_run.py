# SPDX-License-Identifier: Apache-2.0
"""`assay twin powercut`: a plan's episodes recorded, cut at every flash operation, judged, and recorded in the log.

Guards: whatever ends a campaign leaves no twin and no file in memory; PASS is given only after the record is durable; a
campaign that was broken off is ABORTED, with a report of what was tried; one whose verdict is known is recorded so.
Leaves to others: one cut (`powercut_trial`), all of them (`powercut_campaign`), the record (`powercut_record`).
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from assay.errors import InfrastructureError, Interrupted, UnitFailed, UsageFault
from assay.model.outcome import Outcome
from assay.model.powercut import CutPlan
from assay.model.trust import Role
from assay.pipeline.powercut_campaign import Campaign, Progress, choose, tears_of_plan
from assay.pipeline.powercut_images import campaign_images
from assay.pipeline.powercut_order import CutAnswer, CutOrder, check_order, only_cut
from assay.pipeline.powercut_pool import Pool
from assay.pipeline.powercut_record import (
    VERB,
    CampaignFacts,
    files_of,
    keep_bricks,
    make_results,
    record_campaign,
    write_result,
)
from assay.pipeline.powercut_recording import Recorder, check_writes
from assay.pipeline.powercut_surroundings import copied, emulator_of, in_memory, jobs_of, rom_of, trust_of
from assay.pipeline.powercut_trial import Trier, tried
from assay.simulation.nor_flash import NorFault
from assay.stages.powercut.choice import Recording, cuts_of

if TYPE_CHECKING:
    from assay.drivers.twin.bare_twin import Bench
    from assay.model.board import Board
    from assay.pipeline.site import Site
    from assay.stages.powercut.images import Images

CUTS_PER_MINUTE = 600
"""On two cores, for the estimate; what a campaign reached is in its answer."""

Say = Callable[[str], None]


def run_campaign(site: Site, order: CutOrder, *, say: Say, progress: Progress) -> CutAnswer:
    """Carry out a campaign. FAIL and ABORTED are answers; raises what keeps it from beginning, and NotRecorded."""
    from assay.pipeline.manifest_files import board_file, load_board, load_with_digest, project_root

    plan, plan_sha256 = load_with_digest(order.plan, CutPlan)
    check_order(order)
    board = load_board(board_file(project_root(order.plan.absolute().parent), plan.board))
    if board.twin is None:
        raise UsageFault(f"board {board.name} has no twin", remedy="choose a board whose TOML has a [twin] table")
    if board.ssh is not None:
        raise UsageFault(
            f"{board.name} is a Linux module: a campaign cuts at operations of a flash chip, and it has a disk",
            remedy="choose a microcontroller board; nox -s linux cuts a Linux module at random moments",
        )
    images = campaign_images(site, plan, order.plan.parent, board, trust_of(order))
    rom = rom_of(site, order, plan, board, say)
    seed = plan.seed if order.seed is None else order.seed
    with in_memory(board, jobs_of(order)) as folder:
        rom = copied(rom, folder)  # twins read it at each power on: the record names what they read
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
    first_cuts_s: float = 0.0

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
        tasks = ("boot", "complete") if cut.second else ("boot", "complete", "recovery")
        campaign.try_one([trial for what in tasks for trial in tried(trier, what, cut)])
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
        if self.order.results is not None:
            make_results(self.order.results)  # and one that cannot keep a report
        with site.journals.open_run(VERB, key, board=self.board.name, emulated=self.board.emulated) as run:
            facts = CampaignFacts(
                site,
                run,
                self.plan,
                self.plan_sha256,
                self.board,
                self.images,
                hashlib.sha256(self.rom.read_bytes()).hexdigest(),
                emulator_of(self.board),
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
        if campaign is not None and outcome is Outcome.PASS:
            outcome, reason = _judged(campaign)
        return self._record(facts, campaign, outcome, reason, faults)

    def _record(
        self, facts: CampaignFacts, campaign: Campaign | None, outcome: Outcome, reason: str, faults: tuple[str, ...]
    ) -> CutAnswer:
        """Make the verdict durable, with the bricks; who stops it now loses bricks, and not the verdict."""
        episodes = campaign.results() if campaign else ()
        bricks = tuple(brick for brick, _ in campaign.bricks) if campaign else ()
        files: dict[str, str] = {}
        try:
            facts.run.begin("sign")
            if campaign and bricks:
                keep_bricks(facts, campaign, self._trier(campaign.recordings, "bricks"), files)
        except Interrupted as interrupted:  # a later one ends the process: `cli.signals`
            reason += f"; not all bricks are kept: {interrupted}" if bricks else ""
        try:
            record, said = record_campaign(facts, outcome, reason, episodes, bricks, faults, files)
        except Interrupted:  # again: a record that was sealed already is the one that is written
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
            first_cuts_s=self.first_cuts_s,
            record=record,
            campaign=said,
            results=facts.results,
        )

    def _recordings(self) -> dict[str, Recording]:
        wanted = only_cut(self.order)
        recorder = Recorder(self._bench("record"), self.images, self.say)
        chosen = [each for each in self.plan.episodes if wanted is None or each.name == wanted.episode]
        if not chosen and wanted is not None:
            names = ", ".join(episode.name for episode in self.plan.episodes)
            raise UsageFault(f"the plan has no episode {wanted.episode!r}", remedy=f"it has: {names}")
        recordings = {episode.name: recorder.record(episode) for episode in chosen}
        for recording in recordings.values():
            check_writes(recording, self.board)
        return recordings

    def _campaign(self, recordings: dict[str, Recording]) -> Campaign:
        tears, wanted = tears_of_plan(self.plan), only_cut(self.order)
        if wanted is not None:
            chosen = {wanted.episode: [wanted]}
        else:
            every = {name: cuts_of(recording, tears, self.seed) for name, recording in recordings.items()}
            chosen = choose(every, self.order.size, self.seed)
        return Campaign(self.plan, self.board, self.seed, self.order.size, recordings, chosen, self.order.replay)

    def _cut(self, campaign: Campaign) -> None:
        begun_s = time.monotonic()
        try:
            self.say(f"{sum(map(len, campaign.chosen.values()))} cuts")
            triers = [self._trier(campaign.recordings, str(number)) for number in range(jobs_of(self.order))]
            with Pool(triers) as pool:
                begun_s = time.monotonic()
                campaign.run(pool, self.progress)
        finally:
            self.elapsed_s = time.monotonic() - begun_s
            self.first_cuts_s = campaign.first_cuts_s

    def _trier(self, recordings: dict[str, Recording], name: str) -> Trier:
        plan = self.plan
        bench, tears = self._bench(name), tears_of_plan(plan)
        return Trier(bench, self.images, recordings, self.seed, tears, plan.goal, every=plan.completes_every)

    def _bench(self, name: str) -> Bench:
        from assay.drivers.twin.bare_twin import Bench

        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        return Bench(self.board, self.rom, folder)


def _judged(campaign: Campaign) -> tuple[Outcome, str]:
    """What a campaign that was not broken off says; one that left something out says nothing of the firmware."""
    if campaign.bricks:
        return Outcome.FAIL, campaign.stopped or f"{len(campaign.bricks)} bricks"
    if missing := campaign.missing():
        return Outcome.ERROR, f"the campaign is incomplete: {missing}"
    return Outcome.PASS, ""
