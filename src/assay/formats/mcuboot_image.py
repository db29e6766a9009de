# SPDX-License-Identifier: Apache-2.0
"""MCUboot images (docs.mcuboot.com/design.html, "Image format"), read strictly, and verified with a trust file.

Guards: an image has exactly the parts that this project writes, each once, and not a byte more: header, payload,
protected TLVs (board, lowest revision, name, security counter), hash, key hash, Ed25519 signature. A patch has three
TLVs more and a flag in its header, and is never taken for a program, nor the other way round. The hash is always
recomputed, the signature is over the hash, and the key is one that the trust file names for images. `imgtool verify`
is laxer: without a key it accepts unsigned images, and it ignores trailing bytes.
Leaves to others: whether the image fits a board (`pipeline.release_gate`), making images (`stages.signing`).
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from assay.errors import AssayError, NotVerified
from assay.formats import public_key
from assay.formats.mcuboot_tlv import INFO, entries
from assay.model.image_parameters import FLAG_NON_BOOTABLE, HEADER_SIZE, PatchBinding, Tlv
from assay.model.trust import Check, Role, TrustedKey, TrustFile

IMAGE_BYTES_MAX = 128 * 1024 * 1024
"""Bytes; far above the flash of any microcontroller."""

_HEADER = struct.Struct("<IIHHIIBBHII")
"""Magic, load address, header size, protected TLV size, payload size, flags, version (1, 1, 2, 4 bytes), padding."""

_FILLERS = ({0x00}, {0xFF})
"""What imgtool fills the header with: the value of erased flash."""

_MAGIC = 0x96F3B83D
_PLAIN_MAGIC, _PROTECTED_MAGIC = 0x6907, 0x6908
_LENGTHS = {Tlv.SHA256: 32, Tlv.KEY_HASH: 32, Tlv.ED25519: 64, Tlv.SECURITY_COUNTER: 4, Tlv.MIN_REVISION: 4}
_LENGTHS |= {Tlv.PATCH_BASE: 32, Tlv.PATCH_GIVES: 32, Tlv.PATCH_FORMAT: 4, Tlv.IMAGE_NUMBER: 4}
_PROTECTED = frozenset({Tlv.BOARD, Tlv.MIN_REVISION, Tlv.NAME, Tlv.SECURITY_COUNTER})
_PROTECTED_OF_PATCH = _PROTECTED | {Tlv.PATCH_BASE, Tlv.PATCH_GIVES, Tlv.PATCH_FORMAT}
_OPTIONAL = frozenset({Tlv.IMAGE_NUMBER})
_PLAIN = frozenset({Tlv.SHA256, Tlv.KEY_HASH, Tlv.ED25519})


@dataclass(frozen=True)
class UnverifiedImage:
    """What an image says of itself. Nothing of it is believed before `verify_image`.

    `measured` is the part that hash and signature cover; `claimed_hash`, `key_hash` and `signature` as in the TLVs;
    `patch` is there if the payload is a patch; `image_number` is 0 for the app.
    """

    version: str
    payload: bytes
    board: str
    min_revision: int
    name: str
    security_counter: int
    measured: bytes
    claimed_hash: bytes
    key_hash: bytes
    signature: bytes
    patch: PatchBinding | None = None
    image_number: int = 0


@dataclass(frozen=True)
class CheckedImage:
    """An image whose hash and signature are good: digests, what it says of itself, the key, and what was checked."""

    file_sha256: str
    image_hash: str
    key: TrustedKey
    says: UnverifiedImage
    checks: tuple[Check, ...]


def parse_image(data: bytes, *, patch: bool = False) -> UnverifiedImage:
    """The image (or the `patch`) in `data`. Raises `NotVerified` for anything that is not such an image from first to
    last byte.
    """
    if not HEADER_SIZE < len(data) <= IMAGE_BYTES_MAX:
        _refuse(f"it has {len(data)} bytes")
    magic, load, header_size, protected_size, size, flags, *version, padding = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        _refuse("it does not begin as one")
    filler = set(data[_HEADER.size : HEADER_SIZE])
    wanted_flags = FLAG_NON_BOOTABLE if patch else 0
    if (load, header_size, flags, padding) != (0, HEADER_SIZE, wanted_flags, 0) or filler not in _FILLERS:
        _refuse("its header asks for what these boards do not do")
    measured_end = HEADER_SIZE + size + protected_size
    if size == 0 or measured_end > len(data):
        _refuse("its header tells other sizes than it has")
    signed_area = data[HEADER_SIZE + size : measured_end]
    if patch:
        protected = _area(signed_area, _PROTECTED_MAGIC, _PROTECTED_OF_PATCH)
    else:
        protected = _area(signed_area, _PROTECTED_MAGIC, _PROTECTED, _OPTIONAL)
    plain = _area(data[measured_end:], _PLAIN_MAGIC, _PLAIN)
    major, minor, revision, build = version
    return UnverifiedImage(
        version=f"{major}.{minor}.{revision}" + (f"+{build}" if build else ""),
        payload=data[HEADER_SIZE : HEADER_SIZE + size],
        board=_text(protected[Tlv.BOARD]),
        min_revision=int.from_bytes(protected[Tlv.MIN_REVISION], "little"),
        name=_text(protected[Tlv.NAME]),
        security_counter=int.from_bytes(protected[Tlv.SECURITY_COUNTER], "little"),
        measured=data[:measured_end],
        claimed_hash=plain[Tlv.SHA256],
        key_hash=plain[Tlv.KEY_HASH],
        signature=plain[Tlv.ED25519],
        patch=_binding(protected) if patch else None,
        image_number=int.from_bytes(protected.get(Tlv.IMAGE_NUMBER, b""), "little"),
    )


def _binding(protected: Mapping[Tlv, bytes]) -> PatchBinding:
    number = int.from_bytes(protected[Tlv.PATCH_FORMAT], "little")
    return PatchBinding(protected[Tlv.PATCH_BASE], protected[Tlv.PATCH_GIVES], number)


def verify_image(data: bytes, trust: TrustFile, *, patch: bool = False) -> CheckedImage:
    """The image (or the `patch`) in `data`, signed by an image key of `trust`. Raises `NotVerified`, whatever is
    wrong.
    """
    try:
        return _verify(data, trust, patch)
    except AssayError:
        raise
    except Exception as error:
        text = f"the image could not be verified ({type(error).__name__})"
        raise NotVerified(text, remedy="get the image again from who made it") from error


def _verify(data: bytes, trust: TrustFile, patch: bool) -> CheckedImage:
    image = parse_image(data, patch=patch)
    digest = hashlib.sha256(image.measured).digest()
    if digest != image.claimed_hash:
        text = f"the image was changed: its hash is {digest.hex()[:16]}..., it says {image.claimed_hash.hex()[:16]}..."
        raise NotVerified(text, remedy="get the image again from who made it")
    key = _key(image, trust)
    if not public_key.signature_is_good(key, image.signature, digest):
        text = f"the signature of the image by the image key '{key.name}' is wrong"
        raise NotVerified(text, remedy="have the image signed again")
    checks = [
        Check(f"image hash {digest.hex()} recomputed over header, payload and protected TLVs"),
        Check("Ed25519 signature over the image hash", key),
    ]
    if key.development:
        checks.append(Check("the key is an UNSAFE-DEVELOPMENT key: this proves nothing outside a demonstration", key))
    return CheckedImage(hashlib.sha256(data).hexdigest(), digest.hex(), key, image, tuple(checks))


def _key(image: UnverifiedImage, trust: TrustFile) -> TrustedKey:
    keyid = image.key_hash.hex()
    if trust.is_revoked(keyid):
        text = f"the image is signed by the key {keyid[:16]}..., which is revoked in '{trust.name}'"
        raise NotVerified(text, remedy="have it signed with the image key that counts now")
    found = next((key for key in trust.keys_for(Role.IMAGE) if key.keyid == keyid), None)
    if found is None:
        text = f"the image is signed by the key {keyid[:16]}..., which '{trust.name}' does not name as an image key"
        raise NotVerified(text, remedy="use the trust file of the site that signed it, or an image of your own site")
    if found.algorithm != "ed25519":
        raise NotVerified(f"the image key '{found.name}' is no Ed25519 key", remedy="correct the trust file")
    if found.development and not trust.allow_development:
        text = f"the image is signed by the UNSAFE-DEVELOPMENT key '{found.name}', which '{trust.name}' refuses"
        raise NotVerified(
            text, remedy="sign it with a production key, or use a trust file that allows development keys"
        )
    return found


def _area(
    raw: bytes, magic: int, wanted: frozenset[Tlv], optional: frozenset[Tlv] = frozenset()
) -> Mapping[Tlv, bytes]:
    """The TLVs of one area that fills `raw`: all in `wanted`, perhaps some in `optional`, each once, and no others."""
    if len(raw) < INFO.size or INFO.unpack_from(raw) != (magic, len(raw)):
        _refuse("a TLV area is missing, or is not as long as it says")
    found: dict[Tlv, bytes] = {}
    for number, value in entries(raw, _refuse):
        if number not in wanted | optional:
            _refuse(f"TLV {number:#06x} is not known here, or in the wrong area")
        kind = Tlv(number)
        if kind in found or len(value) != _LENGTHS.get(kind, len(value)):
            _refuse(f"TLV {number:#06x} is there twice, or has {len(value)} bytes")
        found[kind] = value
    missing = ", ".join(f"{kind.name} ({kind:#06x})" for kind in sorted(wanted - found.keys()))
    if missing:
        unsigned = Tlv.ED25519 in wanted - found.keys()
        _refuse(f"it {'is not signed' if unsigned else 'is incomplete'}: TLV {missing} missing")
    return found


def _text(value: bytes) -> str:
    try:
        text = value.decode("ascii")
    except UnicodeDecodeError:
        _refuse("a name in it is no plain text")
    if not text or not text.isprintable():
        _refuse("a name in it is empty or not printable")
    return text


def _refuse(why: str) -> NoReturn:
    raise NotVerified(f"not a signed image of this project: {why}", remedy="get the image again from who made it")
