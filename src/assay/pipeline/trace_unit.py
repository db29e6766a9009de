# SPDX-License-Identifier: Apache-2.0
"""The life of a unit, record by record in the order of the log; here: provisioning, flash, runs that stopped.

Guards: each record says what the ones before it let it say (identity, what the unit ran), and its parts agree with each
other.
Leaves to others: updates and evidence (`trace_update`), tests (`trace_tested`), whether the record is genuine
(`trace_record`), whether an image is (`trace_release`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from assay.formats import device_certificate
from assay.formats.device_certificate import DeviceCertificate
from assay.model.campaign import CampaignVerdict
from assay.model.outcome import Outcome
from assay.model.policy import DecisionRecord, Point
from assay.model.predicates import EvidenceRecord, Flash, InterruptedRun, Provisioning, RunHeader, Update
from assay.model.value import Value
from assay.model.verdict import SuiteVerdict
from assay.pipeline.trace_life import Life, number_of
from assay.pipeline.trace_link import KEY_DIGITS, Link
from assay.pipeline.trace_log import size_of
from assay.pipeline.trace_measured import measured_words
from assay.pipeline.trace_policy import statement_digest, tell_decision, tell_policy
from assay.pipeline.trace_record import OpenedRecord, chips_of, decode_base64, serials_of
from assay.pipeline.trace_tested import tell_test
from assay.pipeline.trace_update import tell_evidence, tell_update

MOVING_VERBS = ("provision", "flash", "update")
"""Verbs that change what a unit runs: when one stops half way, nobody knows what it runs."""


POINTS: dict[type, Point] = {Provisioning: Point.PROVISION, Flash: Point.FLASH, Update: Point.INSTALL}
"""Where policies are asked, by what is recorded afterwards."""


def tell(opened: OpenedRecord, life: Life) -> None:
    """Check on the record's link what it says about the unit, and let `life` go on from there."""
    link, predicate = opened.link, opened.predicate
    if predicate is None:
        life.changed(f"{number_of(link)}, which is broken,")
        return
    tellers: dict[type, Callable[[Link, Any, Life], None]] = {
        Provisioning: _provisioning,
        Flash: _flash,
        Update: tell_update,
        SuiteVerdict: tell_test,
        InterruptedRun: _interrupted,
        CampaignVerdict: _campaign,
    }
    if isinstance(predicate, DecisionRecord):
        tell_decision(opened, predicate, life.adoptions)
        life.decisions[statement_digest(opened)] = predicate
        _check_about(link, predicate, life)
        return
    if opened.header is not None and (point := POINTS.get(type(predicate))) is not None:
        in_force = life.adoptions.in_force(point, size_of(opened.header.checkpoint))
        tell_policy(link, opened.header.policy, life.decisions, (point, files_of(predicate)), in_force)
    if isinstance(predicate, EvidenceRecord):
        tell_evidence(link, predicate, life, opened.logged.index)
    else:
        tellers[type(predicate)](link, predicate, life)
    _check_about(link, predicate, life)
    if opened.header is not None and not isinstance(predicate, InterruptedRun):
        _check_emulated(link, opened.header, life)


def files_of(said: Value) -> tuple[str, ...]:
    """The files that were written, or were there already, of what a policy is asked about."""
    match said:
        case Provisioning():
            return said.bootloader.file_sha256, said.app.file_sha256
        case Flash():
            return (said.image.file_sha256,)
        case Update():
            return said.image.file_sha256, *([said.radio.image.file_sha256] if said.radio else [])
        case _:
            return ()


def _provisioning(link: Link, said: Provisioning, life: Life) -> None:
    number = number_of(link)
    link.title = f"{number} Provisioned with {said.bootloader.release} and {said.app.release}: {said.run.outcome}"
    life.meet(said.bootloader)
    life.meet(said.app)
    link.tell("chip", said.chip)
    link.tell("profile", f"{said.profile} (SHA-256 {said.profile_sha256[:KEY_DIGITS]})")
    der = link.attempt(lambda: decode_base64(said.certificate_base64, "the device certificate"))
    certificate = _verify_certificate(link, der, life) if der is not None else None
    if certificate is not None:
        _check_identity(link, said, certificate)
        _check_one_identity(link, certificate, life)
        life.certificate = certificate
    for item in said.measurements:
        link.tell("measured", measured_words(item))
    if said.run.outcome is Outcome.PASS:
        life.running.bootloader = said.bootloader.image_hash
        life.changed(number, said.app.image_hash)
    else:
        life.changed(number)


def _verify_certificate(link: Link, der: bytes, life: Life) -> DeviceCertificate | None:
    certificate = link.attempt(lambda: device_certificate.verify(der, life.trust))
    if certificate is not None:
        link.checked(f"device certificate of {certificate.serial}, chip {certificate.chip.hex()}", certificate.issuer)
    return certificate


def _check_identity(link: Link, said: Provisioning, certificate: DeviceCertificate) -> None:
    agreeing = (
        ("serial number", said.serial, certificate.serial),
        ("chip", said.chip, certificate.chip.hex()),
        ("device key", said.device_key, certificate.public_key.hex()),
        ("issuer", said.issuer_keyid, certificate.issuer.keyid),
        ("certificate", said.certificate_sha256, certificate.sha256),
    )
    different = [item for item in agreeing if item[1] != item[2]]
    for name, recorded, certified in different:
        link.fault(f"the record says {name} {recorded}, the certificate {certified}")
    if not different:
        link.checked("serial number, chip, key and issuer of the record are those of the certificate")


def _check_one_identity(link: Link, certificate: DeviceCertificate, life: Life) -> None:
    before = life.certificate
    if before is not None and (before.chip, before.public_key) != (certificate.chip, certificate.public_key):
        link.fault(f"{life.serial} was given before, to chip {before.chip.hex()}: a serial number belongs to one chip")


def _flash(link: Link, said: Flash, life: Life) -> None:
    number = number_of(link)
    link.title = f"{number} Flashed {said.image.release}: {said.run.outcome}"
    life.meet(said.image)
    link.tell("read back", f"{said.read_back[:KEY_DIGITS]} ({said.how}) from slot {said.slot}")
    link.tell("sent", f"{said.bytes_sent} bytes")
    life.must_be_chip(link, said.chip)
    if said.run.outcome is not Outcome.PASS:
        life.changed(number)
        return
    link.expect(
        said.read_back == said.image.image_hash,
        "the device reads back the hash of the image",
        f"the record says PASS, and the device read back {said.read_back}",
    )
    life.changed(number, said.image.image_hash)


def _interrupted(link: Link, said: InterruptedRun, life: Life) -> None:
    number = number_of(link)
    link.title = f"{number} Run of {said.verb} without a result: {said.run.outcome}"
    link.tell("stopped", said.stopped_at)
    if said.verb in MOVING_VERBS:
        life.changed(f"{number}, which stopped half way,")


def _campaign(link: Link, said: CampaignVerdict, _life: Life) -> None:
    """About releases and no unit: that the log files it under one is told by `_check_about`."""
    link.title = f"{number_of(link)} Power-cut campaign {said.campaign.plan}: {said.result}"


def _check_about(link: Link, predicate: Value, life: Life) -> None:
    """A record names this unit; one from before it had a serial number names its chip."""
    said, chips = serials_of(predicate), chips_of(predicate)
    if life.serial not in said and (said or not chips & life.chips):
        link.fault(f"the record is about {', '.join(sorted(said or chips)) or 'nobody'}, not about {life.serial}")


def _check_emulated(link: Link, header: RunHeader, life: Life) -> None:
    if life.certificate is not None and header.emulated is not life.certificate.emulated:
        link.fault("the record and the device certificate disagree on whether the unit is emulated")
