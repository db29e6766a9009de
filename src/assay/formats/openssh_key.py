# SPDX-License-Identifier: Apache-2.0
"""Public keys and host certificates of OpenSSH: fingerprints, and whether a host's key is the one that was named.

Guards: a certificate counts only when it is for hosts, signed with SHA-2 or Ed25519 by a named authority, for this
name, now, and has no condition that we do not understand. Leaves to others: that the host has the private key (the key
exchange).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.hazmat.primitives.serialization.ssh import (
    SSHCertificate,
    SSHCertificateType,
    load_ssh_public_identity,
)

CERTIFICATE_SUFFIX = "-cert-v01@openssh.com"
RSA_BITS_MIN = 2048


def blob_of(line: str) -> bytes:
    """The bytes of a key that is written `kind base64`."""
    return base64.b64decode(line.split()[1])


def line_of(blob: bytes) -> str:
    """A key's or certificate's bytes as `kind base64`. Raises ValueError."""
    return f"{kind_of(blob)} {base64.b64encode(blob).decode()}"


def kind_of(blob: bytes) -> str:
    """The first field of a key's bytes: its kind. Raises ValueError."""
    return _string(blob)[0].decode("ascii")


def fingerprint(blob: bytes) -> str:
    """As OpenSSH shows it: `SHA256:...`."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def rsa_bits(blob: bytes) -> int | None:
    """The length of an RSA key's modulus; None for another kind of key. Raises ValueError."""
    kind, rest = _string(blob)
    if kind != b"ssh-rsa":
        return None
    _, rest = _string(rest)
    return int.from_bytes(_string(rest)[0], "big").bit_length()


def certificate_fault(blob: bytes, name: str, authorities: Sequence[str], now_s: int) -> str | None:
    """Why the certificate `blob` is no proof that its key is that of host `name`; None if it is.

    `now_s` is Unix time; `authorities` are the keys that may sign it, as `kind base64`.
    """
    try:
        certificate = load_ssh_public_identity(line_of(blob).encode())
        if not isinstance(certificate, SSHCertificate):
            return "it is no certificate"
        signer = certificate.signature_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        if blob_of(signer.decode()) not in [blob_of(line) for line in authorities]:
            return f"it is signed by {fingerprint(blob_of(signer.decode()))}, which is no authority of this place"
        if signature_kind(blob) == "ssh-rsa":
            return "its signature is RSA with SHA-1"
        certificate.verify_cert_signature()
    except InvalidSignature:
        return "its signature does not verify"
    except (ValueError, UnsupportedAlgorithm) as error:
        return f"it cannot be read: {error}"
    return _contents_fault(certificate, name, now_s)


def _contents_fault(certificate: SSHCertificate, name: str, now_s: int) -> str | None:
    names = [each.decode(errors="replace") for each in certificate.valid_principals]
    if certificate.type is not SSHCertificateType.HOST:
        return "it is a certificate of a user, not of a host"
    if name.lower() not in [each.lower() for each in names]:  # none named: any host, which says nothing
        return f"it is for {', '.join(names) or 'no name'}, not for {name}"
    if not certificate.valid_after <= now_s < certificate.valid_before:
        return "it is not valid now: look at its dates, and at this host's clock"
    if certificate.critical_options:
        return "it has a condition that is not understood"
    return None


def signature_kind(blob: bytes) -> str:
    """The algorithm of the signature on a certificate. Raises ValueError."""
    kind, rest = _string(blob)
    numbers = {b"ssh-ed25519": 1, b"ssh-rsa": 2}.get(kind.removesuffix(CERTIFICATE_SUFFIX.encode()), 2)
    for _ in range(1 + numbers):  # nonce, and the key's numbers
        _, rest = _string(rest)
    rest = rest[8 + 4 :]  # serial number, type
    for _ in range(2):  # key id, principals
        _, rest = _string(rest)
    rest = rest[8 + 8 :]  # valid after, before
    for _ in range(4):  # critical options, extensions, reserved, the signer's key
        _, rest = _string(rest)
    return _string(_string(rest)[0])[0].decode("ascii")


def _string(data: bytes) -> tuple[bytes, bytes]:
    """A string of the SSH protocol (RFC 4251 section 5) and what follows it."""
    length = int.from_bytes(data[:4], "big")
    if len(data) < 4 + length or len(data) < 4:
        raise ValueError("it ends too early")
    return data[4 : 4 + length], data[4 + length :]
