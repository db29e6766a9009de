# SPDX-License-Identifier: Apache-2.0
"""The body of `add-checkpoint` (https://c2sp.org/tlog-witness): old size, consistency proof, checkpoint.

Guards: a request is read in its one spelling, with at most `PROOF_HASHES_MAX` hashes. Leaves to others: whether the
proof proves anything (`merkle`), and who signed the checkpoint (`checkpoint`).
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from assay.errors import NotVerified
from assay.formats import merkle

PROOF_HASHES_MAX = 63
REQUEST_BYTES_MAX = 64 * 1024
"""Bytes: 63 hashes of 45 characters, and a note with some signatures."""

_OLD = re.compile(rb"old (0|[1-9][0-9]{0,15})")
_REMEDY = "send what c2sp.org/tlog-witness says"


@dataclass(frozen=True)
class WitnessRequest:
    """A checkpoint in a signed note, and the proof that it continues the log of `old` entries."""

    old: int
    proof: tuple[bytes, ...]
    note: bytes


def encode(request: WitnessRequest) -> bytes:
    """The body."""
    lines = [f"old {request.old}", *(base64.b64encode(value).decode("ascii") for value in request.proof), "", ""]
    return "\n".join(lines).encode("ascii") + request.note


def decode(body: bytes) -> WitnessRequest:
    """The request in `body`; `NotVerified` when it is none."""
    head, blank, note = body.partition(b"\n\n")
    first, *rest = head.split(b"\n")
    old = _OLD.fullmatch(first)
    if old is None or not blank or len(rest) > PROOF_HASHES_MAX or len(body) > REQUEST_BYTES_MAX:
        raise NotVerified("the request has no old size, proof and checkpoint", remedy=_REMEDY)
    request = WitnessRequest(int(old[1]), tuple(map(_hash, rest)), note)
    if encode(request) != body:
        raise NotVerified("the request is malformed", remedy=_REMEDY)
    return request


def _hash(line: bytes) -> bytes:
    try:
        value = base64.b64decode(line, validate=True)
    except (ValueError, binascii.Error) as error:
        raise NotVerified("a hash of the proof is not standard base64", remedy=_REMEDY) from error
    if len(value) != merkle.HASH_BYTES:
        raise NotVerified(f"a hash of the proof has {len(value)} bytes", remedy=_REMEDY)
    return value
