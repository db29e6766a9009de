# SPDX-License-Identifier: Apache-2.0
"""MCUboot images of somebody else: any that imgtool makes, read for what a host can tell, and verified as far.

Guards: sizes add up to the last byte; hash and signature are recomputed where they can be; a wrong one is `NotVerified`
and never a matter of policy. What cannot be checked here (no signature, a key that nobody named, a payload that only
the device can decrypt) is said in `Signature` and in the checks.
Leaves to others: images of this project, which are read strictly (`mcuboot_image`), and whether one that is not
verified may be used (`pipeline.foreign_images`).

Format: docs.mcuboot.com/design.html, "Image format"; numbers of TLVs as in MCUboot's `bootutil/image.h`.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import NoReturn

from assay.errors import NotVerified
from assay.formats.image_key import DIGEST_BY_LENGTH, ParsedKey, parse_image_key, signature_is_good
from assay.formats.mcuboot_tlv import INFO, entries
from assay.model.trust import ImageKey, TrustFile

IMAGE_BYTES_MAX = 128 * 1024 * 1024
"""Bytes; far above the flash of any microcontroller."""

_HEADER = struct.Struct("<IIHHIIBBHII")
"""Magic, load address, header size, protected TLV size, payload size, flags, version (1, 1, 2, 4 bytes), padding."""
_MAGIC = 0x96F3B83D
_MAGIC_V1 = 0x96F3B83C
_PLAIN, _PROTECTED = 0x6907, 0x6908


class Flag(IntEnum):
    """Flags of the header that matter to who flashes."""

    ENCRYPTED_AES128 = 0x04
    ENCRYPTED_AES256 = 0x08
    NON_BOOTABLE = 0x10
    RAM_LOAD = 0x20
    ROM_FIXED = 0x100


class Tlv(IntEnum):
    """TLVs that are looked at; others are of no concern here."""

    KEY_HASH = 0x01
    PUBLIC_KEY = 0x02
    SHA256 = 0x10
    SHA384 = 0x11
    SHA512 = 0x12
    RSA2048 = 0x20
    ECDSA = 0x22
    RSA3072 = 0x23
    ED25519 = 0x24
    SIGNATURE_IS_PURE = 0x25


_HASHES = (Tlv.SHA256, Tlv.SHA384, Tlv.SHA512)
_KINDS = {
    Tlv.RSA2048: ("rsa-2048",),
    Tlv.RSA3072: ("rsa-3072",),
    Tlv.ECDSA: ("ecdsa-p256", "ecdsa-p384"),
    Tlv.ED25519: ("ed25519",),
}
"""Signatures, and the kinds of key that make them."""


class Signature(StrEnum):
    """What is known of who signed an image."""

    VERIFIED = "verified"
    UNKNOWN_KEY = "unknown-key"
    NONE = "none"


@dataclass(frozen=True)
class ForeignImage:
    """What an image says of itself. `image_hash` as in its TLV: for an encrypted one that is over the plain payload."""

    version: str
    load_address: int
    flags: int
    payload_start: int
    measured: bytes
    image_hash: bytes
    tlvs: tuple[tuple[int, bytes], ...]

    @property
    def encrypted(self) -> bool:
        """The payload is readable to the device only."""
        return bool(self.flags & (Flag.ENCRYPTED_AES128 | Flag.ENCRYPTED_AES256))

    def first(self, kind: Tlv) -> bytes | None:
        """The value of the first TLV of that number."""
        return next((value for number, value in self.tlvs if number == kind), None)


@dataclass(frozen=True)
class CheckedForeignImage:
    """An image, what was verified of it, and by which key; `checks` and `cautions` in words."""

    data: bytes
    says: ForeignImage
    file_sha256: str
    signature: Signature
    key: str | None
    checks: tuple[str, ...]
    cautions: tuple[str, ...]


def parse_foreign_image(data: bytes) -> ForeignImage:
    """The image in `data`, and nothing behind it. Raises `NotVerified`."""
    if not _HEADER.size < len(data) <= IMAGE_BYTES_MAX:
        _refuse(f"it has {len(data)} bytes")
    magic, load, header_size, protected_size, size, flags, *version, _padding = _HEADER.unpack_from(data)
    if magic == _MAGIC_V1:
        _refuse("it is of MCUboot's first format, from before 2018")
    if magic != _MAGIC:
        _refuse("it does not begin as one: sign it with imgtool")
    measured_end = header_size + size + protected_size
    if header_size < _HEADER.size or size == 0 or measured_end + INFO.size > len(data):
        _refuse("its header tells other sizes than it has")
    protected = _area(data[header_size + size : measured_end], _PROTECTED) if protected_size else []
    plain = _area(data[measured_end:], _PLAIN)
    hashes = [value for number, value in plain if number in _HASHES]
    if len(hashes) != 1 or len(hashes[0]) not in DIGEST_BY_LENGTH:
        _refuse("it has no hash, or several")
    major, minor, revision, build = version
    return ForeignImage(
        version=f"{major}.{minor}.{revision}" + (f"+{build}" if build else ""),
        load_address=load,
        flags=flags,
        payload_start=header_size,
        measured=data[:measured_end],
        image_hash=hashes[0],
        tlvs=(*protected, *plain),
    )


def verify_foreign_image(data: bytes, trust: TrustFile, board: str) -> CheckedForeignImage:
    """The image in `data`, verified with the image keys that `trust` names for `board`. Raises `NotVerified` for what
    is wrong; what nobody can tell is an answer.
    """
    image = parse_foreign_image(data)
    checks, cautions = [], []
    if image.encrypted:
        cautions.append("the payload is encrypted: its hash can only be recomputed by the device, it goes as it is")
    else:
        digest = hashlib.new(DIGEST_BY_LENGTH[len(image.image_hash)], image.measured).digest()
        if digest != image.image_hash:
            raise NotVerified(
                f"the image was changed: its hash is {digest.hex()[:16]}..., it says {image.image_hash.hex()[:16]}...",
                remedy="get the image again from who made it",
            )
        checks.append(f"image hash {digest.hex()} recomputed over header, payload and protected TLVs")
    state, key = _verify_signature(image, [key for key in trust.image_keys if board in key.boards])
    if key is None:
        cautions.append(_UNPROVED[state])
    else:
        what = "the image hash, as the image claims it," if image.encrypted else "the image"
        checks.append(f"signature of {what} by the image key '{key.name}' ({parse_image_key(key.public).kind})")
    return CheckedForeignImage(
        data,
        image,
        hashlib.sha256(data).hexdigest(),
        state,
        key.name if key else None,
        tuple(checks),
        tuple(cautions),
    )


_UNPROVED = {
    Signature.NONE: "the image is not signed: anybody may have made it",
    Signature.UNKNOWN_KEY: "the image is signed by a key that the trust file does not name for this board",
}


def _verify_signature(image: ForeignImage, trusted: list[ImageKey]) -> tuple[Signature, ImageKey | None]:
    signatures = [(Tlv(number), value) for number, value in image.tlvs if number in _KINDS]
    if not signatures:
        return Signature.NONE, None
    pure = bool(image.first(Tlv.SIGNATURE_IS_PURE))
    if pure and image.encrypted:
        raise NotVerified(
            "the image is encrypted, and its signature is over the payload itself: nothing of it can be verified here",
            remedy="sign it over the hash (imgtool without --pure)",
        )
    for kind, signature in signatures:
        for key in trusted:
            parsed = parse_image_key(key.public)
            if parsed.kind not in _KINDS[kind] or not _may_be(image, parsed):
                continue
            if signature_is_good(parsed, signature, image.measured, image.image_hash, pure=pure):
                return Signature.VERIFIED, key
            if _is_named(image, parsed):
                raise NotVerified(
                    f"the signature of the image by the image key '{key.name}' is wrong",
                    remedy="get the image again from who made it",
                )
    return Signature.UNKNOWN_KEY, None


def _may_be(image: ForeignImage, key: ParsedKey) -> bool:
    return _is_named(image, key) or (image.first(Tlv.KEY_HASH) is None and image.first(Tlv.PUBLIC_KEY) is None)


def _is_named(image: ForeignImage, key: ParsedKey) -> bool:
    """The image says that this key signed it, by its hash or by the key itself."""
    key_hash = image.first(Tlv.KEY_HASH)
    return image.first(Tlv.PUBLIC_KEY) == key.encoded or (key_hash is not None and key.is_hashed_to(key_hash))


def _area(raw: bytes, magic: int) -> list[tuple[int, bytes]]:
    """The TLVs of one area that fills `raw`."""
    if len(raw) < INFO.size or INFO.unpack_from(raw)[0] != magic:
        _refuse("a TLV area is missing")
    length = INFO.unpack_from(raw)[1]
    if length < len(raw):
        _refuse("the file goes on behind it: sign it without --pad, what is there is the device's own business")
    if length > len(raw):
        _refuse("it is cut off")
    return list(entries(raw, _refuse))


def _refuse(why: str) -> NoReturn:
    raise NotVerified(f"not an MCUboot image: {why}", remedy="give the signed image, as imgtool writes it")
