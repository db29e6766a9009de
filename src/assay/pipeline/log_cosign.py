# SPDX-License-Identifier: Apache-2.0
"""Cosignatures of witnesses on the log of a site: asked for over HTTP, or brought back on a stick.

Guards: what is kept beside the log is a checkpoint of this log with a cosignature of a witness in the policy, verified;
a larger one is never replaced by a smaller one. A witness that has seen more than the log has, or another history, is a
refusal.
Leaves to others: what is cosigned (`stages.records.witness`), what that proves (`stages.records.witnessed`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from assay.backends.durable_file import exclusive, make_folder, write_durably
from assay.backends.logs.tile_folder import COSIGNED_FOLDER, TileFolder
from assay.backends.logs.witness_client import ask_witness
from assay.errors import AssayError, InfrastructureError, NotVerified, Refused, StorageError, UsageFault
from assay.formats import checkpoint, cosignature, signed_note, witness_request
from assay.formats.signed_note import COSIGNATURE, VerifierKey
from assay.formats.visible_text import visible
from assay.formats.witness_request import WitnessRequest
from assay.model.witness import CONFLICT, OK, SIZE_TYPE, Witness, WitnessPolicy, WitnessReply
from assay.stages.records.witness import WitnessDesk

TEXT_SHOWN_MAX = 300
"""Characters of a witness's words that a message repeats."""

_SIZE_DIGITS_MAX = 16
_COMPARE = "compare with a copy of the log from before: `assay log verify --checkpoint FILE`"


@dataclass(frozen=True)
class Cosigned:
    """What became of one witness: the size that it cosigned and when (seconds since 1970), or why it did not."""

    name: str
    size: int | None = None
    time_s: int | None = None
    error: AssayError | None = None


def cosign(log: TileFolder, vkey: str, policy: WitnessPolicy, sticks: Sequence[Path]) -> list[Cosigned]:
    """Have the newest checkpoint of `log`, whose key is `vkey`, cosigned by each witness of the policy: by what lies in
    `sticks` (copies of the log that came back from witnesses), else by its address. One that fails does not keep the
    others from it.
    """
    own = signed_note.parse_vkey(vkey)
    return [_cosign(log, own, witness, sticks) for witness in policy.witnesses]


def cosign_folder(desk: WitnessDesk, folder: Path) -> Cosigned:
    """As a witness, without a network: cosign the checkpoint of the log in `folder`, and leave the cosignature there.

    Raises `NotVerified` for a log that does not continue what was cosigned, `StorageError`.
    """
    log = TileFolder(folder)
    note = log.note()
    head = checkpoint.read(note)
    last = desk.last(head.origin)
    old = last.size if last is not None else 0
    if old > head.size:
        raise NotVerified(f"the log has {head.size} entries, {old} were cosigned: it was set back", remedy=_COMPARE)
    proof = tuple(log.consistency_proof(old, head.size)) if old else ()
    reply = desk.add_checkpoint(witness_request.encode(WitnessRequest(old, proof, note)))
    if reply.status != OK:
        raise NotVerified(f"not cosigned: {_text(reply)}", remedy=_COMPARE)
    return _keep(log, note + reply.body, desk.key)


def _cosign(log: TileFolder, own: VerifierKey, witness: Witness, sticks: Sequence[Path]) -> Cosigned:
    key = signed_note.parse_vkey(witness.vkey, COSIGNATURE)
    try:
        brought = [note for stick in sticks if (note := _brought(stick, key)) is not None]
        for note in brought:
            checkpoint.verify(note, own)
        if brought:
            return max((_keep(log, note, key) for note in brought), key=lambda each: each.size or 0)
        if witness.url is None:
            text = f"the witness '{key.name}' has no url, and nothing of it was brought"
            raise UsageFault(
                text, remedy="take a copy of log/ to it (`assay log witness FOLDER`), and give --from FOLDER"
            )
        return _keep(log, _asked(log, key, witness.url), key)
    except AssayError as error:
        return Cosigned(key.name, error=error)


def _brought(stick: Path, key: VerifierKey) -> bytes | None:
    return TileFolder(stick).cosigned().get(_name(key))


def _asked(log: TileFolder, key: VerifierKey, url: str) -> bytes:
    """The newest checkpoint with the cosignature that the witness at `url` answers with."""
    note, kept = log.note(), log.cosigned().get(_name(key))
    size = checkpoint.read(note).size
    old = checkpoint.read(kept).size if kept is not None else 0
    reply = ask_witness(url, _request(log, note, min(old, size)))
    seen = _seen_size(reply)
    if seen is not None:
        if seen > size:
            text = (
                f"the witness '{key.name}' has cosigned {seen} entries of this log, which has {size}: it was set back"
            )
            raise Refused(text, remedy=_COMPARE)
        reply = ask_witness(url, _request(log, note, seen))
    if reply.status == OK:
        return note + reply.body
    text = f"the witness '{key.name}' does not cosign (HTTP {reply.status}): {_text(reply)}"
    if 400 <= reply.status < 500:
        raise Refused(text, remedy=_COMPARE)
    raise InfrastructureError(text, remedy="ask who runs it")


def _request(log: TileFolder, note: bytes, old: int) -> bytes:
    size = checkpoint.read(note).size
    proof = tuple(log.consistency_proof(old, size)) if old else ()
    return witness_request.encode(WitnessRequest(old, proof, note))


def _seen_size(reply: WitnessReply) -> int | None:
    """How many entries the witness has cosigned, when it answers that it was not what we thought."""
    digits = reply.body.removesuffix(b"\n")
    if (reply.status, reply.kind) != (CONFLICT, SIZE_TYPE) or not digits.isdigit() or len(digits) > _SIZE_DIGITS_MAX:
        return None
    return int(digits)


def _keep(log: TileFolder, note: bytes, key: VerifierKey) -> Cosigned:
    """Keep what `key` cosigned of `note`, if it is a checkpoint of `log`; nothing else of it."""
    own = checkpoint.read(log.note())
    text, signatures = signed_note.parse(note)
    found, time_s = checkpoint.read(note), cosignature.verify(note, key)
    if time_s is None:
        raise NotVerified(f"the witness '{key.name}' has not cosigned this checkpoint", remedy="ask it again")
    if found.origin != own.origin or found.size > own.size or log.root(found.size) != found.root:
        raise NotVerified(f"what '{key.name}' cosigned is not of this log's past", remedy=_COMPARE)
    wanted = [pair for pair in signatures if pair[0] in (own.origin, key.name)]
    lines = "".join(signed_note.line_of(name, blob) for name, blob in wanted)
    _write(log, _name(key), f"{text}\n{lines}".encode(), found.size)
    return Cosigned(key.name, found.size, time_s)


def _write(log: TileFolder, name: str, note: bytes, size: int) -> None:
    folder = log.folder / COSIGNED_FOLDER
    log.cosigned()  # not through a link that somebody left on the stick
    try:
        make_folder(folder)
        with exclusive(folder):
            kept = log.cosigned().get(name)
            if kept is None or checkpoint.read(kept).size <= size:
                write_durably(folder / name, note)
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error.strerror}", remedy="make it writable") from error


def _name(key: VerifierKey) -> str:
    return f"{key.key_hash.hex()}.note"


def _text(reply: WitnessReply) -> str:
    return visible(reply.body.decode("utf-8", "replace").strip())[:TEXT_SHOWN_MAX]
