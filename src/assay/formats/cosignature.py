# SPDX-License-Identifier: Apache-2.0
"""C2SP cosignatures (https://c2sp.org/tlog-cosignature), `cosignature/v1`: a witness says that at some time this was
the largest consistent checkpoint of a log that it had seen.

Guards: a line that bears a witness's name and key hash is its cosignature of this very checkpoint, or an error.
Leaves to others: which witnesses count, and how many (`stages.records.witnessed`).
"""

from __future__ import annotations

from assay.errors import NotVerified
from assay.formats import checkpoint, signed_note
from assay.formats.checkpoint import Checkpoint
from assay.formats.signed_note import COSIGNATURE, VerifierKey

TIME_BYTES = 8
TIME_MAX = 2**63 - 1
"""Seconds since 1970 (tlog-cosignature, "Format")."""

_HEADER = "cosignature/v1\n"
_REMEDY = "have the witness cosign the checkpoint again"


def message(text: str, time_s: int) -> bytes:
    """What a witness signs: `text` is the body of the checkpoint, `time_s` seconds since 1970."""
    return f"{_HEADER}time {time_s}\n{text}".encode()


def read_message(data: bytes) -> tuple[int, Checkpoint]:
    """Time and checkpoint in what a witness signs; `NotVerified` when it is not in its one spelling."""
    header, _, rest = data.partition(b"\n")
    when, _, body = rest.partition(b"\n")
    digits = when.removeprefix(b"time ")
    if not digits.isdigit() or len(digits) > len(str(TIME_MAX)):
        raise NotVerified("this is not the message of a cosignature", remedy=_REMEDY)
    found, time_s = checkpoint.read_text(body), int(digits)
    if header + b"\n" != _HEADER.encode() or time_s > TIME_MAX or message(found.text, time_s) != data:
        raise NotVerified("this is not the message of a cosignature", remedy=_REMEDY)
    return time_s, found


def line(key: VerifierKey, time_s: int, signature: bytes) -> str:
    """The line of a note, with its line feed: `signature` by the witness `key` over `message`."""
    return signed_note.signature_line(key, time_s.to_bytes(TIME_BYTES, "big") + signature)


def verify(note: bytes, key: VerifierKey) -> int | None:
    """When the witness `key` cosigned the checkpoint in `note`, in seconds since 1970; None when it did not.

    Of several times the last one. Raises `NotVerified` when a line says that it did, and the signature is wrong.
    """
    text, signatures = signed_note.parse(note)
    mine = [blob[4:] for name, blob in signatures if name == key.name and blob[:4] == key.key_hash]
    return max((_verify(text, blob, key) for blob in mine), default=None)


def _verify(text: str, blob: bytes, key: VerifierKey) -> int:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    time_s = int.from_bytes(blob[:TIME_BYTES], "big")
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(blob[TIME_BYTES:], message(text, time_s))
    except (InvalidSignature, ValueError) as error:
        raise NotVerified(f"the cosignature of '{key.name}' on the checkpoint is wrong", remedy=_REMEDY) from error
    if time_s > TIME_MAX:
        raise NotVerified(f"the cosignature of '{key.name}' names no time that there is", remedy=_REMEDY)
    return time_s


def witness_name(public: bytes) -> str:
    """The name of a witness of ours, which follows from its key (32 bytes), so that no two have one name."""
    return f"assay.local/witness/{VerifierKey('', public, COSIGNATURE).key_id[:8].hex()}"
