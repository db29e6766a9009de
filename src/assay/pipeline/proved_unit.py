# SPDX-License-Identifier: Apache-2.0
"""The unit on a place: that it has an identity, that it is the one that was asked for, and its own proof of both.

Guards: what a unit says of itself is enough to turn it away, never enough to go on: who goes on has fresh evidence,
signed by the key in the unit's certificate, about the same chip, serial number and board.
Leaves to others: the evidence itself (`stages.field.evidence`), what is done with the unit then.
"""

from __future__ import annotations

import secrets

from assay.errors import Refused, WrongBoard, WrongUnit
from assay.interfaces.device import DeviceInfo, Stage
from assay.interfaces.place import Found
from assay.model.identifiers import parse_serial
from assay.model.trust import TrustFile
from assay.pipeline.places import OpenPlace, describe
from assay.stages.field import evidence
from assay.stages.field.evidence import VerifiedEvidence


def parse_wanted(text: str | None) -> str | None:
    """The serial number that the user asks for, if any. Raises `UsageFault`."""
    return None if text is None else parse_serial(text)


def provisioned_app(found: Found, place: OpenPlace, wanted: str | None = None) -> DeviceInfo:
    """The app of a unit with an identity; `Refused` says what is there instead, `WrongUnit` when it is not `wanted`."""
    if not isinstance(found, DeviceInfo) or found.stage is not Stage.APP:
        raise Refused(
            f"on {place.name}: {describe(found)}; only an app answers for the unit",
            remedy="provision it (assay provision), or flash an app (assay flash)",
        )
    if found.serial is None:
        raise Refused(f"the unit on {place.name} has no identity yet", remedy="provision it: assay provision")
    parse_serial(found.serial)
    check_wanted(found.serial, place.name, wanted)
    return found


def check_wanted(serial: str | None, place_name: str, wanted: str | None) -> None:
    """Turn away a unit that says itself that it is another one than `wanted` (None: any). Raises `WrongUnit`."""
    if wanted is None or serial == wanted:
        return
    there = f"unit {serial}" if serial else "a unit without serial number"
    raise WrongUnit(
        f"on {place_name} is {there}, asked for is unit {wanted}; nothing was done to it",
        remedy=f"put unit {wanted} on {place_name}, or name the place that has it",
    )


def attest(place: OpenPlace, info: DeviceInfo, checkpoint: bytes, trust: TrustFile) -> VerifiedEvidence:
    """Fresh evidence of the unit on the place, verified; it is the unit and the board that answered before."""
    verified = evidence.ask(place.device, checkpoint, secrets.token_bytes(evidence.RANDOM_BYTES), trust)
    claims = verified.claims
    if (claims.chip, claims.serial) != (info.chip, info.serial):
        raise WrongBoard(
            f"unit {claims.serial} gives evidence, unit {info.serial} answered on {place.name}",
            remedy="leave the unit on its place, and ask again",
        )
    if (claims.board, claims.revision) != (place.board.name, place.board.revision):
        raise WrongBoard(
            f"the evidence is of a {claims.board} revision {claims.revision}, {place.name} has a {place.board.name} "
            f"revision {place.board.revision}",
            remedy="connect the right board, or correct the place in bench.toml",
        )
    return verified
