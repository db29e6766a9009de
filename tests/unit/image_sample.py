# SPDX-License-Identifier: Apache-2.0
"""Signed images for tests, made by imgtool with a key of the test, and by hand where imgtool would not make them."""

from __future__ import annotations

import functools
import hashlib
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from assay.formats.public_key import trusted_key
from assay.model.trust import Role, TrustedKey, TrustFile

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
FOREIGN = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
PAYLOAD = bytes(range(256)) * 3 + b"end"
BOARD, NAME = "ast1030-evb", "demo-sensor"


def public_pem(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def image_key(key: Ed25519PrivateKey = KEY, *, development: bool = False) -> TrustedKey:
    return trusted_key(public_pem(key), Role.IMAGE, name="image", development=development)


def trust(*keys: TrustedKey, allow_development: bool = False) -> TrustFile:
    return TrustFile(schema="assay.trust/1", name="test", keys=keys, allow_development=allow_development)


@functools.cache
def by_imgtool(*extra: str, key: Ed25519PrivateKey | None = KEY) -> bytes:
    """An image of `PAYLOAD` as `imgtool sign` makes it in one pass, with a private key in a file."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "payload.bin").write_bytes(PAYLOAD)
        words = ["--header-size", "0x200", "--pad-header", "--slot-size", "0x10000", "--align", "1", *extra]
        if key is not None:
            (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            words += ["--key", "key.pem"]
        command = [sys.executable, "-m", "imgtool.main", "sign", *words, "payload.bin", "image.bin"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        return (folder / "image.bin").read_bytes()


USUAL = (
    *("--version", "1.2.3+4", "--security-counter", "7"),
    *("--custom-tlv", "0x00a0", f"0x{BOARD.encode().hex()}"),
    *("--custom-tlv", "0x00a1", "0x01000000"),
    *("--custom-tlv", "0x00a2", f"0x{NAME.encode().hex()}"),
)


def tlv(number: int, value: bytes) -> bytes:
    return struct.pack("<HH", number, len(value)) + value


PROTECTED = tlv(0x50, b"\x07\0\0\0") + tlv(0xA0, BOARD.encode()) + tlv(0xA1, b"\x01\0\0\0") + tlv(0xA2, NAME.encode())


def by_hand(
    *,
    header: bytes | None = None,
    protected: bytes = PROTECTED,
    plain: bytes | None = None,
    payload: bytes = PAYLOAD,
    tail: bytes = b"",
    key: Ed25519PrivateKey = KEY,
) -> bytes:
    """An image of parts that may be wrong; hash and signature are right for them unless `plain` replaces them."""
    area = struct.pack("<HH", 0x6908, len(protected) + 4) + protected
    fields = (0x96F3B83D, 0, 0x200, len(area), len(payload), 0, 1, 2, 3, 4, 0)
    head = (header or struct.pack("<IIHHIIBBHII", *fields)).ljust(0x200, b"\xff")
    measured = head + payload + area
    digest = hashlib.sha256(measured).digest()
    keyid = bytes.fromhex(image_key(key).keyid)
    if plain is None:
        plain = tlv(0x10, digest) + tlv(0x01, keyid) + tlv(0x24, key.sign(digest))
    return measured + struct.pack("<HH", 0x6907, len(plain) + 4) + plain + tail
