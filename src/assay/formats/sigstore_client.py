# SPDX-License-Identifier: Apache-2.0
"""What Sigstore's own client for Python is asked about a bundle with a certificate.

Guards: whatever the client raises is "not verified". It is given those authorities and certificate logs of the trusted
root alone that count for the times of this signature: of their windows it looks at the begin only. Two kinds of log
entry around an envelope, which it does not know, are verified too (docs/adr/0315): it does all that it does for the
others but compare the entry's body, which our reader does for every kind (`log_entry_proof`).
Leaves to others: names (`keyless_proof`), and inclusion and times once more (`keyless_proof.place_and_time`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from assay.errors import AssayError, NotVerified, ToolMissing
from assay.formats import dsse, strict_json, trusted_root
from assay.formats.log_entry_proof import HASHED_V1, INTOTO_V2
from assay.formats.time_stamps import INSTALL
from assay.formats.visible_text import visible
from assay.model.signer_limits import ProvedTime

if TYPE_CHECKING:
    from cryptography.x509 import Certificate
    from sigstore.models import Bundle as ClientBundle
    from sigstore.models import TrustedRoot as ClientRoot
    from sigstore.verify import Verifier

_REMEDY = "get the bundle again from who made it, or the trusted root of the services that were used"


@dataclass(frozen=True)
class Question:
    """A bundle as bytes, and what is read of it: certificate (DER), log entries, and the times of its stamps."""

    data: bytes
    leaf: bytes
    entries: tuple[dict[str, Any], ...]
    times: tuple[ProvedTime, ...]
    root_text: str


class AnyName:
    """Accepts every certificate: names are compared by whoever asks."""

    def verify(self, cert: Certificate) -> None:
        """As the client's policies."""


def verify_envelope(asked: Question, envelope: dsse.Envelope) -> None:
    """`NotVerified` unless the client verifies the bundle, whose envelope is that one."""
    kind = _kind(asked.entries)
    with _asking("the keyless bundle does not verify"):
        from sigstore.models import Bundle
        from sigstore.verify import Verifier

        if kind == HASHED_V1:
            bare = Bundle.from_json(_as_of_a_file(asked.data, envelope))
            Verifier(trusted_root=_root(asked)).verify_artifact(envelope.signed, bare, AnyName())
            return
        bundle = Bundle.from_json(asked.data)
        if kind == INTOTO_V2:
            _by_promise(_root(asked))._verify_common_signing_cert(bundle, AnyName())
            _verify_signature(bundle, envelope)
            return
        found = Verifier(trusted_root=_root(asked)).verify_dsse(bundle, AnyName())
    if found != (envelope.payload_type, envelope.payload):
        raise NotVerified("two readers of the bundle read two payloads", remedy=_REMEDY)


def verify_file(asked: Question, sha256: bytes) -> None:
    """`NotVerified` unless the client verifies the bundle, whose signature is over the file with that digest."""
    with _asking("the bundle does not verify"):
        from sigstore.hashes import Hashed
        from sigstore.models import Bundle
        from sigstore.verify import Verifier
        from sigstore_models.common.v1 import HashAlgorithm

        hashed = Hashed(algorithm=HashAlgorithm.SHA2_256, digest=sha256)
        Verifier(trusted_root=_root(asked)).verify_artifact(hashed, Bundle.from_json(asked.data), AnyName())


@contextmanager
def _asking(what: str) -> Iterator[None]:
    """Any exception of the client is "not verified", and starts with `what`."""
    try:
        yield
    except AssayError:
        raise
    except ImportError as error:
        raise ToolMissing("keyless bundles need the package sigstore, which is not there", remedy=INSTALL) from error
    except Exception as error:
        raise NotVerified(f"{what}: {_first_line(error)}", remedy=_REMEDY) from error


def _root(asked: Question) -> ClientRoot:
    from sigstore.models import TrustedRoot
    from sigstore_models.trustroot.v1 import TrustedRoot as RootModel

    signed = [time.when for time in asked.times]
    signed += [datetime.fromtimestamp(int(entry["integratedTime"]), UTC) for entry in asked.entries if promised(entry)]
    text = trusted_root.for_client(asked.root_text, signed, _issued(asked.leaf))
    return TrustedRoot(RootModel.from_json(text))


def promised(entry: Mapping[str, Any]) -> bool:
    """Whether a log (Rekor v1) promises a time. The client verifies promises; one that is wrong is refused."""
    return bool(entry.get("inclusionPromise") and int(entry.get("integratedTime") or 0))


def _issued(leaf: bytes) -> list[datetime]:
    """When logs of certificates say that they saw it."""
    from cryptography import x509

    found = x509.load_der_x509_certificate(leaf).extensions
    stamps = found.get_extension_for_class(x509.PrecertificateSignedCertificateTimestamps).value
    return [stamp.timestamp.replace(tzinfo=UTC) for stamp in stamps]


def _kind(entries: tuple[dict[str, Any], ...]) -> tuple[Any, Any]:
    said = entries[0].get("kindVersion") if len(entries) == 1 else None
    return (said.get("kind"), said.get("version")) if isinstance(said, dict) else (None, None)


def _as_of_a_file(data: bytes, envelope: dsse.Envelope) -> str:
    """The bundle, as if a file with the bytes that the envelope's signature is over had been signed: this is what such
    an entry says of it, word for word.
    """
    document = strict_json.loads_object(data, "the bundle")
    del document["dsseEnvelope"]
    document["messageSignature"] = {"signature": dsse.encode_base64(envelope.signature)}
    return json.dumps(document)


def _by_promise(root: ClientRoot) -> Verifier:
    """The client, also taking the time of an `intoto` entry that is promised (it does of two other kinds). The promise
    is over the entry and that time whatever its kind is, and is verified with the entry.
    """
    from sigstore._internal.timestamp import TimestampSource, TimestampVerificationResult
    from sigstore.verify import Verifier

    class ByPromise(Verifier):
        def _establish_time(self, bundle: ClientBundle) -> list[TimestampVerificationResult]:
            times, entry = self._verify_timestamp_authority(bundle), bundle.log_entry._inner
            if entry.inclusion_promise and entry.integrated_time:
                when = datetime.fromtimestamp(entry.integrated_time, UTC)
                times.append(TimestampVerificationResult(source=TimestampSource.TRANSPARENCY_SERVICE, time=when))
            return times

    return ByPromise(trusted_root=root)


def _verify_signature(bundle: ClientBundle, envelope: dsse.Envelope) -> None:
    """Raises whatever, unless the certificate's key signed the envelope."""
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.hashes import SHA256

    key = bundle.signing_certificate.public_key()
    if not isinstance(key, EllipticCurvePublicKey):
        raise NotVerified("the certificate's key is not one of ECDSA", remedy=_REMEDY)
    key.verify(envelope.signature, envelope.signed, ECDSA(SHA256()))


def _first_line(error: Exception) -> str:
    """What the client says; of a bundle that its models do not take, which part it is and what is wrong with it."""
    text = str(error).strip().splitlines()
    if not text:
        return type(error).__name__
    if "validation error" in text[0] and len(text) > 2:
        text[0] = f"{text[1].strip()}: {text[2].strip().partition(' [type=')[0]}"
    return visible(f"{type(error).__name__}: {text[0]}")  # it may repeat a part of the bundle
