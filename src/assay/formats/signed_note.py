# SPDX-License-Identifier: Apache-2.0
"""C2SP signed notes (https://c2sp.org/signed-note) with Ed25519 signatures, and verifier keys (`vkey`).

Guards: a note is text of a known form; a signature counts only if name and key hash are those of the key, and it
verifies.
Leaves to others: what the text says (`checkpoint`), who signs (the signer process).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

from assay.errors import NotVerified

ED25519 = 0x01
"""Signature type of plain Ed25519 (signed-note, "Signature types")."""

COSIGNATURE = 0x04
"""Signature type of an Ed25519 cosignature with a time (`cosignature`)."""

NOTE_BYTES_MAX = 1024 * 1024
"""Bytes; checkpoints have some hundred."""

_MARK = "— "
_REMEDY = "get the checkpoint again from the log"


@dataclass(frozen=True)
class VerifierKey:
    """A name and an Ed25519 public key (32 bytes), for signatures of the type `kind`."""

    name: str
    public: bytes
    kind: int = ED25519

    @property
    def key_id(self) -> bytes:
        """SHA-256(name || LF || type || public key); Rekor v2 calls it the log's id."""
        return hashlib.sha256(self.name.encode("utf-8") + b"\n" + bytes([self.kind]) + self.public).digest()

    @property
    def key_hash(self) -> bytes:
        """The first 4 bytes of the key id."""
        return self.key_id[:4]

    def __str__(self) -> str:
        """The `vkey`: name+hash+key."""
        encoded = base64.b64encode(bytes([self.kind]) + self.public).decode("ascii")
        return f"{self.name}+{self.key_hash.hex()}+{encoded}"


def parse_vkey(text: str, kind: int = ED25519) -> VerifierKey:
    """The key in a `vkey` line; `NotVerified` when it is malformed, not of the type `kind`, or its hash is not its
    own.
    """
    try:
        name, key_hash, encoded = text.split("+", 2)
        data = base64.b64decode(encoded, validate=True)
        key = VerifierKey(name, data[1:], kind)
        good = is_name(name) and data[:1] == bytes([kind]) and len(data) == 33 and key.key_hash.hex() == key_hash
    except (ValueError, binascii.Error) as error:
        raise NotVerified(f"{text[:40]!r} is not a vkey", remedy="copy the whole line") from error
    if not good:
        what = "the Ed25519 vkey of a witness" if kind == COSIGNATURE else "an Ed25519 vkey"
        raise NotVerified(f"{text[:40]!r} is not {what} with its own hash", remedy="copy the whole line")
    return key


def is_name(name: str) -> bool:
    """Whether `name` can name a key: not empty, no white space, no plus."""
    return bool(name) and "+" not in name and not any(character.isspace() for character in name)


def write(text: str, name: str, public: bytes, signature: bytes) -> bytes:
    """The note of `text` (ends with a line feed) with one signature over its UTF-8 bytes."""
    return f"{text}\n{signature_line(VerifierKey(name, public), signature)}".encode()


def signature_line(key: VerifierKey, signature: bytes) -> str:
    """The line of a note, with its line feed, that says that `key` made `signature`."""
    return line_of(key.name, key.key_hash + signature)


def line_of(name: str, blob: bytes) -> str:
    """The line of a note, with its line feed, for a name and key hash || signature, as `parse` gives them."""
    return f"{_MARK}{name} {base64.b64encode(blob).decode('ascii')}\n"


def verify(note: bytes, key: VerifierKey) -> str:
    """The text of `note`, which `key` signed; `NotVerified` otherwise. Signatures of others are passed over."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    text, signatures = parse(note)
    mine = [signature for name, signature in signatures if name == key.name and signature[:4] == key.key_hash]
    if len(mine) != 1:
        raise NotVerified(f"the checkpoint is not signed by the log key '{key.name}'", remedy=_REMEDY)
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(mine[0][4:], text.encode("utf-8"))
    except (InvalidSignature, ValueError) as error:
        raise NotVerified(
            f"the signature of the log key '{key.name}' on the checkpoint is wrong", remedy=_REMEDY
        ) from error
    return text


def parse(note: bytes) -> tuple[str, list[tuple[str, bytes]]]:
    """Text, and (name, key hash || signature) of each signature line. Says nothing about who signed."""
    try:
        whole = note.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotVerified("the checkpoint is not UTF-8", remedy=_REMEDY) from error
    split = whole.rfind("\n\n")
    lines = whole[split + 2 :].split("\n")
    if len(note) > NOTE_BYTES_MAX or split < 0 or lines[-1] != "" or len(lines) < 2 or not _printable(whole):
        raise NotVerified("the checkpoint is not a signed note", remedy=_REMEDY)
    return whole[: split + 1], [_signature(line) for line in lines[:-1]]


def _signature(line: str) -> tuple[str, bytes]:
    name, _, encoded = line.removeprefix(_MARK).partition(" ")
    try:
        blob = base64.b64decode(encoded.encode("ascii"), validate=True)
    except (ValueError, binascii.Error) as error:
        raise NotVerified("a signature line of the checkpoint is malformed", remedy=_REMEDY) from error
    if not line.startswith(_MARK) or not is_name(name) or len(blob) < 5 or base64.b64encode(blob).decode() != encoded:
        raise NotVerified("a signature line of the checkpoint is malformed", remedy=_REMEDY)
    return name, blob


def _printable(text: str) -> bool:
    return all(character == "\n" or ord(character) >= 0x20 for character in text)
