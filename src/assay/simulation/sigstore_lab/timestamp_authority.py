# SPDX-License-Identifier: Apache-2.0
"""The lab's time stamp authority (RFC 3161): a signed answer (CMS, RFC 5652) to a request.

Guards: the imprint and the nonce of the answer are those of the request; the signer's certificate is bound in the
signature (ESSCertIDv2, RFC 5035). The time is the host's clock.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from assay.formats import der
from assay.simulation.sigstore_lab.certificates import make_root, make_stamper

SIGNED_DATA = "1.2.840.113549.1.7.2"
TST_INFO = "1.2.840.113549.1.9.16.1.4"
CONTENT_TYPE, MESSAGE_DIGEST, SIGNING_TIME = (f"1.2.840.113549.1.9.{number}" for number in (3, 4, 5))
SIGNING_CERTIFICATE_V2 = "1.2.840.113549.1.9.16.2.47"
SHA256_OID, ECDSA_SHA256 = "2.16.840.1.101.3.4.2.1", "1.2.840.10045.4.3.2"
POLICY = "1.3.6.1.4.1.57264.2"
"""As Sigstore's own time stamp authority names its policy."""

GRANTED, UTC_TIME, BOOLEAN = 0, 0x17, 0x01


@dataclass(frozen=True)
class _Request:
    """What an answer repeats: the imprint as it stood, and the nonce, if there was one."""

    imprint: bytes
    nonce: bytes


class TimestampAuthority:
    """Answers requests; `clock` says the time."""

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.root = make_root("time stamping root")
        self.stamper = make_stamper(self.root, "time stamping")
        self.clock = clock
        self._numbers = itertools.count(1)

    def answer(self, request: bytes) -> bytes:
        """A TimeStampResp to the TimeStampReq in `request`. Raises `NotVerified` for what is none."""
        asked = _read(request)
        now = self.clock().astimezone(UTC).replace(microsecond=0)
        stamp = der.encode(
            der.SEQUENCE,
            der.integer(1),
            der.oid(POLICY),
            asked.imprint,
            der.integer(next(self._numbers)),
            der.encode(der.GENERALIZED_TIME, f"{now:%Y%m%d%H%M%SZ}".encode()),
            asked.nonce,
        )
        status = der.encode(der.SEQUENCE, der.integer(GRANTED))
        return der.encode(der.SEQUENCE, status, self._signed(stamp, now))

    def _signed(self, content: bytes, now: datetime) -> bytes:
        """`content` as CMS SignedData, with the signer's certificate."""
        certificate = self.stamper.chain_der[0]
        algorithm = der.encode(der.SEQUENCE, der.oid(SHA256_OID))
        inner = der.encode(der.SEQUENCE, der.oid(TST_INFO), der.explicit(0, der.encode(der.OCTETS, content)))
        attributes = _attributes(content, certificate, now)
        signature = self.stamper.key.sign(der.encode(der.SET, attributes), ec.ECDSA(SHA256()))
        signer = der.encode(
            der.SEQUENCE,
            der.integer(1),
            der.encode(
                der.SEQUENCE,
                self.stamper.certificate.issuer.public_bytes(),
                der.integer(self.stamper.certificate.serial_number),
            ),
            algorithm,
            der.explicit(0, attributes),
            der.encode(der.SEQUENCE, der.oid(ECDSA_SHA256)),
            der.encode(der.OCTETS, signature),
        )
        data = der.encode(
            der.SEQUENCE,
            der.integer(3),
            der.encode(der.SET, algorithm),
            inner,
            der.explicit(0, certificate),
            der.encode(der.SET, signer),
        )
        return der.encode(der.SEQUENCE, der.oid(SIGNED_DATA), der.explicit(0, data))


def _attributes(content: bytes, certificate: bytes, now: datetime) -> bytes:
    """The signed attributes, in the order that DER wants of a SET: by their encoding."""
    essential = der.encode(der.SEQUENCE, der.encode(der.OCTETS, hashlib.sha256(certificate).digest()))
    listed = der.encode(der.SEQUENCE, der.encode(der.SEQUENCE, essential))
    values = {
        CONTENT_TYPE: der.oid(TST_INFO),
        SIGNING_TIME: der.encode(UTC_TIME, f"{now:%y%m%d%H%M%SZ}".encode()),
        MESSAGE_DIGEST: der.encode(der.OCTETS, hashlib.sha256(content).digest()),
        SIGNING_CERTIFICATE_V2: listed,
    }
    made = [der.encode(der.SEQUENCE, der.oid(kind), der.encode(der.SET, value)) for kind, value in values.items()]
    return b"".join(sorted(made))


def _read(request: bytes) -> _Request:
    parts = list(der.items(der.only(request, der.SEQUENCE).content))
    imprint = parts[1]
    algorithm, digest = der.items(imprint.content)
    if not algorithm.content.startswith(der.oid(SHA256_OID)) or len(digest.content) != hashlib.sha256().digest_size:
        raise ValueError("only SHA-256 is stamped")
    nonce = next((part.whole for part in parts[2:] if part.tag == der.INTEGER), b"")
    return _Request(imprint.whole, nonce)
