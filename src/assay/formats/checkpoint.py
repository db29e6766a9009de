# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of a log (https://c2sp.org/tlog-checkpoint): origin, size and root in a signed note.

Guards: a checkpoint is read in its one spelling, so the same tree has the same text. Leaves to others: the tree
(`merkle`).
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from assay.errors import NotVerified
from assay.formats import merkle, signed_note
from assay.formats.signed_note import VerifierKey
from assay.model.trust import TrustedLog, TrustFile

SIZE_MAX = 2**53 - 1
"""Entries; what JSON keeps exact, and far beyond any site."""


@dataclass(frozen=True)
class Checkpoint:
    """The state of a log: its name, how many entries it has, and the root over them."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode('ascii')}\n"


def read(note: bytes) -> Checkpoint:
    """The checkpoint in `note`, unverified; `NotVerified` when it is none."""
    return _of_text(signed_note.parse(note)[0])


def read_text(text: bytes) -> Checkpoint:
    """The checkpoint in `text`, which is what a note's signature is over; `NotVerified` when it is none."""
    try:
        return _of_text(text.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise NotVerified("the checkpoint is not UTF-8", remedy="get it again from the log") from error


def verify(note: bytes, key: VerifierKey) -> Checkpoint:
    """The checkpoint in `note`, signed by `key`, about the log that `key` is named after."""
    checkpoint = _of_text(signed_note.verify(note, key))
    if checkpoint.origin != key.name:
        raise NotVerified(
            f"the checkpoint is about '{checkpoint.origin}', the key is that of '{key.name}'",
            remedy="name the right log",
        )
    return checkpoint


def verify_with_trust(note: bytes, trust: TrustFile) -> tuple[Checkpoint, TrustedLog]:
    """The checkpoint in `note`, signed by a log that `trust` names; `NotVerified` otherwise."""
    origin = read(note).origin
    log = _log_of(note, origin, trust)
    if log is None:
        raise NotVerified(
            f"the log '{origin}' is not in the trust file '{trust.name}'", remedy="use the trust file of that site"
        )
    if log.development and not trust.allow_development:
        raise NotVerified(
            f"the log '{origin}' has an UNSAFE-DEVELOPMENT key, which '{trust.name}' refuses",
            remedy="give the site a production log key, or allow development keys for a demonstration",
        )
    return verify(note, signed_note.parse_vkey(log.vkey)), log


def _log_of(note: bytes, origin: str, trust: TrustFile) -> TrustedLog | None:
    """Of the logs with that name the one whose key is at the note, whatever their order: a key for production first."""
    named = sorted((log for log in trust.logs if log.origin == origin), key=lambda log: log.development)
    hashes = {blob[:4] for _, blob in signed_note.parse(note)[1]}
    first = named[0] if named else None
    return next((log for log in named if signed_note.parse_vkey(log.vkey).key_hash in hashes), first)


def _of_text(text: str) -> Checkpoint:
    lines = text.split("\n")
    try:
        origin, size, root = lines[0], int(lines[1]), base64.b64decode(lines[2].encode("ascii"), validate=True)
    except (IndexError, ValueError, binascii.Error) as error:
        raise NotVerified("the checkpoint does not have origin, size and root", remedy="get it again") from error
    checkpoint = Checkpoint(origin, size, root)
    # Extension lines are allowed by the standard, and none are known here: a text with some is not ours to vouch for.
    if checkpoint.text != text or not 0 <= size <= SIZE_MAX or len(root) != merkle.HASH_BYTES or not origin:
        raise NotVerified("the checkpoint is malformed", remedy="get it again from the log")
    return checkpoint
