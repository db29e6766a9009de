# SPDX-License-Identifier: Apache-2.0
"""The cases of the public conformance suite for Sigstore clients about times, certificates and roots, each made anew as
its README says; see `test_conformance_cases.py`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conformance_bench import STATEMENT, Case, Services, authority_of, raw, services, stamp, text, without_certificate
from conformance_cases import Cases, Make, entry_of, file_v1, file_v2, flip, judged
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from keyless_bench import statement

from assay.formats import der
from assay.simulation.sigstore_lab import certificate_authority, certificates
from assay.simulation.sigstore_lab.certificates import make_root
from assay.simulation.sigstore_lab.timestamp_authority import TimestampAuthority

__all__ = ["services"]

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
CASES = Cases()

# Times, certificates and roots.


def _until(it: Case, place: str, end: datetime) -> None:
    found = it.root["timestampAuthorities"][0] if place == "tsa" else it.root["tlogs"][-1]["publicKey"]
    found["validFor"]["end"] = end.isoformat()


def _logged(it: Case) -> datetime:
    return datetime.fromtimestamp(int(it.entry["integratedTime"]), UTC)


def _late(s: Services) -> TimestampAuthority:
    return _at(s.lab.stamper, datetime.now(UTC) + HOUR)


def _at(like: TimestampAuthority, when: datetime) -> TimestampAuthority:
    """The same authority, whose clock stands at `when`."""
    found = copy.copy(like)
    found.clock = lambda: when
    return found


def _signature(it: Case) -> bytes:
    return raw(it.bundle["messageSignature"]["signature"])


def _restamped(make: Callable[[Services], TimestampAuthority], **trusted: bool) -> Make:
    """A file, stamped by another authority; `trusted`: the root names that one."""

    def made(s: Services) -> Case:
        stamper = make(s)
        found = s.new(s.sign(), stamper)
        if trusted.get("trusted"):
            found.root["timestampAuthorities"] = [authority_of(stamper)]
        return found

    return made


def _with_certificates(begin: timedelta, end: timedelta) -> TimestampAuthority:
    """An authority whose certificates are for that time, from now; its clock stands two minutes before."""
    now = datetime.now(UTC)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(certificates, "BACKDATED", -begin)
        patch.setattr(certificates.builder_for, "__defaults__", (end,))
        return TimestampAuthority(lambda: now - timedelta(minutes=2))


CASES.changed(
    "set-invalid-signature_fail",
    file_v1,
    lambda it: it.entry["inclusionPromise"].update(
        signedEntryTimestamp=flip(it.entry["inclusionPromise"]["signedEntryTimestamp"])
    ),
)
CASES["integrated-time-in-future_fail"] = lambda s: s.old(s.sign(), when=datetime.now(UTC) + HOUR)
CASES.changed(
    "trust-root-tlog-missing-validity-start_fail",
    file_v1,
    lambda it: it.root["tlogs"][-1]["publicKey"]["validFor"].pop("start"),
)
CASES.changed("trust-root-tlog-validity-end-inclusive", file_v1, lambda it: _until(it, "log", _logged(it)))


@CASES.add
def _trust_root_tsa_validity_end_inclusive(s: Services) -> Case:
    when = datetime.now(UTC).replace(microsecond=0)
    found = s.new(s.sign(), _at(s.lab.stamper, when))
    _until(found, "tsa", when)
    return found


@CASES.add
def _rekor2_timestamp_outside_trust_root_tsa_validity_fail(s: Services) -> Case:
    found = file_v2(s)
    _until(found, "tsa", datetime.now(UTC) - timedelta(minutes=1))
    return found


@CASES.add
def _rekor2_timestamp_wrong_tsa_validity_borrow_fail(s: Services) -> Case:
    found = _rekor2_timestamp_outside_trust_root_tsa_validity_fail(s)
    empty = authority_of(s.other.stamper, end=datetime.now(UTC) + DAY)
    empty["certChain"] = {"certificates": []}
    found.root["timestampAuthorities"].append(empty)
    return found


def test_a_window_is_that_of_the_authority_that_stamped(services: Services, tmp_path: Path) -> None:
    """As the case before; the other authority, whose window is open, has certificates, too: its own."""
    found = file_v2(services)
    found.root["timestampAuthorities"].append(authority_of(services.other.stamper, end=datetime.now(UTC) + DAY))
    assert found.verdict(tmp_path) == 0
    _until(found, "tsa", datetime.now(UTC) - timedelta(minutes=1))
    assert found.verdict(tmp_path) == 4


CASES.changed("rekor2-no-timestamp_fail", file_v2, lambda it: it.material.pop("timestampVerificationData"))
CASES.changed(
    "rekor2-timestamp-payload-mismatch_fail",
    file_v2,
    lambda it: it.stamps(stamp(it.services.lab.stamper, b"another signature")),
)
CASES.changed(
    "rekor2-timestamp-with-incorrect-time_fail",
    file_v2,
    lambda it: it.stamps(stamp(_late(it.services), _signature(it))),
)
CASES.changed(
    "rekor2-multiple-timestamps-one-outside-cert-validity_fail",
    file_v2,
    lambda it: it.stamps(stamp(it.services.lab.stamper, _signature(it)), stamp(_late(it.services), _signature(it))),
)
CASES["rekor2-timestamp-with-embedded-cert"] = file_v2
CASES.changed(
    "rekor2-timestamp-without-embedded-cert",
    file_v2,
    lambda it: it.stamps(without_certificate(stamp(it.services.lab.stamper, _signature(it)))),
)
CASES["rekor2-timestamp-untrusted-tsa-with-embedded-cert_fail"] = _restamped(lambda s: s.other.stamper)
CASES.changed(
    "rekor2-timestamp-untrusted-tsa-without-embedded-cert_fail",
    file_v2,
    lambda it: it.stamps(without_certificate(stamp(it.services.other.stamper, _signature(it)))),
)
CASES["rekor2-timestamp-with-expired-cert-chain"] = _restamped(
    lambda _: _with_certificates(-5 * timedelta(minutes=1), -timedelta(minutes=1)), trusted=True
)
CASES["rekor2-timestamp-outside-tsa-cert-validity_fail"] = _restamped(
    lambda _: _with_certificates(-timedelta(minutes=1), HOUR), trusted=True
)


@CASES.add
def _sct_duplicate_intermediate_name(s: Services) -> Case:
    """An authority of the same name and another key stands before the one that issued."""
    found, decoy = file_v1(s), copy.deepcopy(s.root["certificateAuthorities"][0])
    named = make_root("code signing")
    assert named.certificate.subject == s.lab.authority.root.certificate.subject
    decoy["certChain"]["certificates"] = [{"rawBytes": text(each)} for each in named.chain_der]
    found.root["certificateAuthorities"].insert(0, decoy)
    return found


@CASES.add
def _invalid_ct_key_fail(s: Services) -> Case:
    found = file_v1(s)
    found.root["ctlogs"] = s.other.trusted_root["ctlogs"]
    return found


@CASES.add
def _bundle_with_sct_with_extensions(s: Services) -> Case:
    """The certificate's time stamp of its own log has extensions, which are signed (RFC 6962 section 3.2)."""

    def listed(self: certificate_authority.CertificateAuthority, precertificate: bytes) -> bytes:
        kind, when = bytes(2), int(datetime.now(UTC).timestamp() * 1000).to_bytes(8, "big")
        entry = certificate_authority._key_hash(self.root.key.public_key()) + len(precertificate).to_bytes(3, "big")
        extensions = certificate_authority._sized(b"extensions")
        signed = kind + when + (1).to_bytes(2, "big") + entry + precertificate + extensions
        signature = self.ct_key.sign(signed, ec.ECDSA(SHA256()))
        sct = b"\0" + self.ct_log_id + when + extensions + certificate_authority.SHA256_ECDSA
        sct += certificate_authority._sized(signature)
        return der.encode(der.OCTETS, certificate_authority._sized(certificate_authority._sized(sct)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(certificate_authority.CertificateAuthority, "_timestamp_list", listed)
        return file_v1(s)


# Entries of the kind `intoto`, which older clients made.


def intoto(s: Services) -> Case:
    return s.old(s.sign(STATEMENT), "intoto")


CASES["intoto-with-custom-trust-root"] = intoto
CASES.changed("intoto-missing-inclusion-proof_fail", intoto, lambda it: it.entry.pop("inclusionProof"))
CASES.changed("intoto-log-entry-mismatch_fail", intoto, entry_of(lambda s: s.old(s.sign(statement()), "intoto")))
CASES["intoto-set-outside-signing-cert-validity_fail"] = lambda s: s.old(
    s.sign(STATEMENT), "intoto", datetime.now(UTC) + HOUR
)


@CASES.add
def _intoto_tsa_timestamp_outside_cert_validity_fail(s: Services) -> Case:
    signed = s.sign(STATEMENT)
    found = s.old(signed, "intoto")
    found.stamps(stamp(_late(s), signed.signature))
    return found


@CASES.add
def _intoto_expired_certificate_fail(s: Services) -> Case:
    """The root's authority of certificates is for another time."""
    found = intoto(s)
    found.root["certificateAuthorities"][0]["validFor"]["end"] = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    return found


@pytest.mark.parametrize("name", sorted(CASES))
def test_case(services: Services, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    judged(name, CASES[name](services), tmp_path, capsys)
