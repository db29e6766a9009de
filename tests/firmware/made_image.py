# SPDX-License-Identifier: Apache-2.0
"""Small signed images with anything wrong in them, made here from the format in device.md, and their uploads.

Written from the document and not shared with the product or `imgtool`: no tool makes most of these.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from raw_smp import WRITE, RawSmp

HEADER = 0x200
IMAGE_GROUP, STATE, UPLOAD, ERASE = 1, 0, 1, 5
FRAME_B = 4096
NON_BOOTABLE = 0x10
BOARD, REVISION, NAME, BASE, GIVES, FORMAT, NUMBER = range(0xA0, 0xA7)
COUNTER, DEPENDENCY = 0x50, 0x40


@dataclass
class MadeImage:
    """An image for `board`; `more` are protected TLVs, over the usual ones; None there leaves one out."""

    board: str
    key: Path
    body: bytes = bytes(range(256)) * 8
    version: tuple[int, int, int] = (1, 1, 0)
    flags: int = 0
    more: dict[int, bytes | None] = field(default_factory=dict)

    def data(self) -> bytes:
        """The file."""
        tlvs = {BOARD: self.board.encode(), REVISION: _u32(1), NAME: b"demo-sensor", COUNTER: _u32(1), **self.more}
        protected = _tlvs(0x6908, {kind: value for kind, value in tlvs.items() if value is not None})
        head = struct.pack("<IIHHIIBBHII", 0x96F3B83D, 0, HEADER, len(protected), len(self.body), self.flags,
                           *self.version, 0, 0)  # fmt: skip
        signed = head.ljust(HEADER, b"\0") + self.body + protected
        private = serialization.load_pem_private_key(self.key.read_bytes(), None)
        assert isinstance(private, Ed25519PrivateKey)
        public = private.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        digest = hashlib.sha256(signed).digest()
        tail = {0x10: digest, 0x01: hashlib.sha256(public).digest(), 0x24: private.sign(digest)}
        return signed + _tlvs(0x6907, tail)


def patch(board: str, key: Path, base: bytes, form: int = 1) -> bytes:
    """A patch from the image with hash `base` to nobody's, in a format `form`; what is in it is no patch."""
    more: dict[int, bytes | None] = {BASE: base, GIVES: bytes(32), FORMAT: _u32(form)}
    return MadeImage(board, key, flags=NON_BOOTABLE, more=more).data()


def sized(board: str, key: Path, size: int) -> bytes:
    """An image of exactly `size` bytes."""
    spare = len(MadeImage(board, key, body=b"").data())
    image = MadeImage(board, key, body=bytes(size - spare)).data()
    assert len(image) == size
    return image


def upload(device: RawSmp, image: bytes, number: int = 0, length: int | None = None) -> int:
    """Sends `image`, one frame at a time; answers the offset that the device names last. Raises SmpError."""
    first = {"image": number, "len": len(image) if length is None else length, "sha": hashlib.sha256(image).digest()}
    answer = device.ask(WRITE, IMAGE_GROUP, UPLOAD, {"off": 0, "data": b"", **first})
    while (reached := answer["off"]) < len(image):
        body = {"off": reached, "data": image[reached : reached + FRAME_B], **(first if reached == 0 else {})}
        answer = device.ask(WRITE, IMAGE_GROUP, UPLOAD, body)
    return int(reached)


def ask_for(device: RawSmp, image: bytes) -> None:
    """Asks for a test of what was uploaded."""
    device.ask(WRITE, IMAGE_GROUP, STATE, {"hash": hash_of(image), "confirm": False})


def hash_of(image: bytes) -> bytes:
    """SHA-256 over header, body and protected TLVs."""
    header, protected, body = struct.unpack_from("<HHI", image, 8)
    return hashlib.sha256(image[: header + body + protected]).digest()


def _tlvs(magic: int, entries: dict[int, bytes]) -> bytes:
    packed = b"".join(struct.pack("<HH", kind, len(value)) + value for kind, value in entries.items())
    return struct.pack("<HH", magic, 4 + len(packed)) + packed


def _u32(value: int) -> bytes:
    return struct.pack("<I", value)
