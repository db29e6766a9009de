# SPDX-License-Identifier: Apache-2.0
"""Keyless bundles: the certificate, whom it names, when the signature was made, and where it is logged.

Guards: the Sigstore client (`sigstore_client`) verifies the chain at the proved time, the certificate's own log, the
usages, the log entry and the signature; our own readers verify inclusion and time stamps again and say which log and
which time. Nothing is asked of the network or of a cache.
Leaves to others: whether the identity is a trusted one (`statement_verifier`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from assay.errors import AssayError, NotVerified
from assay.formats import log_entry_proof, sigstore_client, trusted_root
from assay.formats.log_entry_proof import LoggedSignature
from assay.formats.sigstore_bundle import Bundle, CertificateMaterial
from assay.formats.sigstore_client import Question
from assay.formats.time_stamps import earliest, proved_times
from assay.formats.trusted_root import TrustedRoot
from assay.model.signer_limits import LogPlace, ProvedTime

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

ISSUER_V1, ISSUER_V2 = "1.3.6.1.4.1.57264.1.1", "1.3.6.1.4.1.57264.1.8"
_REMEDY = "get the bundle again from who made it, or the trusted root of the services that were used"


@dataclass(frozen=True)
class KeylessProof:
    """Whom the certificate names, who vouched for that, when it was signed, and where it is logged."""

    issuer: str
    san: str
    time: ProvedTime
    place: LogPlace


def verify_keyless(data: bytes, bundle: Bundle, root_text: str) -> KeylessProof:
    """What the certificate in `bundle` (read from `data`) proves by the trusted root in `root_text`.

    Raises `NotVerified`, whatever is wrong, and `ToolMissing` without the extra `sigstore`.
    """
    assert isinstance(bundle.material, CertificateMaterial)
    refuse_roots(bundle.material)
    envelope = bundle.envelope
    leaf = bundle.material.certificates[0]
    root = trusted_root.read(root_text)
    times = proved_times(bundle.stamps, envelope.signature, root)
    sigstore_client.verify_envelope(Question(data, leaf, bundle.entries, times, root_text), envelope)
    digest = hashlib.sha256(envelope.signed).digest()
    logged = LoggedSignature(envelope.signature, digest, certificate_der=leaf, payload=envelope.payload)
    time, place = place_and_time(bundle.entries, times, logged, root)
    issuer, san = names_of(leaf)
    return KeylessProof(issuer, san, time, place)


def refuse_roots(material: CertificateMaterial) -> None:
    """`NotVerified` for a bundle (before v0.3) that brings the root along by which it would verify."""
    from cryptography.x509 import load_der_x509_certificate

    for der in material.certificates[1:]:
        try:
            certificate = load_der_x509_certificate(der)
            own = certificate.issuer == certificate.subject
        except Exception as error:  # the parser has an error of its own for some
            raise NotVerified("a certificate of the bundle is malformed", remedy=_REMEDY) from error
        if own:
            raise NotVerified("the bundle brings a root certificate along", remedy=_REMEDY)


def place_and_time(
    entries: tuple[dict[str, Any], ...], stamped: tuple[ProvedTime, ...], logged: LoggedSignature, root: TrustedRoot
) -> tuple[ProvedTime, LogPlace]:
    """The one log entry and the time of a keyless signature, which was `stamped` then. Raises `NotVerified`."""
    if len(entries) != 1:
        raise NotVerified(f"a keyless bundle has one log entry, this one has {len(entries)}", remedy=_REMEDY)
    place = log_entry_proof.verify_entry(entries[0], logged, root)
    times = stamped or _promised(entries[0], place)
    first = earliest(times)
    if first is None:
        raise NotVerified("no time is proved: no time stamp of a trusted authority", remedy=_REMEDY)
    for time in times:
        log_entry_proof.verify_entry(entries[0], logged, root.at(time.when))
    return first, place


def _promised(entry: Mapping[str, Any], place: LogPlace) -> tuple[ProvedTime, ...]:
    """The time of a promise (Rekor v1), which the client has verified."""
    if not sigstore_client.promised(entry):
        return ()
    return (ProvedTime(datetime.fromtimestamp(int(entry["integratedTime"]), UTC), place.log),)


def names_of(der: bytes) -> tuple[str, str]:
    """Issuer and subject alternative name of a certificate (DER). Raises `NotVerified`."""
    from cryptography.x509 import load_der_x509_certificate

    try:
        return names_of_certificate(load_der_x509_certificate(der))
    except AssayError:
        raise
    except Exception as error:  # the parser has classes of its own for hostile bytes, which share no base
        raise NotVerified("the bundle's certificate is malformed", remedy=_REMEDY) from error


def names_of_certificate(certificate: Certificate) -> tuple[str, str]:
    """Issuer (Fulcio's extensions, which must agree) and the one subject alternative name. Raises `NotVerified`."""
    from cryptography import x509

    names = _extension(certificate, x509.SubjectAlternativeName)
    values = [*names] if names is not None else []
    if len(values) != 1 or not isinstance(values[0], x509.RFC822Name | x509.UniformResourceIdentifier):
        raise NotVerified("the certificate does not name exactly one URI or e-mail address", remedy=_REMEDY)
    said = set()
    for extension in certificate.extensions:
        if extension.oid.dotted_string == ISSUER_V1:
            said.add(extension.value.public_bytes())
        elif extension.oid.dotted_string == ISSUER_V2:
            said.add(_utf8_string(extension.value.public_bytes()))
    if len(said) != 1:
        raise NotVerified("the certificate does not name exactly one issuer of its identity", remedy=_REMEDY)
    return said.pop().decode("utf-8"), str(values[0].value)


def _utf8_string(der_bytes: bytes) -> bytes:
    from assay.formats import der

    return der.only(der_bytes, der.UTF8_STRING).content


def _extension(certificate: Certificate, kind: Any) -> Any:
    from cryptography import x509

    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
