# SPDX-License-Identifier: Apache-2.0
"""Updates and evidence of a unit: what was planned, what the device said, what it proved that it runs.

Guards: an update that passed left the unit on the new image and one that failed on the old one; evidence is verified
again, from the record and the trust file alone, and has to say what the records before it left the unit running.
Leaves to others: evidence itself (`stages.field.evidence`), whether the record is genuine (`trace_record`).
"""

from __future__ import annotations

from assay.formats import canonical_json
from assay.model.outcome import Outcome
from assay.model.plan import Plan
from assay.model.predicates import EvidenceRecord, RadioReport, Update, UpdateWay
from assay.model.trace import Mark
from assay.pipeline.trace_life import Life, number_of
from assay.pipeline.trace_link import KEY_DIGITS, Link
from assay.pipeline.trace_quote import NO_CERTIFICATE, check_quote
from assay.stages.field.evidence import verify_evidence

WAYS: dict[UpdateWay, str] = {
    "none": "nothing",
    "patch": "a patch",
    "full": "the whole image",
    "patch-then-full": "the whole image, since the unit did not take the patch",
}


def tell_update(link: Link, said: Update, life: Life) -> None:
    """Check on `link` what an update says, and what it left the unit running."""
    number = number_of(link)
    life.meet(said.image)
    before = life.running.name(said.before.image_hash)
    link.title = f"{number} Update from {before} to {said.image.release}: {said.run.outcome}"
    if said.device_reason:
        link.tell("device said", said.device_reason)
    if said.older_allowed is not None:
        link.mark(Mark.OLDER)
        link.tell("OLDER", f"somebody let it go to an older version: {said.older_allowed}")
    life.running.must_run(link, said.before.image_hash, "before it the unit ran")
    _check_plan(link, said)
    if said.radio is not None:
        life.meet(said.radio.image)
        _tell_radio(link, said, said.radio, life)
    if said.way is not None:
        link.tell("travelled", f"{WAYS[said.way]}, {said.bytes_sent} bytes")
    for step in said.steps:
        tries = f" after {step.attempts} attempts" if step.attempts > 1 else ""
        link.tell("step", f"{step.name}: {step.outcome}{tries}" + (f", {step.detail}" if step.detail else ""))
    if said.after is None:
        link.tell("afterwards", "the unit was not asked, did not answer, or proved nothing")
        life.changed(number, said.before.image_hash, said.image.image_hash)
        return
    after = said.after.image_hash
    link.tell("afterwards", f"{life.running.name(after)}, {said.after.state_text} ({said.after.how})")
    _check_result(link, said, after)
    if said.after_evidence is not None:
        check_quote(link, said.after_evidence, said.after, said.run.checkpoint, life, "afterwards")
    life.changed(number, after, proved=said.after_evidence is not None)


def _check_plan(link: Link, said: Update) -> None:
    plan = said.plan
    agreeing = (
        canonical_json.digest_of(plan) == said.plan_sha256,
        plan.unit.serial == said.serial,
        plan.unit.image_hash == said.before.image_hash,
        (plan.release, plan.file_sha256, plan.image_hash)
        == (said.image.release, said.image.file_sha256, said.image.image_hash),
        _planned_radio(plan) == _recorded_radio(said.radio),
    )
    link.expect(
        all(agreeing),
        f"the plan {said.plan_sha256[:KEY_DIGITS]} has its digest, and is about this unit, image and start",
        "the plan does not have the recorded digest, or is about another unit, image or start",
    )


def _planned_radio(plan: Plan) -> tuple[str | None, ...]:
    if plan.radio is None:
        return ()
    return (plan.radio.release, plan.radio.file_sha256, plan.radio.image_hash, plan.unit.radio_hash)


def _recorded_radio(radio: RadioReport | None) -> tuple[str | None, ...]:
    if radio is None:
        return ()
    return (radio.image.release, radio.image.file_sha256, radio.image.image_hash, radio.before)


def _tell_radio(link: Link, said: Update, radio: RadioReport, life: Life) -> None:
    """PASS leaves the new radio and FAIL the one before, as of the app: never one of each."""
    after = life.running.name(radio.after) if radio.after else "no image, or no answer"
    link.tell("radio", f"with it {radio.image.release}; afterwards {after} ({radio.how})")
    expected = {Outcome.PASS: radio.image.image_hash, Outcome.FAIL: radio.before}
    outcome = said.run.outcome
    link.expect(
        outcome not in expected or radio.after == expected[outcome],
        f"after {outcome} the radio was the {'new' if outcome is Outcome.PASS else 'old'} one, as the app",
        f"the record says {outcome}, and the radio is not the one that goes with it",
    )


def _check_result(link: Link, said: Update, after: str) -> None:
    """PASS ends on the new image, FAIL on the one before; of the other outcomes nothing is known."""
    expected = {Outcome.PASS: said.image.image_hash, Outcome.FAIL: said.before.image_hash}.get(said.run.outcome)
    link.expect(
        expected in (after, None),
        f"after {said.run.outcome} the unit ran the {'new' if said.run.outcome is Outcome.PASS else 'old'} image",
        f"the record says {said.run.outcome}, and the unit ran {after[:KEY_DIGITS]} afterwards",
    )


def tell_evidence(link: Link, said: EvidenceRecord, life: Life, index: int | None) -> None:
    """Check on `link` what a unit proved that it runs, and remember it as the newest evidence."""
    number = number_of(link)
    link.title = f"{number} Evidence: {said.run.outcome}"
    if life.certificate is None:
        link.fault(NO_CERTIFICATE)
        return
    der = life.certificate.der
    verified = link.attempt(lambda: verify_evidence(said, der, life.trust))
    if verified is None:
        return
    link.take(verified.checks)
    life.must_be_fresh(link, said.nonce_hex)
    claims, image = verified.claims, verified.claims.image_hash.hex()
    link.title = f"{number} Evidence: the unit proves that it runs {life.running.name(image)}"
    link.tell("runs", f"{claims.name} {claims.version}, {verified.report.state_text}, hash {image[:KEY_DIGITS]}")
    link.tell("reverted", "yes, in this boot" if claims.reverted else "no")
    life.running.must_run(link, image, "the unit proves that it runs")
    life.running.must_boot_with(link, claims.bootloader_hash.hex())
    life.evidence, life.changed_after_evidence = (index, said), []
    life.running.now(number, image)
