# SPDX-License-Identifier: Apache-2.0
"""A factory run: a place, a profile and two verified releases in; a unit with firmware, identity and a record out.

Guards: whatever can be refused is refused before the first byte is written; killed anywhere, the same command goes on
from where the unit is; nothing is said to be PASS before its record is durable.
Leaves to others: each step (`stages.provisioning`), the place (`places`), the verdict on releases (`release_gate`).
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from assay.errors import UnitFailed, WrongBoard
from assay.formats.device_certificate import DeviceCertificate
from assay.interfaces.place import Found
from assay.interfaces.step_book import DETAIL, ProgressFor, Say, StepBook, say_nothing
from assay.model.artifact import VerifiedImage
from assay.model.identifiers import parse_serial
from assay.model.outcome import Outcome
from assay.model.policy import Point, PolicyNote
from assay.model.policy_facts import UnitFacts
from assay.model.predicates import FactoryMeasurement, Provisioning
from assay.model.profile import Profile, ProfileStep
from assay.model.record import RecordRef, RecordType
from assay.model.statement import PredicateType, Statement, Subject
from assay.model.trust import Role, TrustFile
from assay.pipeline import device_ca, manifest_files
from assay.pipeline.deprecations import tell_deprecated
from assay.pipeline.places import OpenPlace, describe, open_place, what_answers
from assay.pipeline.policy_facts import unit_facts
from assay.pipeline.policy_gate import Judged, Question, enforce, judge
from assay.pipeline.recovery import conclude
from assay.pipeline.release_gate import verify_release
from assay.pipeline.run_journal import Run
from assay.pipeline.site_serials import SiteSerials
from assay.pipeline.trust_file import load_trust
from assay.pipeline.unit_records import (
    failed_run,
    image_subject,
    parse_reference,
    reference_of,
    run_header,
    statement_of,
)
from assay.stages.provisioning import acceptance, firmware, identity, plan
from assay.stages.provisioning.firmware import Written

if TYPE_CHECKING:
    from assay.pipeline.site import Site

VERB = "provision"


@dataclass(frozen=True)
class ProvisionOrder:
    """What the user asks for; `bootloader` and `app` are `name@version`, `wait_s` seconds for a place that is taken."""

    place: str
    profile: Path
    bootloader: str
    app: str
    trust: Path
    serial: str | None = None
    wait_s: float = 0.0
    bench: Path | None = None
    skip_policy: str | None = None


@dataclass(frozen=True)
class ProvisionPlan:
    """What would be done, for `--dry-run`."""

    place: str
    found: str
    board: str
    steps: tuple[ProfileStep, ...]
    bootloader: VerifiedImage
    app: VerifiedImage
    judged: tuple[Judged, ...] = ()


@dataclass(frozen=True)
class ProvisionResult:
    """What was done; `certificate` is None when the unit failed before it had one."""

    outcome: Outcome
    reason: str
    record: RecordRef
    certificate: DeviceCertificate | None
    measurements: tuple[FactoryMeasurement, ...]


def plan_only(site: Site, order: ProvisionOrder) -> ProvisionPlan:
    """Everything that is checked before the first byte, and the steps; the unit is asked and not changed."""
    with _Factory(site, order) as factory:
        planned = factory.plan()
        factory.check_not_ended(say_nothing)
        return replace(planned, judged=judge(site, *factory.questions()))


def provision(site: Site, order: ProvisionOrder, say: Say, progress_for: ProgressFor) -> ProvisionResult:
    """Provision the unit on the place. Raises `Refused` and its kin, link errors, `NotRecorded`; FAIL is an answer."""
    with _Factory(site, order, say) as factory:
        planned = factory.plan()
        say(f"{order.place}: {planned.found}")
        factory.check_not_ended(say)
        policy = enforce(site, *factory.questions(), skip=order.skip_policy, say=say)
        board, key = factory.place.board, f"{order.place} {factory.found.chip.hex()}"  # another unit, another run
        with site.journals.open_run(
            VERB, key, serial=order.serial, place=order.place, board=board.name, emulated=board.emulated
        ) as run:
            return _FactoryRun(factory, run, StepBook(run, say, progress_for), policy).carry_out()


class _Factory:
    """The place, the profile, the trust file and the images, all checked."""

    def __init__(self, site: Site, order: ProvisionOrder, say: Say = say_nothing) -> None:
        self.site = site
        self.order = order
        self.wanted = None if order.serial is None else parse_serial(order.serial)
        self.trust: TrustFile = load_trust(order.trust)
        self.profile: Profile
        self.profile, self.profile_sha256 = manifest_files.load_profile(order.profile)
        self.place: OpenPlace = open_place(
            site, order.place, verb=VERB, wait_s=order.wait_s, bench=order.bench, say=say
        )
        self.found: Found

    def __enter__(self) -> _Factory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.place.__exit__(kind, error, trace)

    def plan(self) -> ProvisionPlan:
        """Verify the releases, see that all fits, and see what answers on the place."""
        self.bootloader, self.app = self._gate(self.order.bootloader), self._gate(self.order.app)
        steps = plan.plan_provisioning(
            self.profile, str(self.order.profile), self.place.board, self.bootloader.release, self.app.release
        )
        self.found = what_answers(self.place)
        return ProvisionPlan(
            self.place.name, describe(self.found), self.place.board.name, steps, self.bootloader, self.app
        )

    def check_not_ended(self, say: Say) -> None:
        """After `plan`: no new unit gets a release that ended. Raises `Refused`."""
        releases = [self.bootloader.release, self.app.release]
        tell_deprecated(self.site, self.trust, self.place.board, releases, say, new_unit=True)

    def questions(self) -> tuple[Question, ...]:
        """What the site's policies are asked: about the bootloader, and about the app."""
        images = (self.bootloader, self.app)
        return tuple(
            Question(Point.PROVISION, image, self.place.board, self.trust, self._unit(image)) for image in images
        )

    def _unit(self, image: VerifiedImage) -> UnitFacts:
        return unit_facts(self.found, image.release, proved=False)

    def _gate(self, reference: str) -> VerifiedImage:
        name, version = parse_reference(reference)
        return verify_release(self.site.store, self.trust, name, version, self.place.board)


class _FactoryRun:
    """One journaled run over the profile's steps."""

    def __init__(self, factory: _Factory, run: Run, book: StepBook, policy: PolicyNote) -> None:
        self._factory = factory
        self._site = factory.site
        self._run = run
        self._book = book
        self._policy = policy
        self._place = factory.place
        self._checkpoint = factory.site.recorder.checkpoint()
        self._written: Written
        self._certificate: DeviceCertificate | None = None
        self._measurements: tuple[FactoryMeasurement, ...] = ()

    def carry_out(self) -> ProvisionResult:
        """Walk the steps, and record what came out."""
        acts: dict[str, Callable[[], dict[str, Any]]] = {
            "write-bootloader": self._write_bootloader,
            "write-app": self._write_app,
            "make-identity": self._make_identity,
            "check": self._check,
        }
        try:
            for step in self._factory.profile.steps:
                self._book.run(step.name, acts[step.name])
        except UnitFailed as failure:
            return self._conclude(Outcome.FAIL, failure.message)
        return self._conclude(Outcome.PASS, "")

    def _write_bootloader(self) -> dict[str, Any]:
        return firmware.write_bootloader(self._place, self._factory.found, self._factory.bootloader, self._book)

    def _write_app(self) -> dict[str, Any]:
        self._written = firmware.write_app(self._place, self._factory.app, self._book, self._site.clock)
        if self._written.info.chip != self._factory.found.chip:
            raise WrongBoard(
                f"the unit was changed: chip {self._written.info.chip.hex()} answers now, the run began with "
                f"{self._factory.found.chip.hex()}",
                remedy="leave the unit on its place until it is provisioned, and start again",
            )
        reference = self._factory.app.release.reference
        sent = self._written.upload_bytes
        detail = f"{reference} is there already" if sent is None else f"{reference} written and read back, {sent} bytes"
        return {"bytes_sent": sent or 0, DETAIL: detail}

    def _make_identity(self) -> dict[str, Any]:
        using = identity.Identification(
            profile=self._factory.profile,
            trust=self._factory.trust,
            numbers=SiteSerials(self._site, self._run),
            issue=lambda request: device_ca.issue(self._site, request),
            challenge=secrets.token_bytes(identity.CHALLENGE_BYTES),
            wanted=self._factory.wanted,
            emulated=self._place.emulated,
            not_before=self._site.clock.now(),
        )
        certificate, new = identity.make_identity(self._place.device, self._written.info, using)
        self._certificate = certificate
        words = "got" if new else "has"
        return {
            "serial": certificate.serial,
            "certificate_sha256": certificate.sha256,
            DETAIL: f"the unit {words} serial number {certificate.serial} and a device certificate",
        }

    def _check(self) -> dict[str, Any]:
        assert self._certificate is not None
        self._measurements = acceptance.check_unit(
            self._place.device, self._certificate.serial, self._written, self._factory.profile, self._site.clock
        )
        values = ", ".join(f"{one.name} {one.value} {one.unit}" for one in self._measurements if one.value is not None)
        return {DETAIL: "identity outlives a reset, the self-test passes" + (f"; {values}" if values else "")}

    def _conclude(self, outcome: Outcome, reason: str) -> ProvisionResult:
        certificate = self._certificate
        serial = certificate.serial if certificate else None
        kind, statement = self._statement(outcome, reason)
        record = conclude(self._site, self._run, statement, kind, Role.STATION, outcome, serial=serial, reason=reason)
        return ProvisionResult(outcome, reason, record, certificate, self._measurements)

    def _statement(self, outcome: Outcome, reason: str) -> tuple[RecordType, Statement]:
        header = run_header(self._site, self._run, self._place, self._checkpoint, outcome, reason, self._policy)
        certificate, factory = self._certificate, self._factory
        if certificate is None:
            return RecordType.RUN, failed_run(header, VERB, None, self._book.stopped_at, self._book.records)
        predicate = Provisioning(
            run=header,
            serial=certificate.serial,
            chip=certificate.chip.hex(),
            revision=self._written.info.revision,
            profile=factory.profile.name,
            profile_sha256=factory.profile_sha256,
            bootloader=reference_of(factory.bootloader.release),
            app=reference_of(factory.app.release),
            device_key=certificate.public_key.hex(),
            certificate_base64=base64.b64encode(certificate.der).decode(),
            certificate_sha256=certificate.sha256,
            issuer_keyid=certificate.issuer.keyid,
            steps=self._book.records,
            measurements=self._measurements,
        )
        subjects = (
            Subject(name=f"unit/{certificate.serial}", digest={"sha256": certificate.sha256}),
            image_subject(factory.bootloader.release),
            image_subject(factory.app.release),
        )
        return RecordType.PROVISIONING, statement_of(PredicateType.PROVISIONING, predicate, *subjects)
