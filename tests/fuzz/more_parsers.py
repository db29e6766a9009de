# SPDX-License-Identifier: Apache-2.0
"""More targets of the fuzzer: what Sigstore's services give, trust files, and what stands on command lines.

The services are a lab that signs once, when this is imported, and is closed.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from conformance_bench import STATEMENT, Services
from keyless_bench import SHA256, sign_keyless, statement, trust_file
from rfc3161_client import HashAlgorithm, TimestampRequestBuilder

from assay.formats import (
    archive_stamp,
    artifact_signature,
    component_query,
    der,
    dsse,
    hardware_map,
    image_key,
    key_uri,
    keyless_proof,
    registry_address,
    release_bundle,
    signed_note,
    sigstore_bundle,
    tar_stream,
    tlog_tiles,
    trusted_root,
    tuf_keys,
)
from assay.formats import trust_file as trust_text
from assay.formats.statement_verifier import verify_statement
from assay.formats.time_stamps import proved_times
from assay.model.keyless import KeylessSettings
from assay.model.statement import PredicateType
from assay.model.trust import Role, TrustFile
from assay.simulation.sigstore_lab.lab import SigstoreLab
from assay.stages.manifest.read import read_manifest

with SigstoreLab() as _lab:
    KEYLESS = sign_keyless(_lab, statement())
    TRUST = trust_file(_lab)
    ROOT = trusted_root.read(json.dumps(_lab.trusted_root))
    _request = TimestampRequestBuilder().hash_algorithm(HashAlgorithm.SHA256).data(KEYLESS).build().as_bytes()
    STAMP = _lab.stamper.answer(_request)
    _services = Services(_lab, _lab)
    _OLDER = {kind: _services.old(_services.sign(STATEMENT), kind) for kind in ("hashedrekord", "intoto")}

_CERTIFICATE = base64.b64decode(json.loads(KEYLESS)["verificationMaterial"]["certificate"]["rawBytes"])
_NOTE = signed_note.write("x.example\n1\n", "x.example", bytes(32), bytes(64))
_NOW = datetime.now(UTC)


def _keyless(data: bytes) -> None:
    verify_statement(data, TRUST, role=Role.BUILDER, predicate_types={PredicateType.RELEASE}, at=_NOW)


def _older(kind: str) -> tuple[Callable[[bytes], object], bytes]:
    """An envelope in an older kind of log entry, by the root that trusts its log."""
    found = _OLDER[kind]
    root = json.dumps(found.root)

    def verify(data: bytes) -> None:
        keyless_proof.verify_keyless(data, sigstore_bundle.decode(data), root)

    return verify, json.dumps(found.bundle).encode()


def _client_root(data: bytes) -> None:
    trusted_root.for_client(data.decode("utf-8", "replace"), [_NOW], [_NOW])


def _trust(data: bytes) -> None:
    trust = read_manifest(data, "trust.toml", TrustFile)
    trust_text.faults(trust)
    if trust.seal is not None:
        trust_text.seal_is_good(data, trust.seal)


def _tar(data: bytes) -> None:
    for member in tar_stream.read_members(io.BytesIO(data).read):
        for _ in member.chunks:
            pass


def _archive() -> bytes:
    """A file of 5 bytes, as `tar_stream` writes it."""
    return tar_stream.header_of("a", 5) + b"bytes" + tar_stream.padding_of(5) + bytes(2 * tar_stream.BLOCK)


def _text(read: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda data: read(data.decode("utf-8", "replace"))


_TUF_KEYS = {
    name: {"keyval": {"public": public}} for name, public in (("a", "00" * 32), ("b", "-----BEGIN PUBLIC KEY-----"))
}
_TUF_ROLES = {"root": {"keyids": ["a", "b"], "threshold": 1}}
_TUF_ROOT = json.dumps({"signed": {"_type": "root", "keys": _TUF_KEYS, "roles": _TUF_ROLES}}).encode()

TARGETS: dict[str, tuple[Callable[[bytes], object], bytes]] = {
    "keyless": (_keyless, KEYLESS),
    "artifact-bundle": (lambda data: artifact_signature.read(data, bytes.fromhex(SHA256)), KEYLESS),
    "envelope-in-hashedrekord": _older("hashedrekord"),
    "envelope-in-intoto": _older("intoto"),
    "client-root": (_client_root, json.dumps(_lab.trusted_root).encode()),
    "envelope": (lambda data: dsse.decode_base64(data.decode("ascii", "replace"), "it"), b"cGF5bG9hZA=="),
    "time-stamp": (lambda data: proved_times((data,), KEYLESS, ROOT), STAMP),
    "archive-stamp": (lambda data: archive_stamp.archive_times(KEYLESS, (data,), TRUST), STAMP),
    "certificate-names": (keyless_proof.names_of, _CERTIFICATE),
    "der": (lambda data: list(der.items(data)), STAMP),
    "note": (signed_note.parse, _NOTE),
    "tile": (lambda data: tlog_tiles.decode_hashes(data, 2, "it"), hashlib.sha256().digest() * 2),
    "trust-file": (_trust, trust_text.encode(TRUST)),
    "keyless-settings": (
        lambda data: read_manifest(data, "keyless.toml", KeylessSettings),
        b'schema = "assay.keyless/1"\nissuer = "https://x.example"\nidentity = "https://x.example/y"\n',
    ),
    "image-key": (_text(image_key.parse_image_key), b"-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n"),
    "tar": (_tar, _archive()),
    "release-bundle": (release_bundle.read_index, b"{}"),
    "hardware-map": (
        lambda data: hardware_map.read_map(data, "map.yml"),
        b"- connected: true\n  id: 0123\n  platform: x\n  serial: /dev/ttyACM0\n",
    ),
    "key-uri": (_text(key_uri.parse_token_uri), b"pkcs11:token=factory;object=x;id=%01"),
    "registry-address": (_text(registry_address.parse_address), b"registry.example:5000/assay/x"),
    "component-query": (_text(component_query.parse_query), b"openssl@<3.0.8"),
    "tuf-keys": (tuf_keys.check_distinct_keys, _TUF_ROOT),
}
"""As in `parsers`, which takes these, too."""
