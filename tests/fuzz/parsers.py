# SPDX-License-Identifier: Apache-2.0
"""Everything that reads bytes of others, as targets of a fuzzer: an error of ours, or a value, and nothing else.

`nox -s atheris` drives them by coverage; `tests/property/test_fuzz_targets.py` does it with Hypothesis in every run.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

import more_parsers
from memory_signer import MemorySigner, trust_in

from assay.errors import AssayError
from assay.formats import (
    canonical_json,
    checkpoint,
    cose_sign1,
    cosignature,
    deterministic_cbor,
    device_certificate,
    eat_claims,
    foreign_image,
    intel_hex,
    log_entry,
    mcuboot_image,
    oci_layout,
    public_key,
    signed_note,
    sigstore_bundle,
    strict_json,
    tlog_tiles,
    trace_archive,
    trusted_root,
    uf2,
    witness_request,
)
from assay.formats.public_key import raw_ed25519
from assay.formats.statement_verifier import read_statement, verify_statement
from assay.formats.witness_request import WitnessRequest
from assay.model.record import LogEntry, RecordType
from assay.model.statement import PredicateType, Statement, Subject
from assay.model.trust import Role
from assay.model.witness import WitnessPolicy
from assay.stages.manifest.read import read_manifest

SIGNER = MemorySigner()
TRUST = trust_in(SIGNER)
STATEMENT = canonical_json.encode_value(
    Statement(
        subject=(Subject(name="image", digest={"sha256": "ab" * 32}),),
        predicateType=PredicateType.RELEASE.value,
        predicate={"name": "blinky"},
    )
)
BUNDLE = SIGNER.sign_statement(Role.BUILDER, STATEMENT)
ENTRY = log_entry.encode(LogEntry(type=RecordType.TEST, record="0" * 64, payload="0" * 64, serial="U-1"))


def _note() -> bytes:
    head = checkpoint.Checkpoint("assay.local/x", 1, b"r" * 32)
    public = raw_ed25519(SIGNER.public_key(Role.LOG).public)
    return signed_note.write(head.text, head.origin, public, SIGNER.sign(Role.LOG, head.text.encode()))


NOTE = _note()
WITNESS = signed_note.VerifierKey("w", b"k" * 32, signed_note.COSIGNATURE)


def _bundle(data: bytes) -> None:
    verify_statement(data, TRUST, role=Role.BUILDER, predicate_types={PredicateType.RELEASE})


def _vkey(data: bytes) -> None:
    signed_note.parse_vkey(data.decode("utf-8", "replace"), signed_note.COSIGNATURE)


def _cosigned(data: bytes) -> None:
    cosignature.verify(data, WITNESS)


def _evidence(data: bytes) -> None:
    eat_claims.decode(cose_sign1.decode(data).payload)


def _certificate(data: bytes) -> None:
    device_certificate.verify(data, TRUST)


TARGETS: dict[str, tuple[Callable[[bytes], object], bytes]] = {
    "bundle": (_bundle, BUNDLE),
    "bundle-parts": (sigstore_bundle.decode, BUNDLE),
    "statement": (read_statement, STATEMENT),
    "json": (lambda data: strict_json.loads(data, "it"), STATEMENT),
    "trusted-root": (
        lambda data: trusted_root.read(data.decode("utf-8", "replace")),
        b'{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1","tlogs":[],"timestampAuthorities":[]}',
    ),
    "checkpoint": (lambda data: checkpoint.verify_with_trust(data, TRUST), NOTE),
    "vkey": (_vkey, str(WITNESS).encode()),
    "cosigned": (_cosigned, NOTE + cosignature.line(WITNESS, 1, bytes(64)).encode()),
    "cosignature": (cosignature.read_message, b"cosignature/v1\ntime 1\n" + NOTE.split(b"\n\n")[0] + b"\n"),
    "witness-request": (
        witness_request.decode,
        witness_request.encode(WitnessRequest(1, (bytes(32),), NOTE)),
    ),
    "entries": (lambda data: tlog_tiles.decode_entries(data, 1, "it"), tlog_tiles.encode_entries([ENTRY])),
    "log-entry": (lambda data: log_entry.decode(data, "it"), ENTRY),
    "image": (lambda data: mcuboot_image.verify_image(data, TRUST), bytes.fromhex("3db8f396") + bytes(60)),
    "foreign-image": (foreign_image.parse_foreign_image, bytes.fromhex("3db8f396") + bytes(60)),
    "cbor": (deterministic_cbor.decode, bytes.fromhex("a10102")),
    "evidence": (_evidence, bytes.fromhex("d28443a10126a04044deadbeef")),
    "certificate": (_certificate, bytes.fromhex("30820100")),
    "public-key": (
        lambda data: public_key.parse_public_key(data.decode("ascii", "replace")),
        SIGNER.public_key(Role.LOG).public.encode(),
    ),
    "uf2": (uf2.read_uf2, uf2.write_uf2([(0, bytes(300))], 1)),
    "intel-hex": (intel_hex.read_intel_hex, b":0100000001FE\n:00000001FF\n"),
    "store-index": (oci_layout.read_index, b'{"schemaVersion":2,"manifests":[]}'),
    "store-manifest": (oci_layout.read_manifest, b'{"schemaVersion":2,"layers":[]}'),
    "export": (trace_archive.decode, bytes(1024)),
    "witness-policy": (
        lambda data: read_manifest(data, "it", WitnessPolicy),
        b'schema = "assay.witnesses/1"\nthreshold = 1\n[[witnesses]]\nvkey = "x"\n',
    ),
    **more_parsers.TARGETS,
}
"""Name, what reads the bytes, and bytes to begin with."""


def run(name: str, data: bytes) -> None:
    """Have the target read `data`; whatever it raises that is no error of ours is a fault."""
    with contextlib.suppress(AssayError):
        TARGETS[name][0](data)
