# SPDX-License-Identifier: Apache-2.0
"""Cases of the public conformance suite for Sigstore clients: by their names, and what each is a change of."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from conformance_bench import STATEMENT, Case, Services, Signed, raw, text
from cryptography.hazmat.primitives.asymmetric import ec

Make = Callable[[Services], Case]


class Cases(dict[str, Make]):
    """The cases of one subject, by their names."""

    def add(self, make: Make) -> Make:
        """The function's name is the case's, with `_` for `-`."""
        name = make.__name__.removeprefix("_")
        good = name.removesuffix("_fail")
        self[good.replace("_", "-") + name[len(good) :]] = make
        return make

    def changed(self, name: str, make: Make, change: Callable[[Case], object]) -> None:
        """The case `name` is what `make` makes, changed."""

        def made(services: Services) -> Case:
            found = make(services)
            change(found)
            return found

        self[name] = made


def file_v1(s: Services) -> Case:
    return s.old(s.sign())


def envelope_v1(s: Services) -> Case:
    return s.old(s.sign(STATEMENT), "dsse")


def hashed_envelope_v1(s: Services) -> Case:
    return s.old(s.sign(STATEMENT))


def file_v2(s: Services) -> Case:
    return s.new(s.sign())


def envelope_v2(s: Services) -> Case:
    return s.new(s.sign(STATEMENT))


def by_key(payload: bytes | None, kind: str) -> Make:
    return lambda s: s.old(Signed(ec.generate_private_key(ec.SECP256R1()), None, payload), kind)


def flip(said: str, at: int = 20) -> str:
    """One bit of what is said in base64."""
    data = bytearray(raw(said))
    data[at] ^= 1
    return text(bytes(data))


def entry_of(other: Callable[[Services], Case]) -> Callable[[Case], None]:
    """The change that puts the log entry of another case into one."""

    def change(it: Case) -> None:
        it.material["tlogEntries"] = other(it.services).material["tlogEntries"]

    return change


MISUSED = "managed-key-and-client-identity_fail"

MALFORMED, OTHER_ENTRY = r"InvalidBundle: verificationMaterial\.tlogEntries\.0\.", r"inconsistent with other materials"
CHECKPOINT, INCLUSION = r"invalid log entry: malformed LogCheckpoint", r"invalid log entry: inclusion proof contains"
NO_TIME, CHAIN = r"not enough sources of verified time", r"cert is not valid at validation time"
REASONS = {
    "bundle-empty-certificate-chain_fail": r"the bundle's certificate is malformed",
    "bundle-from-wrong-instance_fail": NO_TIME,
    "bundle-invalid-base64-signature_fail": r"is not standard base64",
    "bundle-malformed-json_fail": r"is not strict JSON",
    "bundle-negative-log-index_fail": MALFORMED,
    "bundle-unknown-version_fail": r"the bundle's mediaType",
    "bundle-with-root-cert_fail": r"brings a root certificate along",
    "checkpoint-bad-keyhint_fail": r"checkpoint: Signature not found for log ID",
    "checkpoint-wrong-roothash_fail": r"contains invalid root hash signature",
    "cve-2022-36056-swapped-tlog-entry_fail": OTHER_ENTRY,
    "dsse-invalid-sig_fail": r"DSSE: invalid signature",
    "dsse-mismatch-envelope_fail": r"log entry payload hash does not match",
    "dsse-mismatch-sig_fail": r"log entry signatures do not match",
    "dsse-statement-missing-type_fail": r"the statement's _type is not",
    "dsse-statement-unknown-type_fail": r"the statement's _type is not",
    "dsse-with-hashedrekord-invalid-sig_fail": r"Signature is invalid for input",
    "dsse-with-hashedrekord-mismatch-envelope_fail": OTHER_ENTRY,
    "dsse-with-hashedrekord-mismatch-sig_fail": OTHER_ENTRY,
    "inclusion-proof-corrupted-hash_fail": INCLUSION,
    "incorrect-public-key_fail": OTHER_ENTRY,
    "integrated-time-in-future_fail": CHAIN,
    "intoto-expired-certificate_fail": r"no authority of certificates of the trusted root counts at",
    "intoto-log-entry-mismatch_fail": r"about another signature, another key or other bytes",
    "intoto-missing-inclusion-proof_fail": MALFORMED,
    "intoto-set-outside-signing-cert-validity_fail": CHAIN,
    "intoto-tsa-timestamp-outside-cert-validity_fail": CHAIN,
    "invalid-checkpoint-signature_fail": r"checkpoint: invalid signature",
    "invalid-ct-key_fail": r"SCT verify failed",
    "invalid-inclusion-proof_fail": INCLUSION,
    MISUSED: r"a key, and not both",
    "managed-key-no-key_fail": r"names a key, and an identity was given",
    "managed-key-wrong-key_fail": r"is not by this key over this file",
    "message-digest-mismatch_fail": r"about another file",
    "rekor2-checkpoint-missing-log-signature_fail": r"must contain at least one signature",
    "rekor2-checkpoint-missing-origin_fail": CHECKPOINT,
    "rekor2-checkpoint-missing-root-hash_fail": CHECKPOINT,
    "rekor2-checkpoint-missing-size_fail": CHECKPOINT,
    "rekor2-checkpoint-no-matching-signature_fail": r"checkpoint: Signature not found for log ID",
    "rekor2-dsse-invalid-sig_fail": r"DSSE: invalid signature",
    "rekor2-dsse-mismatch-envelope_fail": OTHER_ENTRY,
    "rekor2-dsse-mismatch-sig_fail": OTHER_ENTRY,
    "rekor2-multiple-timestamps-one-outside-cert-validity_fail": CHAIN,
    "rekor2-no-inclusion-proof_fail": MALFORMED,
    "rekor2-no-timestamp_fail": r"must contain an inclusion promise or signed timestamp",
    "rekor2-timestamp-outside-trust-root-tsa-validity_fail": NO_TIME,
    "rekor2-timestamp-outside-tsa-cert-validity_fail": NO_TIME,
    "rekor2-timestamp-payload-mismatch_fail": NO_TIME,
    "rekor2-timestamp-untrusted-tsa-with-embedded-cert_fail": NO_TIME,
    "rekor2-timestamp-untrusted-tsa-without-embedded-cert_fail": NO_TIME,
    "rekor2-timestamp-with-incorrect-time_fail": CHAIN,
    "rekor2-timestamp-wrong-tsa-validity-borrow_fail": r"missing a certificate in Certificate Authority",
    "set-invalid-signature_fail": r"invalid inclusion promise",
    "signature-mismatch_fail": r"Signature is invalid for input",
    "trust-root-tlog-missing-validity-start_fail": r"the trusted root is malformed",
    "wrong-hashedrekord-artifact_fail": r"Signature is invalid for input",
    "wrong-hashedrekord-cert-and-sig_fail": OTHER_ENTRY,
    "wrong-hashedrekord-entry_fail": OTHER_ENTRY,
    "wrong-material_fail": r"about another file",
}
"""What each is refused for, so that none is for the sake of something else."""


def judged(name: str, found: Case, folder: Path, told: pytest.CaptureFixture[str]) -> None:
    """Refused is status 4, with its reason; 2 where key and identity are given together."""
    status, reason = found.verdict(folder), told.readouterr().err
    if name.endswith("_fail"):
        assert status == (2 if name == MISUSED else 4), reason
        assert re.search(REASONS[name], reason) and "Traceback" not in reason, reason
    else:
        assert status == 0, reason
