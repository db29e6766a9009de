# SPDX-License-Identifier: Apache-2.0
"""Rows about verifying: a keyless statement, cold (a process) and warm (a call), beside sigstore-python on the same
bundle; a statement by key; a time stamp beside `openssl ts`.

Ours reads a trust file, has the same client verify, and verifies log entry and time stamp again by readers of its own:
what the ratio shows is what that costs.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding
from measuring import in_turn, program, row

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from keyless_bench import WHO, sign_keyless, statement, trust_file
from memory_signer import MemorySigner, trust_in
from sigstore.models import Bundle, ClientTrustConfig
from sigstore.verify import Verifier, policy

from assay.formats.statement_verifier import verify_statement
from assay.formats.time_stamps import proved_times
from assay.formats.trusted_root import read as read_root
from assay.model.statement import PredicateType
from assay.model.trust import Role, TrustFile
from assay.pipeline.trust_file import write_trust
from assay.simulation.sigstore_lab.lab import SigstoreLab

ARTIFACT = b"the image\n"
KINDS = {PredicateType.RELEASE}
CALLS = 50
"""Verifications in one measurement of what is warm."""


def verified(rounds: int) -> None:
    """Rows: `assay verify` and the same call, against the Sigstore client; a statement by key; a time stamp."""
    with SigstoreLab() as lab, tempfile.TemporaryDirectory(prefix="assay-bench-verify-") as name:
        folder, trust = Path(name), trust_file(lab)
        bundle = sign_keyless(lab, statement(sha256=hashlib.sha256(ARTIFACT).hexdigest()))
        (folder / "artifact").write_bytes(ARTIFACT)
        (folder / "bundle.json").write_bytes(bundle)
        (folder / "trust_config.json").write_text(json.dumps(lab.trust_config))
        write_trust(folder / "trust.toml", trust, replace=False)
        _cold(folder, lab.url, rounds)
        _warm(bundle, trust, lab, rounds)
        _time_stamp(folder, bundle, lab, rounds)


def _cold(folder: Path, issuer: str, rounds: int) -> None:
    at, python = str(folder / "artifact"), sys.executable
    file, config = str(folder / "bundle.json"), str(folder / "trust_config.json")
    who = ("--cert-identity", WHO, "--cert-oidc-issuer", issuer)
    taken = in_turn(
        rounds,
        ours=program(python, "-m", "assay", "verify", file, "--artifact", at, "--trust", str(folder / "trust.toml")),
        theirs=program(
            python, "-m", "sigstore", "--trust-config", config, "verify", "identity", "--bundle", file, *who, at
        ),
    )
    _row("verify a keyless statement, cold", taken, "sigstore-python")


def _warm(bundle: bytes, trust: TrustFile, lab: SigstoreLab, rounds: int) -> None:
    signer, sha256 = MemorySigner(), hashlib.sha256(ARTIFACT).hexdigest()
    by_key, key_trust = signer.sign_statement(Role.BUILDER, statement(sha256=sha256)), trust_in(signer)
    root = ClientTrustConfig.from_json(json.dumps(lab.trust_config)).trusted_root
    wanted = policy.Identity(identity=WHO, issuer=lab.url)
    now = datetime.now(UTC)

    def ours(data: bytes, trusted: TrustFile) -> None:
        for _ in range(CALLS):
            verify_statement(data, trusted, role=Role.BUILDER, predicate_types=KINDS, subject_sha256=sha256, at=now)

    def theirs() -> None:
        for _ in range(CALLS):
            Verifier(trusted_root=root).verify_dsse(Bundle.from_json(bundle), wanted)

    taken = in_turn(rounds, ours=lambda: ours(bundle, trust), theirs=theirs, key=lambda: ours(by_key, key_trust))
    each = {name: taken_s / CALLS for name, taken_s in taken.items()}
    _row("verify a keyless statement, warm", each, "sigstore-python")
    _row("verify a statement by key, warm", each | {"ours": each["key"]}, "sigstore-python, keyless")


def _time_stamp(folder: Path, bundle: bytes, lab: SigstoreLab, rounds: int) -> None:
    """Ours is a call, theirs a process: the client of a time stamp that people have is a command."""
    if shutil.which("openssl") is None:
        row("verify a time stamp", "openssl is not installed", "", None)
        return
    document = json.loads(bundle)
    signature = base64.b64decode(document["dsseEnvelope"]["signatures"][0]["sig"])
    stamps = document["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"]
    stamp = base64.b64decode(stamps[0]["signedTimestamp"])
    root = read_root(json.dumps(lab.trusted_root))
    for name, content in (("stamp.tsr", stamp), ("signature", signature)):
        (folder / name).write_bytes(content)
    (folder / "tsa.pem").write_bytes(lab.stamper.root.certificate.public_bytes(Encoding.PEM))
    data = ("-in", str(folder / "stamp.tsr"), "-data", str(folder / "signature"))

    def ours() -> None:
        for _ in range(CALLS):
            assert proved_times((stamp,), signature, root)

    openssl = program("openssl", "ts", "-verify", *data, "-CAfile", str(folder / "tsa.pem"))
    taken = in_turn(rounds, ours=ours, theirs=openssl)
    _row("verify a time stamp (a call)", taken | {"ours": taken["ours"] / CALLS}, "openssl ts, a process")


def _row(what: str, taken: dict[str, float], theirs: str) -> None:
    """One line, of the seconds in `taken` (`ours`, `theirs`)."""
    ratio = taken["ours"] / taken["theirs"]
    row(what, f"{taken['ours'] * 1e3:.1f} ms", f"{taken['theirs'] * 1e3:.1f} ms ({theirs})", ratio)
