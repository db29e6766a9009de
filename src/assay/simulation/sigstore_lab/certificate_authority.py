# SPDX-License-Identifier: Apache-2.0
"""The lab's Fulcio and its certificate transparency log: a short-lived certificate for a token and a request.

Guards: the request proves that its sender has the key; the identity comes from the token alone. Every certificate
carries one signed certificate timestamp (RFC 6962 section 3.3).
"""

from __future__ import annotations

import base64
import hashlib
import time
from datetime import timedelta
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from assay.formats import der
from assay.simulation.sigstore_lab.certificates import builder_for, make_root, usage
from assay.simulation.sigstore_lab.identity_provider import IdentityProvider

LEAF_VALID = timedelta(minutes=10)
ISSUER_RAW = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
ISSUER = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
"""Fulcio's extensions for the OIDC issuer: bare bytes, and a DER string."""

SCT_LIST = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
SCT_V1, CERTIFICATE_TIMESTAMP, PRECERT_ENTRY = 0, 0, 1
SHA256_ECDSA = b"\x04\x03"
"""RFC 5246 section 7.4.1.4.1."""


class CertificateAuthority:
    """Certificates for the identities of one provider."""

    def __init__(self, provider: IdentityProvider) -> None:
        self.root = make_root("code signing")
        self.ct_key = ec.generate_private_key(ec.SECP256R1())
        self._provider = provider

    def answer(self, token: str, document: dict[str, Any]) -> dict[str, Any]:
        """`POST /api/v2/signingCert`. Raises `ValueError` for what is refused."""
        subject = self._provider.subject_of(token)
        request = x509.load_pem_x509_csr(base64.b64decode(document["certificateSigningRequest"], validate=True))
        if not request.is_signature_valid:
            raise ValueError("the request does not prove possession of the key")
        chain = [self.issue(p256(request.public_key()), subject), self.root.certificate]
        pem = [certificate.public_bytes(Encoding.PEM).decode("ascii") for certificate in chain]
        return {"signedCertificateEmbeddedSct": {"chain": {"certificates": pem}}}

    def issue(self, key: ec.EllipticCurvePublicKey, subject: str, valid: timedelta = LEAF_VALID) -> x509.Certificate:
        """A certificate that binds `key` to `subject` for `valid` from now."""
        names: x509.GeneralName = (
            x509.UniformResourceIdentifier(subject) if "://" in subject else x509.RFC822Name(subject)
        )
        issuer = self._provider.url.encode("utf-8")
        builder = builder_for(key, x509.Name([]), self.root.certificate.subject, self.root.key.public_key(), valid)
        builder = builder.add_extension(usage("digital_signature"), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
        builder = builder.add_extension(x509.SubjectAlternativeName([names]), critical=True)
        builder = builder.add_extension(x509.UnrecognizedExtension(ISSUER_RAW, issuer), critical=False)
        encoded = der.encode(der.UTF8_STRING, issuer)
        builder = builder.add_extension(x509.UnrecognizedExtension(ISSUER, encoded), critical=False)
        before = builder.sign(self.root.key, SHA256()).tbs_certificate_bytes
        stamped = x509.UnrecognizedExtension(SCT_LIST, self._timestamp_list(before))
        certificate = builder.add_extension(stamped, critical=False).sign(self.root.key, SHA256())
        if certificate.tbs_precertificate_bytes != before:
            raise ValueError("the certificate is not the one that was logged")
        return certificate

    @property
    def ct_log_id(self) -> bytes:
        """SHA-256 of the log's public key (RFC 6962 section 3.2)."""
        return _key_hash(self.ct_key.public_key())

    def _timestamp_list(self, precertificate: bytes) -> bytes:
        """An OCTET STRING around a list of one signed certificate timestamp."""
        when = int(time.time() * 1000).to_bytes(8, "big")
        entry = _key_hash(self.root.key.public_key()) + len(precertificate).to_bytes(3, "big") + precertificate
        kind = bytes([SCT_V1, CERTIFICATE_TIMESTAMP])
        signed = kind + when + PRECERT_ENTRY.to_bytes(2, "big") + entry + bytes(2)
        signature = self.ct_key.sign(signed, ec.ECDSA(SHA256()))
        sct = bytes([SCT_V1]) + self.ct_log_id + when + bytes(2) + SHA256_ECDSA + _sized(signature)
        return der.encode(der.OCTETS, _sized(_sized(sct)))


def p256(key: object) -> ec.EllipticCurvePublicKey:
    """`key`, which has to be ECDSA P-256. Raises `ValueError`."""
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    raise ValueError("the key is not ECDSA P-256")


def verify_prehashed(key: object, signature: bytes, digest: bytes) -> bool:
    """Whether `signature` over the SHA-256 `digest` was made with the P-256 key `key`."""
    from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

    try:
        p256(key).verify(signature, digest, ec.ECDSA(Prehashed(SHA256())))
    except (InvalidSignature, ValueError):
        return False
    return True


def spki(key: ec.EllipticCurvePublicKey) -> bytes:
    """DER SubjectPublicKeyInfo."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _key_hash(key: ec.EllipticCurvePublicKey) -> bytes:
    return hashlib.sha256(spki(key)).digest()


def _sized(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data
