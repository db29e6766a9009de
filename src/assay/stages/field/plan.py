# SPDX-License-Identifier: Apache-2.0
"""The plan of an update: from what a unit proved that it runs, and a release, to ordered steps. Pure.

Guards: everything that can be refused is refused here, before the first byte is sent; the same inputs give the same
plan, byte for byte. Leaves to others: carrying it out (`execute`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

from assay.errors import Refused, WrongBoard
from assay.formats import canonical_json
from assay.model.artifact import Release
from assay.model.compatibility import satisfies
from assay.model.contract import Dependency
from assay.model.identifiers import Version
from assay.model.plan import Plan, PlanPatch, PlanRadio, PlanStep, UnitState, UpdateRules
from assay.stages.field import radio as radios

BITS_PER_BYTE_ON_LINE = 10 * 4 / 3 * 1.03
"""8N1, base64, and the frames around it (measured: console framing reaches at most 73 % of the line)."""
SWAP_TIMEOUT_S = 60.0
"""Seconds from reset to answer: a swap of 384 KiB in sectors of 4 KiB at 45 ms each way (typical NOR flash)."""
UPLOAD_TIMEOUT_FACTOR = 4.0
UPLOAD_TIMEOUT_MIN_S = 30.0
ANSWER_TIMEOUT_S = 10.0
UPLOADED = "the secondary slot has this hash, recomputed by the unit"


def plan_update(
    unit: UnitState,
    release: Release,
    rules: UpdateRules,
    *,
    baud: int,
    patch_room: int = 0,
    radio: Release | None = None,
) -> Plan:
    """The steps from `unit` to `release`; none when it runs it already. `baud` in bit/s stretches time-outs;
    `patch_room` is how many bytes a patch may have for the unit's board. `radio` goes in with it, and whole: a patch
    would start the app alone.

    Raises `WrongBoard` or `Refused` with the one reason why not.
    """
    _check_board(unit, release)
    _check_rules(unit, release, rules, radio)
    image_hash, second = release.image.image_hash, radios.planned(radio)
    patch = None if rules.full or radio else choose_patch(unit, release, patch_room)
    return Plan(
        unit=unit,
        release=release.reference,
        file_sha256=release.image.file_sha256,
        image_hash=image_hash,
        size=release.image.size,
        policy=rules.policy,
        patch=patch,
        radio=second,
        steps=(
            *_patch_steps(patch, image_hash, baud),
            *_steps(unit, image_hash, release.image.size, second, rules, baud),
        ),
    )


def choose_patch(unit: UnitState, release: Release, room: int) -> PlanPatch | None:
    """The patch that is made for what the unit proved that it runs, if its board has room for it."""
    for patch in release.patches:
        if patch.base_hash == unit.image_hash and patch.size <= min(room, release.image.size - 1):
            return PlanPatch(
                base=patch.base, file_sha256=patch.file_sha256, image_hash=patch.image_hash, size=patch.size
            )
    return None


def digest(plan: Plan) -> str:
    """SHA-256 of the plan's RFC 8785 form, hex: its name."""
    return canonical_json.digest_of(plan)


def upload_estimate_s(size: int, baud: int) -> float:
    """Seconds that `size` bytes take on a line of `baud` bit/s; for people."""
    return size * BITS_PER_BYTE_ON_LINE / baud


def _patch_steps(patch: PlanPatch | None, image_hash: str, baud: int) -> tuple[PlanStep, ...]:
    """What is tried first. What the steps of the whole image find done afterwards, they leave alone."""
    if patch is None:
        return ()
    upload = PlanStep(
        action="upload-patch",
        image_hash=patch.image_hash,
        timeout_s=upload_timeout_s(patch.size, baud),
        after="the secondary slot has the patch, or the unit does not take it",
    )
    after = "the unit made the image out of the one that it runs and the patch, and runs it; or it refused the patch"
    return (upload, PlanStep(action="apply-patch", image_hash=image_hash, timeout_s=SWAP_TIMEOUT_S, after=after))


def upload_timeout_s(size: int, baud: int) -> float:
    """Seconds after which an upload of `size` bytes is given up."""
    return max(UPLOAD_TIMEOUT_MIN_S, round(upload_estimate_s(size, baud) * UPLOAD_TIMEOUT_FACTOR))


def _steps(
    unit: UnitState, image_hash: str, size: int, radio: PlanRadio | None, rules: UpdateRules, baud: int
) -> tuple[PlanStep, ...]:
    there, radio_there = unit.image_hash == image_hash, radio is None or unit.radio_hash == radio.image_hash
    if there and radio_there:
        rows = () if unit.state == "confirmed" else _rows_of_start(rules)[2:]
    else:
        sent = () if there else (("upload", upload_timeout_s(size, baud), UPLOADED),)
        rows = (*sent, *_rows_of_start(rules))
    steps = tuple(
        PlanStep.model_validate({"action": action, "image_hash": image_hash, "timeout_s": timeout_s, "after": after})
        for action, timeout_s, after in rows
    )
    return (*_radio_steps(None if radio_there else radio, baud), *steps)


def _radio_steps(radio: PlanRadio | None, baud: int) -> tuple[PlanStep, ...]:
    if radio is None:
        return ()
    after = "the radio's secondary slot has this hash, recomputed by the unit"
    timeout_s = upload_timeout_s(radio.size, baud)
    return (PlanStep(action="upload-radio", image_hash=radio.image_hash, timeout_s=timeout_s, after=after),)


def _rows_of_start(rules: UpdateRules) -> tuple[tuple[str, float, str], ...]:
    """From what was sent to what is kept."""
    health_s = rules.health_timeout_s
    return (
        ("mark-for-test", ANSWER_TIMEOUT_S, "the bootloader will start it once"),
        ("reset", SWAP_TIMEOUT_S, "an app answers"),
        ("health-check", health_s, "the unit runs this hash under test, and its self-test passes"),
        ("confirm", ANSWER_TIMEOUT_S, "the unit keeps this hash over resets"),
    )


def _check_board(unit: UnitState, release: Release) -> None:
    if release.board != unit.board or release.min_revision > unit.revision:
        raise WrongBoard(
            f"{release.reference} is for {release.board} from revision {release.min_revision} on, "
            f"unit {unit.serial} is a {unit.board} revision {unit.revision}",
            remedy="update with a release for this board",
        )
    contract = release.artifact.contract
    last = contract.max_revision if contract is not None else None
    if last is not None and unit.revision > last:
        text = (
            f"{release.reference} is for {release.board} up to revision {last}, unit {unit.serial} is {unit.revision}"
        )
        raise WrongBoard(text, remedy="update with a release for this board")


def _check_rules(unit: UnitState, release: Release, rules: UpdateRules, radio: Release | None) -> None:
    reference = release.reference
    if release.kind == "radio":
        _refuse(
            f"{reference} is the second image of its board: it goes with the app, not alone",
            f"name the app's release, and --radio {reference}",
        )
    if release.kind != "app" or release.name != unit.name:
        _refuse(
            f"unit {unit.serial} runs {unit.name}, {reference} is another module ({release.kind})",
            f"name a release of {unit.name}",
        )
    if rules.policy == "none":
        _refuse(
            f"{reference} is not updated in the field (policy none in its module.toml)", "use assay flash at a bench"
        )
    foreign_radio = radio is not None and unit.radio_hash != radio.image.image_hash
    if unit.state == "testing" and (unit.image_hash != release.image.image_hash or foreign_radio):
        _refuse(
            f"unit {unit.serial} is testing {unit.name} {unit.version} from an earlier update",
            "reset the unit: it goes back to its confirmed version; then update",
        )
    if release.security_counter < unit.security_counter:
        _refuse(
            f"{reference} has security counter {release.security_counter}, unit {unit.serial} has "
            f"{unit.security_counter}: it would bring back what a security update closed",
            "release the older code again with a higher security counter",
        )
    if unit.image_hash != release.image.image_hash:
        _check_newer(unit, release, rules)
    there = dict(unit.modules)
    if radio is not None:
        radios.check(unit, radio, rules)
        there |= {radio.name: radio.version, release.name: release.version}
        for dependency in radio.artifact.dependencies:
            _check_dependency(unit, there, radio.reference, dependency)
    for dependency in rules.dependencies:
        _check_dependency(unit, there, reference, dependency)


def _check_newer(unit: UnitState, release: Release, rules: UpdateRules) -> None:
    oldest = rules.min_from_version
    if oldest is not None and Version(unit.version) < Version(oldest):
        _refuse(
            f"{release.reference} takes over from {oldest} and later, unit {unit.serial} runs {unit.version}",
            f"update to a release between the two first: {oldest} or later",
        )
    if Version(release.version) > Version(unit.version) or rules.allow_older_version:
        return
    same = release.version == unit.version
    _refuse(
        f"unit {unit.serial} runs {unit.name} {unit.version}, {release.reference} is "
        + ("the same version with another image" if same else "older"),
        "update to a newer version, or say --unsafe-allow-older-version REASON",
    )


def _check_dependency(unit: UnitState, modules: Mapping[str, str], reference: str, dependency: Dependency) -> None:
    """`modules`: what is on the unit and what goes in together, by name."""
    there = modules.get(dependency.name)
    if there is None:
        _refuse(
            f"{reference} needs {dependency.name} {dependency.version}, which unit {unit.serial} is not known to have",
            "publish that module's release in this site's store, so that its image is recognized; a radio goes in "
            "together with the app: --radio",
        )
    if not satisfies(there, dependency.version):
        _refuse(
            f"{reference} needs {dependency.name} {dependency.version}, unit {unit.serial} has {there}",
            f"bring {dependency.name} to that version first; a radio goes in together with the app: --radio",
        )


def _refuse(what: str, remedy: str) -> NoReturn:
    raise Refused(what, remedy=remedy)
