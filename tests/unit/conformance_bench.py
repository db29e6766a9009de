# SPDX-License-Identifier: Apache-2.0
"""What the cases of the public conformance suite for Sigstore clients are made of: services, signatures, and bundles.

`Case` is what the suite gives to a client (bundle, trusted root, key or identity, file), and asks it for a verdict with
`python -m assay.conformance.sigstore`. Rekor v2, certificates and time stamps are the lab's; a Rekor v1 is made here.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from keyless_bench import WHO, statement

from assay.conformance import sigstore
from assay.formats import canonical_json, der, dsse, merkle, sigstore_bundle
from assay.formats.checkpoint import Checkpoint
from assay.model.statement import PAYLOAD_TYPE
from assay.simulation.sigstore_lab.certificate_authority import LEAF_VALID
from assay.simulation.sigstore_lab.lab import SigstoreLab
from assay.simulation.sigstore_lab.timestamp_authority import SHA256_OID, TimestampAuthority
from assay.simulation.sigstore_lab.transparency_log import P256

ARTIFACT = b"the artifact\n"
DIGEST = hashlib.sha256(ARTIFACT).digest()
STATEMENT = statement(sha256=DIGEST.hex())
OLD_KIND = "application/vnd.dev.sigstore.bundle+json;version="
EARLIER = b"an entry before"

Document = dict[str, Any]


def text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def raw(said: str) -> bytes:
    return base64.b64decode(said, validate=True)


def spki(key: Any) -> bytes:
    return bytes(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def pem(key: Any) -> bytes:
    return bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


class RekorV1:
    """A Rekor v1 of two entries, with the promise of a time; its key is ECDSA, as the public one's is."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.log_id = hashlib.sha256(spki(self.key)).digest()

    @property
    def trusted(self) -> Document:
        """As a trusted root has it."""
        start = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
        public = {"rawBytes": text(spki(self.key)), "keyDetails": P256, "validFor": {"start": start}}
        known = {"logId": {"keyId": text(self.log_id)}, "hashAlgorithm": "SHA2_256"}
        return {"baseUrl": "https://rekor.example", "publicKey": public, **known}

    def entry(self, kind: str, spec: Document, when: datetime, version: str = "0.0.1") -> Document:
        """A TransparencyLogEntry around `spec`, as if it was logged at `when`."""
        body = canonical_json.encode({"apiVersion": version, "kind": kind, "spec": spec})
        leaves = [merkle.leaf_hash(EARLIER), merkle.leaf_hash(body)]
        root, seconds = merkle.root(2, merkle.reader_of_leaves(leaves)), int(when.timestamp())
        promised = {"body": text(body), "integratedTime": seconds, "logID": self.log_id.hex(), "logIndex": 1}
        return {
            "logIndex": "1",
            "logId": {"keyId": text(self.log_id)},
            "kindVersion": {"kind": kind, "version": version},
            "integratedTime": str(seconds),
            "inclusionPromise": {"signedEntryTimestamp": text(self._sign(canonical_json.encode(promised)))},
            "inclusionProof": {
                "logIndex": "1",
                "rootHash": text(root),
                "treeSize": "2",
                "hashes": [text(leaves[0])],
                "checkpoint": {"envelope": self.note(Checkpoint("rekor.example - 1193050959916656506", 2, root).text)},
            },
            "canonicalizedBody": text(body),
        }

    def note(self, said: str) -> str:
        """`said`, signed as a checkpoint."""
        return f"{said}\n\u2014 rekor.example {text(self.log_id[:4] + self._sign(said.encode()))}\n"

    def _sign(self, data: bytes) -> bytes:
        return self.key.sign(data, ec.ECDSA(SHA256()))


@dataclass
class Signed:
    """A key, its certificate if it has one, and what it signed: the file, or a statement about it in an envelope."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate | None
    payload: bytes | None = None
    artifact: bytes = ARTIFACT
    signature: bytes = field(init=False)

    def __post_init__(self) -> None:
        self.signature = self.key.sign(self.over, ec.ECDSA(SHA256()))

    @property
    def over(self) -> bytes:
        """What the signature is over."""
        return self.artifact if self.payload is None else dsse.pae(PAYLOAD_TYPE, self.payload)

    @property
    def verifier(self) -> bytes:
        """The certificate or the key in PEM, as entries of Rekor v1 have it."""
        return pem(self.key) if self.certificate is None else self.certificate.public_bytes(Encoding.PEM)

    @property
    def content(self) -> Document:
        """The part of a bundle that is signed."""
        if self.payload is None:
            digest = {"algorithm": "SHA2_256", "digest": text(hashlib.sha256(self.artifact).digest())}
            return {"messageSignature": {"messageDigest": digest, "signature": text(self.signature)}}
        said = {"payload": text(self.payload), "payloadType": PAYLOAD_TYPE}
        return {"dsseEnvelope": {**said, "signatures": [{"sig": text(self.signature)}]}}

    def spec(self, kind: str) -> Document:
        """What a Rekor v1 says of it."""
        over = self.over if kind == "hashedrekord" else self.payload or b""
        hashed = {"algorithm": "sha256", "value": hashlib.sha256(over).hexdigest()}
        verifier, once = text(self.verifier), text(self.signature)
        if kind == "hashedrekord":
            return {"data": {"hash": hashed}, "signature": {"content": once, "publicKey": {"content": verifier}}}
        if kind == "dsse":
            whole = {"algorithm": "sha256", "value": hashlib.sha256(b"envelope").hexdigest()}
            signatures = [{"signature": once, "verifier": verifier}]
            return {"envelopeHash": whole, "payloadHash": hashed, "signatures": signatures}
        envelope: Document = {
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"publicKey": verifier, "sig": text(once.encode())}],
        }
        return {"content": {"envelope": envelope, "payloadHash": hashed}}


class Services:
    """A lab, a second one, and a Rekor v1 that the first one's root trusts, too."""

    def __init__(self, lab: SigstoreLab, other: SigstoreLab) -> None:
        self.lab, self.other, self.rekor = lab, other, RekorV1()
        self.root = copy.deepcopy(lab.trusted_root)
        self.root["tlogs"].append(self.rekor.trusted)

    def sign(self, payload: bytes | None = None, artifact: bytes = ARTIFACT, who: str = WHO) -> Signed:
        """With a certificate of the lab."""
        key = ec.generate_private_key(ec.SECP256R1())
        return Signed(key, self.lab.authority.issue(key.public_key(), who, LEAF_VALID), payload, artifact)

    def case(self, signed: Signed, entry: Document, *stamps: bytes) -> Case:
        """The bundle of `signed` with that entry and those stamps, in the newest kind."""
        made: Document = {"tlogEntries": [copy.deepcopy(entry)]}
        if signed.certificate is None:
            made["publicKey"] = {"hint": "x"}
        else:
            made["certificate"] = {"rawBytes": text(signed.certificate.public_bytes(Encoding.DER))}
        if stamps:
            made["timestampVerificationData"] = {
                "rfc3161Timestamps": [{"signedTimestamp": text(each)} for each in stamps]
            }
        bundle = {"mediaType": sigstore_bundle.MEDIA_TYPE, "verificationMaterial": made, **signed.content}
        key = pem(signed.key) if signed.certificate is None else None
        return Case(self, signed, bundle, copy.deepcopy(self.root), key)

    def old(self, signed: Signed, kind: str = "hashedrekord", when: datetime | None = None) -> Case:
        """In the Rekor v1."""
        version = "0.0.2" if kind == "intoto" else "0.0.1"
        return self.case(signed, self.rekor.entry(kind, signed.spec(kind), when or datetime.now(UTC), version))

    def entry(self, signed: Signed) -> Document:
        """In the lab's Rekor v2."""
        public = {"publicKey": {"rawBytes": text(spki(signed.key))}}
        if signed.certificate is not None:
            public = {"x509Certificate": {"rawBytes": text(signed.certificate.public_bytes(Encoding.DER))}}
        signature = {"content": text(signed.signature), "verifier": {"keyDetails": P256, **public}}
        digest = text(hashlib.sha256(signed.over).digest())
        return self.lab.log.answer({"hashedRekordRequestV002": {"digest": digest, "signature": signature}})

    def new(self, signed: Signed, stamper: TimestampAuthority | None = None) -> Case:
        """In the lab's Rekor v2, stamped."""
        return self.case(signed, self.entry(signed), stamp(stamper or self.lab.stamper, signed.signature))


@dataclass
class Case:
    """What the suite hands to a client, and what it is made of. `identity`: whether it names a person."""

    services: Services
    signed: Signed
    bundle: Document
    root: Document
    key: bytes | None = None
    artifact: bytes = ARTIFACT
    identity: bool = field(init=False)
    spelled: bytes | None = None
    """The bundle in other bytes than its document's."""

    def __post_init__(self) -> None:
        self.identity = self.key is None

    @property
    def material(self) -> Document:
        return self.bundle["verificationMaterial"]  # type: ignore[no-any-return]

    @property
    def entry(self) -> Document:
        return self.material["tlogEntries"][0]  # type: ignore[no-any-return]

    @property
    def proof(self) -> Document:
        return self.entry["inclusionProof"]  # type: ignore[no-any-return]

    def stamps(self, *stamps: bytes) -> None:
        said = [{"signedTimestamp": text(each)} for each in stamps]
        self.material["timestampVerificationData"] = {"rfc3161Timestamps": said}

    def note(self, change: Callable[[str], str]) -> None:
        """Another text in the place of the checkpoint with its signatures."""
        self.proof["checkpoint"]["envelope"] = change(self.proof["checkpoint"]["envelope"])

    def older(self, version: str) -> None:
        """The names that the parts of a bundle had in a version before."""
        self.bundle["mediaType"] = OLD_KIND + version
        if version != "0.3":
            self.material["x509CertificateChain"] = {"certificates": [self.material.pop("certificate")]}

    def laid_out(self, folder: Path) -> None:
        """The files that a client gets."""
        (folder / "a.txt").write_bytes(self.artifact)
        (folder / "bundle.json").write_bytes(self.spelled or json.dumps(self.bundle).encode())
        (folder / "root.json").write_text(json.dumps(self.root))

    def verdict(self, folder: Path) -> int:
        """The exit status of the client, asked in the order of the suite's contract: file and digest."""
        self.laid_out(folder)
        words = ["verify-bundle", "--bundle", str(folder / "bundle.json")]
        if self.identity:
            words += ["--certificate-identity", WHO, "--certificate-oidc-issuer", self.services.lab.url]
        if self.key is not None:
            (folder / "key.pub").write_bytes(self.key)
            words += ["--key", str(folder / "key.pub")]
        words += ["--trusted-root", str(folder / "root.json")]
        digest = f"sha256:{hashlib.sha256(self.artifact).hexdigest()}"
        found, by_digest = (sigstore.main([*words, artifact]) for artifact in (str(folder / "a.txt"), digest))
        assert found == by_digest
        return found


def stamp(authority: TimestampAuthority, signature: bytes) -> bytes:
    """A time stamp over `signature`."""
    algorithm = der.encode(der.SEQUENCE, der.oid(SHA256_OID))
    imprint = der.encode(der.SEQUENCE, algorithm, der.encode(der.OCTETS, hashlib.sha256(signature).digest()))
    return authority.answer(der.encode(der.SEQUENCE, der.integer(1), imprint))


def without_certificate(stamped: bytes) -> bytes:
    """The stamp, less the certificate in it: `signed` is version, digests, content, [0] certificates, signers."""
    status, token = der.items(der.only(stamped, der.SEQUENCE).content)
    kind, wrapped = der.items(token.content)
    parts = [part.whole for part in der.items(der.only(wrapped.content, der.SEQUENCE).content) if part.tag != 0xA0]
    signed = der.encode(der.SEQUENCE, kind.whole, der.explicit(0, der.encode(der.SEQUENCE, *parts)))
    return der.encode(der.SEQUENCE, status.whole, signed)


def authority_of(stamper: TimestampAuthority, **window: Any) -> Document:
    """`stamper` as a trusted root has it, for the time of `window`."""
    chain = [{"rawBytes": text(each)} for each in stamper.stamper.chain_der]
    start = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    said = {"start": start} | {name: when.isoformat() for name, when in window.items()}
    subject = {"organization": "o", "commonName": "c"}
    return {"subject": subject, "uri": "https://tsa.example", "certChain": {"certificates": chain}, "validFor": said}


@pytest.fixture(scope="module")
def services() -> Any:
    with SigstoreLab() as lab, SigstoreLab() as other:
        yield Services(lab, other)
