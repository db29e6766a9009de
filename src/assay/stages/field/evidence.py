# SPDX-License-Identifier: Apache-2.0
"""Ask a unit what it runs, and verify its answer: the same checks at the port and, years later, from a record.

Guards: evidence counts only when it answers our nonce, is signed by the key in the unit's certificate, that certificate
is of a device CA that is trusted, and chip and serial number agree in both. Any exception is "not verified".
Leaves to others: what an app that is compromised could sign (docs: explanation/what-evidence-proves), and whether the
checkpoint in the nonce is of a log that is trusted (`pipeline.trace_*`).
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass

from assay.errors import AssayError, NotVerified
from assay.formats import cose_sign1, device_certificate, eat_claims
from assay.formats.device_certificate import DeviceCertificate
from assay.formats.eat_claims import EvidenceClaims
from assay.interfaces.device import Device
from assay.model.identifiers import Version
from assay.model.predicates import DeviceReport, EvidenceQuote, EvidenceRecord
from assay.model.trust import Check, TrustFile

RANDOM_BYTES = 32
_REMEDY = "ask the unit again; when it stays so, do not trust the unit or the record"


@dataclass(frozen=True)
class VerifiedEvidence:
    """Evidence that verified: what it says, by which certificate, and what was checked."""

    claims: EvidenceClaims
    certificate: DeviceCertificate
    quote: EvidenceQuote
    checks: tuple[Check, ...]

    @property
    def report(self) -> DeviceReport:
        """What the unit runs, for a record."""
        claims = self.claims
        return DeviceReport(
            version=claims.version,
            image_hash=claims.image_hash.hex(),
            how=claims.how,
            state=claims.state,
            confirmed_since=claims.confirmed_since,
        )


def make_nonce(checkpoint: bytes, random: bytes) -> bytes:
    """The nonce that proves that evidence is younger than `checkpoint` (bytes as signed) and answers this question."""
    return hashlib.sha256(checkpoint + random).digest()


def ask(device: Device, checkpoint: bytes, random: bytes, trust: TrustFile) -> VerifiedEvidence:
    """Ask the unit on the port, and verify what it says. `random` are 32 fresh bytes. Raises `NotVerified`."""
    certificate = device.read_certificate()
    nonce = make_nonce(checkpoint, random)
    quote = EvidenceQuote(
        nonce_hex=nonce.hex(),
        random_hex=random.hex(),
        evidence_base64=base64.b64encode(device.evidence(nonce)).decode(),
        certificate_sha256=hashlib.sha256(certificate.der).hexdigest(),
    )
    return verify_quote(quote, checkpoint, certificate.der, trust)


def verify_quote(quote: EvidenceQuote, checkpoint: bytes, certificate_der: bytes, trust: TrustFile) -> VerifiedEvidence:
    """Verify evidence that was kept; pure. Raises `NotVerified` naming the link that broke."""
    try:
        return _verify(quote, checkpoint, certificate_der, trust)
    except NotVerified:
        raise
    except (AssayError, ValueError) as error:
        raise NotVerified(f"the evidence cannot be read: {error}", remedy=_REMEDY) from error


def verify_evidence(record: EvidenceRecord, certificate_der: bytes, trust: TrustFile) -> VerifiedEvidence:
    """Verify a record of evidence, and that the record says of it what it says; pure. Raises `NotVerified`."""
    quote = EvidenceQuote(
        nonce_hex=record.nonce_hex,
        random_hex=record.random_hex,
        evidence_base64=record.evidence_base64,
        certificate_sha256=record.certificate_sha256,
    )
    verified = verify_quote(quote, record.run.checkpoint.encode(), certificate_der, trust)
    claims = verified.claims
    _agree("serial number", record.serial, claims.serial)
    _agree("board", record.run.board, claims.board)
    _agree("emulated", record.run.emulated, verified.certificate.emulated)
    _agree("report", record.report, verified.report)
    _agree("bootloader hash", record.bootloader_hash, claims.bootloader_hash.hex())
    _agree("security counter", record.security_counter, claims.security_counter)
    _agree("revert at boot", record.reverted_at_boot, claims.reverted)
    return verified


def _verify(quote: EvidenceQuote, checkpoint: bytes, certificate_der: bytes, trust: TrustFile) -> VerifiedEvidence:
    if hashlib.sha256(certificate_der).hexdigest() != quote.certificate_sha256:
        raise NotVerified("the evidence was made with another certificate", remedy=_REMEDY)
    certificate = device_certificate.verify(certificate_der, trust)
    nonce = make_nonce(checkpoint, bytes.fromhex(quote.random_hex))
    if nonce.hex() != quote.nonce_hex or len(bytes.fromhex(quote.random_hex)) != RANDOM_BYTES:
        raise NotVerified("the nonce is not the hash of the checkpoint and the random bytes", remedy=_REMEDY)
    cose = base64.b64decode(quote.evidence_base64, validate=True)
    claims = eat_claims.decode(cose_sign1.verify(cose, certificate.public_key))
    if claims.nonce != nonce:
        raise NotVerified("the evidence answers another nonce: it may be an old one", remedy=_REMEDY)
    if claims.chip != certificate.chip:
        raise NotVerified(f"the evidence is of chip {claims.chip.hex()}, the certificate is not", remedy=_REMEDY)
    if claims.serial != certificate.serial:
        raise NotVerified(
            f"the evidence is of unit {claims.serial}, the certificate of {certificate.serial}", remedy=_REMEDY
        )
    Version(claims.version)
    return VerifiedEvidence(claims, certificate, quote, _checks(certificate))


def _checks(certificate: DeviceCertificate) -> tuple[Check, ...]:
    checks = [
        Check(f"the certificate of unit {certificate.serial} is signed by the device CA", certificate.issuer),
        Check("the evidence is signed by the key in that certificate"),
        Check("the evidence answers the nonce, so it is younger than the checkpoint in it"),
        Check(f"chip {certificate.chip.hex()} and serial number {certificate.serial} agree"),
    ]
    if certificate.issuer.development:
        checks.append(
            Check(
                "the device CA is an UNSAFE-DEVELOPMENT key: this proves nothing outside a demonstration",
                certificate.issuer,
                caution=True,
            )
        )
    if certificate.emulated:
        checks.append(Check("the unit is emulated: its key is in a file and protects nothing", caution=True))
    return tuple(checks)


def _agree(what: str, recorded: object, proved: object) -> None:
    if recorded != proved:
        raise NotVerified(f"the record's {what} is {recorded}, the evidence says {proved}", remedy=_REMEDY)
