# SPDX-License-Identifier: Apache-2.0
"""An update in the field: a unit that proved what it runs and a verified release in; a plan, its walk and a record out.

Guards: the unit's own evidence, verified, is what the plan begins with and what the record ends with; a resumed run
walks the plan that it began with; every way to end but a kill leaves a record.
Leaves to others: what may be updated (`stages.field.plan`), the walk (`stages.field.execute`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from assay.errors import AssayError, ExitStatus, InfrastructureError, NotVerified, Refused, UnitFailed, gravest
from assay.interfaces.device import DeviceInfo, Stage
from assay.interfaces.step_book import DETAIL, ProgressFor, Say, StepBook, say_nothing
from assay.model.artifact import Release, VerifiedImage
from assay.model.compatibility import Offer, check_capabilities, check_interfaces, offer_of
from assay.model.outcome import Outcome, exit_status
from assay.model.plan import Plan, UnitState, UpdateRules
from assay.model.policy import Point, PolicyNote
from assay.model.policy_facts import RequestFacts, UnitFacts
from assay.model.predicates import DeviceReport, RadioReport, Update
from assay.model.record import RecordRef, RecordType
from assay.model.statement import PredicateType, Statement
from assay.model.trust import Role, TrustFile
from assay.pipeline.deprecations import tell_deprecated
from assay.pipeline.patch_gate import verify_patch
from assay.pipeline.places import OpenPlace, describe, open_place, what_answers
from assay.pipeline.policy_facts import unit_facts
from assay.pipeline.policy_gate import Judged, Question, enforce, judge
from assay.pipeline.proved_unit import attest, parse_wanted, provisioned_app
from assay.pipeline.recovery import conclude
from assay.pipeline.release_gate import goes_by_summary, verify_release
from assay.pipeline.run_journal import Run
from assay.pipeline.trust_file import load_trust
from assay.pipeline.unit_offers import offers_on_unit
from assay.pipeline.unit_records import image_subject, parse_reference, reference_of, run_header, statement_of
from assay.stages.field import execute
from assay.stages.field import plan as planning
from assay.stages.field import radio as radios
from assay.stages.field.evidence import VerifiedEvidence
from assay.stages.field.execute import UpdateWalk, WentBack
from assay.stages.field.travel import Travel, travel_of

if TYPE_CHECKING:
    from assay.pipeline.site import Site

VERB = "update"
PLAN_STEP = "plan"
RADIO_AREA = "radio_primary"
AFTER_TIMEOUT_S = 10.0
"""Seconds for the unit to answer after a walk that ended badly; it may be in the middle of going back."""


@dataclass(frozen=True)
class UpdateOrder:
    """What the user asks for; `release` is `name@version`, `wait_s` seconds for a place that is taken, `serial` the
    unit that has to be there, `full` that no patch is tried, `radio` the release of the radio that goes with it,
    `older` why it may be an older version.
    """

    release: str
    place: str
    trust: Path
    older: str | None = None
    wait_s: float = 0.0
    bench: Path | None = None
    serial: str | None = None
    full: bool = False
    radio: str | None = None
    skip_policy: str | None = None


@dataclass(frozen=True)
class PlannedUpdate:
    """The plan with its digest, and what the unit proved that it runs."""

    plan: Plan
    sha256: str
    before: DeviceReport
    baud: int
    judged: tuple[Judged, ...] = ()


@dataclass(frozen=True)
class UpdateResult:
    """How it ended; `after` is what the unit proved afterwards (None: it did not answer, or proved nothing)."""

    planned: PlannedUpdate
    outcome: Outcome
    status: ExitStatus
    reason: str
    device_reason: str
    after: DeviceReport | None
    record: RecordRef
    remedy: str
    travel: Travel
    radio: RadioReport | None = None


def plan_only(site: Site, order: UpdateOrder) -> PlannedUpdate:
    """Ask the unit, verify, and plan; nothing is changed."""
    with _Field(site, order) as field:
        planned = field.plan()
        return replace(planned, judged=judge(site, *field.questions()))


def update(site: Site, order: UpdateOrder, say: Say, progress_for: ProgressFor) -> UpdateResult:
    """Update the unit on the place. Raises `Refused` and its kin before anything is written, and `NotRecorded`.

    FAIL (the unit went back) and ERROR (the link died; the unit did not prove itself afterwards, with status REFUSED)
    are answers, with a record.
    """
    with _Field(site, order, say) as field:
        board, key = field.place.board, f"{order.place} {field.info.serial} {field.image.release.reference}"
        key += " full" if order.full else ""  # a run that began with a patch would go on with it
        key += f" with {field.radio.release.reference}" if field.radio else ""
        say(f"{order.place}: {describe(field.info)}")
        planned = field.plan()
        releases = [image.release for image in (field.image, field.radio) if image]
        tell_deprecated(site, field.trust, board, releases, say)
        policy = enforce(site, *field.questions(), skip=order.skip_policy, say=say)
        with site.journals.open_run(
            VERB, key, serial=field.info.serial, place=order.place, board=board.name, emulated=board.emulated
        ) as run:
            return _FieldRun(field, run, StepBook(run, say, progress_for), planned, policy).carry_out()


class _Field:
    """The place, the unit that answers for itself, and the image, all checked."""

    def __init__(self, site: Site, order: UpdateOrder, say: Say = say_nothing) -> None:
        self.site = site
        self.order = order
        self.trust: TrustFile = load_trust(order.trust)
        self._wanted = parse_wanted(order.serial)
        self.place: OpenPlace = open_place(
            site, order.place, verb=VERB, wait_s=order.wait_s, bench=order.bench, say=say
        )
        self.image: VerifiedImage
        self.radio: VerifiedImage | None = None
        self.info: DeviceInfo
        self.checkpoint = b""

    def __enter__(self) -> _Field:
        try:
            self.image = self._verified(self.order.release)
            if self.order.radio is not None:
                self.radio = self._verified_radio(self.order.radio)
            self.info = provisioned_app(what_answers(self.place), self.place, self._wanted)
            self.checkpoint = self.site.recorder.checkpoint()
        except BaseException:
            self.place.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.place.__exit__(kind, error, trace)

    def _verified(self, reference: str) -> VerifiedImage:
        name, version = parse_reference(reference)
        return verify_release(self.site.store, self.trust, name, version, self.place.board)

    def _verified_radio(self, reference: str) -> VerifiedImage:
        board = self.place.board
        if RADIO_AREA not in board.flash.areas:
            raise Refused(f"board {board.name} has no radio of its own", remedy="update the app alone: without --radio")
        return self._verified(reference)

    def attest(self) -> VerifiedEvidence:
        """Fresh evidence of the unit."""
        return attest(self.place, self.info, self.checkpoint, self.trust)

    def plan(self) -> PlannedUpdate:
        """The plan from what the unit proves now."""
        verified = self.attest()
        baud, release = self.place.board.serial.baud, self.image.release
        there = verified.claims.bootloader_hash.hex()
        offers = offers_on_unit(self.site.store, self.trust, self.place.board, there)
        room, radio = self.place.board.patch_room, self.radio.release if self.radio else None
        unit = self._unit(verified, offers)
        plan = planning.plan_update(unit, release, self._rules(), baud=baud, patch_room=room, radio=radio)
        _check_offers(release, (*offers, offer_of(radio)) if radio else offers)
        if radio:
            _check_offers(radio, (*offers, offer_of(release)))
        return PlannedUpdate(plan, planning.digest(plan), verified.report, baud)

    def questions(self) -> tuple[Question, ...]:
        """What the site's policies are asked: about each image, after `plan`, to which the unit gave evidence."""
        images = (self.image, *([self.radio] if self.radio else []))
        request = RequestFacts(older_version=self.order.older is not None)
        return tuple(
            Question(Point.INSTALL, image, self.place.board, self.trust, self._facts(image), request)
            for image in images
        )

    def _facts(self, image: VerifiedImage) -> UnitFacts:
        return unit_facts(self.info, image.release, proved=True)

    def _unit(self, verified: VerifiedEvidence, offers: tuple[Offer, ...]) -> UnitState:
        claims = verified.claims
        modules = {offer.module: offer.version for offer in offers if offer.module}
        radio_hash = self.radio_there() or None
        return UnitState(
            serial=claims.serial,
            board=claims.board,
            revision=claims.revision,
            name=claims.name,
            version=claims.version,
            image_hash=claims.image_hash.hex(),
            state="confirmed" if verified.report.is_kept else "testing",
            security_counter=claims.security_counter,
            modules=modules | self._known_radio(radio_hash),
            radio_hash=radio_hash,
        )

    def radio_there(self) -> str:
        """Hash (hex) of the radio on the unit, recomputed over its flash; empty without one, or when none goes in."""
        return radios.held(self.place.device, radios.PRIMARY_SLOT).hex() if self.radio else ""

    def _known_radio(self, radio_hash: str | None) -> dict[str, str]:
        """Its version, by its hash: it can only have a radio refused, so that no signature is asked for."""
        return {
            release.name: release.version
            for release in self.site.store.releases()
            if radio_hash and (release.kind, release.image.image_hash) == ("radio", radio_hash)
        }

    def _rules(self) -> UpdateRules:
        artifact = self.image.release.artifact
        said: dict[str, Any] = {}
        if artifact.update is not None:
            said = artifact.update.model_dump(include={"policy", "health_timeout_s", "min_from_version"})
        return UpdateRules(
            dependencies=artifact.dependencies,
            allow_older_version=self.order.older is not None,
            full=self.order.full or goes_by_summary(self.trust),  # no summary speaks of patches
            **said,
        )


def _check_offers(release: Release, offers: Sequence[Offer]) -> None:
    """Versions of modules were checked by the plan; interfaces and capabilities are left."""
    check_interfaces(release, offers)
    check_capabilities(release, offers)


class _FieldRun:
    """One journaled walk."""

    def __init__(self, field: _Field, run: Run, book: StepBook, planned: PlannedUpdate, policy: PolicyNote) -> None:
        self._field = field
        self._site = field.site
        self._run = run
        self._book = book
        self._fresh = planned
        self._policy = policy

    def carry_out(self) -> UpdateResult:
        """Walk, prove what runs now, and record it."""
        planned, notes_from, boots_from = self._begin()
        walk = UpdateWalk(
            self._field.place,
            planned.plan,
            self._field.image,
            self._book,
            self._site.clock,
            notes_from,
            boots_from,
            self._patch(planned.plan),
            self._field.radio.data if self._field.radio else b"",
        )
        failure: AssayError | None = None
        try:
            walk.run()
        except (UnitFailed, InfrastructureError, Refused) as error:
            failure = error
        return self._conclude(planned, failure)

    def _patch(self, plan: Plan) -> bytes:
        """The plan's patch, verified; empty when there is none. Nothing was sent yet: `Refused` and its kin pass."""
        if plan.patch is None:
            return b""
        release = self._field.image.release
        found = next((each for each in release.patches if each.file_sha256 == plan.patch.file_sha256), None)
        if found is None:
            raise NotVerified(f"{release.reference} has another patch than was planned", remedy="update with --full")
        return verify_patch(self._site.store, self._field.trust, release, found).data

    def _begin(self) -> tuple[PlannedUpdate, int, int | None]:
        """The plan of this run: the one that it began with, if it was begun before."""
        kept = self._run.result(PLAN_STEP)
        if kept is None:
            device, fresh = self._field.place.device, self._fresh
            notes = device.notes()
            kept = self._book.run(
                PLAN_STEP,
                lambda: {
                    "plan": fresh.plan.model_dump(mode="json", by_alias=True),
                    "before": fresh.before.model_dump(mode="json"),
                    "notes_from": max((note.seq + 1 for note in notes), default=0),
                    "boots_from": execute.boots_of(device),
                    DETAIL: f"{len(fresh.plan.steps)} steps to {fresh.plan.release}, plan {fresh.sha256[:16]}",
                },
            )
        plan = Plan.model_validate_json(json.dumps(kept["plan"]))
        before = DeviceReport.model_validate_json(json.dumps(kept["before"]))
        planned = PlannedUpdate(plan, planning.digest(plan), before, self._fresh.baud)
        return planned, int(kept["notes_from"]), kept.get("boots_from")

    def _conclude(self, planned: PlannedUpdate, failure: AssayError | None) -> UpdateResult:
        after, radio, doubt = self._after(planned.plan)
        outcome, reason = _judge(planned.plan, after, failure, doubt, radio)
        device_reason = failure.reason if isinstance(failure, WentBack) else ""
        refusals = [error.status for error in (failure, doubt) if isinstance(error, Refused)]
        status = gravest([exit_status(outcome), *refusals])
        statement = self._statement(planned, after, radio, outcome, reason, device_reason)
        serial = planned.plan.unit.serial
        record = conclude(
            self._site, self._run, statement, RecordType.UPDATE, Role.FIELD, outcome, serial=serial, reason=reason
        )
        report = after.report if after else None
        remedy = next((error.remedy for error in (failure, doubt) if error), "")
        travel = travel_of(self._run, planned.plan)
        return UpdateResult(planned, outcome, status, reason, device_reason, report, record, remedy, travel, radio)

    def _after(self, plan: Plan) -> tuple[VerifiedEvidence | None, RadioReport | None, AssayError | None]:
        """What the unit proves now, and what its radio's slot holds; or why it proves nothing."""
        try:
            self._field.place.device.wait_ready(Stage.APP, AFTER_TIMEOUT_S)
            return self._field.attest(), self._radio(plan, self._field.radio_there()), None
        except (InfrastructureError, UnitFailed, Refused) as doubt:
            return None, self._radio(plan, ""), doubt

    def _radio(self, plan: Plan, after: str) -> RadioReport | None:
        radio = self._field.radio
        if radio is None:
            return None
        return RadioReport(image=reference_of(radio.release), before=plan.unit.radio_hash, after=after or None)

    def _statement(
        self,
        planned: PlannedUpdate,
        after: VerifiedEvidence | None,
        radio: RadioReport | None,
        outcome: Outcome,
        reason: str,
        device_reason: str,
    ) -> Statement:
        travel = travel_of(self._run, planned.plan)
        predicate = Update(
            run=run_header(
                self._site, self._run, self._field.place, self._field.checkpoint, outcome, reason, self._policy
            ),
            serial=planned.plan.unit.serial,
            plan=planned.plan,
            plan_sha256=planned.sha256,
            image=reference_of(self._field.image.release),
            before=planned.before,
            after=after.report if after else None,
            radio=radio,
            steps=self._book.records,
            device_reason=device_reason,
            after_evidence=after.quote if after else None,
            way=travel.way,
            bytes_sent=travel.bytes_sent,
            older_allowed=self._field.order.older,
        )
        images = [self._field.image, *([self._field.radio] if self._field.radio else [])]
        return statement_of(PredicateType.UPDATE, predicate, *(image_subject(image.release) for image in images))


def _judge(
    plan: Plan,
    after: VerifiedEvidence | None,
    failure: AssayError | None,
    doubt: AssayError | None,
    radio: RadioReport | None,
) -> tuple[Outcome, str]:
    """PASS needs the unit's proof that it keeps the new image; FAIL, that it does not run it; without proof, ERROR.

    `doubt` is why there is no proof. A `radio` has to be with its app.
    """
    runs_new = after is not None and after.report.image_hash == plan.image_hash
    halves = radio is not None and radio.after != (radio.image.image_hash if runs_new else radio.before)
    if halves and after is not None:
        return (
            Outcome.FAIL,
            f"the unit runs {after.report.version}, and its radio does not go with it: updated by halves",
        )
    if doubt is not None and (failure is None or isinstance(doubt, Refused)):
        walked = failure.message if failure else "the walk was done"
        return Outcome.ERROR, f"{walked}, and the unit did not prove itself afterwards: {doubt.message}"
    if failure is None:
        if runs_new and after is not None and after.report.is_kept:
            return Outcome.PASS, ""
        return Outcome.ERROR, "the walk was done, and the unit does not prove that it keeps the new image"
    if isinstance(failure, UnitFailed) and after is not None and not runs_new:
        return Outcome.FAIL, failure.message
    return Outcome.ERROR, failure.message
