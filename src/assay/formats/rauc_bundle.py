# SPDX-License-Identifier: Apache-2.0
"""RAUC bundles of the format `verity` (rauc.readthedocs.io, "Bundle Formats"), with one slot image each.

A bundle is a squashfs, the hash tree over its blocks (dm-verity, hash version 1, SHA-256, no superblock), a CMS message
that holds the manifest and its signature, and the length of that message in 8 bytes. The manifest names the root of the
tree, so that what a unit reads of the squashfs is checked block by block while it is used.

Guards: the same image gives the same squashfs, tree and manifest; only the signature (ECDSA) differs. Leaves to
others: the squashfs (`backends.builders`), the key (`formats.delegated_key`), and verifying a bundle, which its unit
does with its own keyring before it writes anything.
"""

from __future__ import annotations

import hashlib
import re
import struct
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509.oid import NameOID

from assay.errors import NotVerified, UsageFault
from assay.formats import der, public_key
from assay.formats.delegated_key import DelegatedP256, Sign
from assay.model.trust import TrustedKey

BLOCK = 4096
SLOT_CLASS = "rootfs"
IMAGE_FILE = "rootfs.img"
"""RAUC chooses by the ending how an image is written; `.img` to a slot of type `raw` is copied as it is."""
RAUC_UNIT = "assay RAUC bundles"
"""In the names of the certificate: by it the signer process knows what it signs."""
MESSAGE_BYTES_MAX = 64 * 1024
_TREE = re.compile(rb"\nverity-hash=([0-9a-f]{64})\nverity-salt=([0-9a-f]{64})\nverity-size=(\d{1,12})\n")
NO_EXPIRY = datetime(9999, 12, 31, 23, 59, 59)  # noqa: DTZ001  # X.509 has no other; the unit's keyring ends it


@dataclass(frozen=True)
class BundleFacts:
    """What a bundle says: for which boards, which version, and the image in it (SHA-256 hex, size in bytes)."""

    compatible: str
    version: str
    image_sha256: str
    image_size: int


def verity_tree(data: bytes, salt: bytes) -> tuple[bytes, str]:
    """The hash tree over `data` (whole blocks), top level first, and its root (hex)."""
    if not data or len(data) % BLOCK:
        raise UsageFault("a squashfs that is no whole blocks", remedy="make it with padding")
    levels: list[bytes] = []
    while True:
        hashes = [hashlib.sha256(salt + data[at : at + BLOCK]).digest() for at in range(0, len(data), BLOCK)]
        if len(hashes) == 1:
            return b"".join(reversed(levels)), hashes[0].hex()
        packed = b"".join(hashes)
        data = packed + b"\0" * (-len(packed) % BLOCK)
        levels.append(data)


def assemble(squashfs: bytes, facts: BundleFacts, certificate: bytes, key: TrustedKey, sign: Sign) -> bytes:
    """The signed bundle; `certificate` (DER) is of `key`, and `sign` signs with it."""
    padded = squashfs + b"\0" * (-len(squashfs) % BLOCK)
    salt = hashlib.sha256(facts.image_sha256.encode()).digest()
    tree, root = verity_tree(padded, salt)
    manifest = _manifest(facts, root, salt, len(tree))
    public, _ = public_key.parse_public_key(key.public)
    assert isinstance(public, ec.EllipticCurvePublicKey)
    message = (
        pkcs7.PKCS7SignatureBuilder()
        .set_data(manifest)
        .add_signer(x509.load_der_x509_certificate(certificate), DelegatedP256(public, sign), SHA256())
        .sign(Encoding.DER, [pkcs7.PKCS7Options.Binary, pkcs7.PKCS7Options.NoAttributes])
    )
    return padded + tree + message + struct.pack(">Q", len(message))


def check_holds(bundle: bytes, facts: BundleFacts) -> None:
    """`NotVerified` unless the manifest in the signed message of `bundle` says what `facts` say.

    The signature is not looked at: the unit does that, with the keyring that its factory wrote.
    """
    size = struct.unpack(">Q", bundle[-8:])[0] if len(bundle) > 8 else 0
    message = bundle[-8 - size : -8] if 0 < size <= min(MESSAGE_BYTES_MAX, len(bundle) - 8) else b""
    manifest = _signed_in(message)
    tree = _TREE.search(manifest)
    wanted = _manifest(facts, tree[1].decode(), bytes.fromhex(tree[2].decode()), int(tree[3])) if tree else None
    if manifest != wanted:
        raise NotVerified("the RAUC bundle holds another image than the release", remedy="sign and publish it again")


def _signed_in(message: bytes) -> bytes:
    """What a CMS message signs (RFC 5652 section 5.1), and nothing beside it, which anybody may add to. Raises
    `NotVerified`.
    """
    try:
        _, tagged = der.items(der.only(message, der.SEQUENCE).content)
        _, _, what, *_ = der.items(der.only(tagged.content, der.SEQUENCE).content)
        _, wrapped = der.items(what.content)
    except ValueError as error:
        raise NotVerified("the RAUC bundle has no signed manifest", remedy="sign and publish it again") from error
    return der.only(wrapped.content, der.OCTETS).content


def issue_certificate(key: TrustedKey, not_before: datetime, sign: Sign) -> bytes:
    """A self-signed certificate (DER) of the bundle key: what units have in their keyring."""
    public, _ = public_key.parse_public_key(key.public)
    if not isinstance(public, ec.EllipticCurvePublicKey):
        raise UsageFault("the key for RAUC bundles is not P-256", remedy="correct keys.toml")
    unit = x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, RAUC_UNIT)
    name = x509.Name([unit, x509.NameAttribute(NameOID.COMMON_NAME, key.name[:64])])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(int.from_bytes(bytes.fromhex(key.keyid)[:16], "big") >> 1 | 1)
        .not_valid_before(not_before.replace(microsecond=0))
        .not_valid_after(NO_EXPIRY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .sign(DelegatedP256(public, sign), SHA256())
        .public_bytes(Encoding.DER)
    )


def _manifest(facts: BundleFacts, root: str, salt: bytes, tree_size: int) -> bytes:
    return (
        f"[update]\ncompatible={facts.compatible}\nversion={facts.version}\n\n"
        f"[bundle]\nformat=verity\nverity-hash={root}\nverity-salt={salt.hex()}\nverity-size={tree_size}\n\n"
        f"[image.{SLOT_CLASS}]\nsha256={facts.image_sha256}\nsize={facts.image_size}\nfilename={IMAGE_FILE}\n"
    ).encode()
