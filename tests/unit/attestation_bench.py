# SPDX-License-Identifier: Apache-2.0
"""Bundles of a builder that signs keyless and of one that signs by key, and the question that all attacks are about."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from keyless_bench import SHA256, sign_keyless, statement, trust_file
from memory_signer import MemorySigner

from assay.backends.logs.rekor_client import services_of
from assay.formats.statement_verifier import verify_statement
from assay.model.statement import PredicateType
from assay.model.trust import Role, TrustFile
from assay.pipeline.log_submit import log_bundle
from assay.simulation.sigstore_lab.lab import SigstoreLab

KIND = PredicateType.RELEASE
NOW = datetime.now(UTC)
DAY = timedelta(days=1)


@dataclass
class Scene:
    """A lab, a builder that signs there, one that signs by key, and bundles of both."""

    lab: SigstoreLab
    signer: MemorySigner = field(default_factory=MemorySigner)

    def __post_init__(self) -> None:
        self.keyless = sign_keyless(self.lab, statement())
        self.keyless_other = sign_keyless(self.lab, statement(extra="another artifact"))
        self.keyed = self.signer.sign_statement(Role.BUILDER, statement())
        self.key = self.signer.public_key(Role.BUILDER)
        self.logged = self.log(self.keyed)

    def log(self, bundle: bytes) -> bytes:
        """The bundle with a log entry and a time stamp."""
        where = services_of(self.lab.trust_config)
        return log_bundle(bundle, self.key, where, json.dumps(self.lab.trusted_root))[0]

    def trust(self, **changes: Any) -> TrustFile:
        """Both builders are trusted; `changes` are of the key."""
        key = self.key.model_copy(update={"sigstore": "lab"} | changes)
        return trust_file(self.lab, keys=(key,))


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with SigstoreLab() as lab:
        yield Scene(lab)


def check(bundle: bytes, trust: TrustFile, **options: Any) -> Any:
    """The question that all attacks are about."""
    asked = {"role": Role.BUILDER, "predicate_types": {KIND}, "subject_sha256": SHA256, "at": datetime.now(UTC) + DAY}
    return verify_statement(bundle, trust, **(asked | options))


def changed(bundle: bytes, change: Any) -> bytes:
    """The bundle with its document changed."""
    document = json.loads(bundle)
    change(document)
    return json.dumps(document).encode()


def changed_entry(part: str) -> Any:
    """A change of a bundle's log entry, for `changed`."""

    def change(document: dict[str, Any]) -> None:
        entry = document["verificationMaterial"]["tlogEntries"][0]
        proof = entry["inclusionProof"]
        if part == "body":
            body = base64.b64decode(entry["canonicalizedBody"]).replace(b"SHA2_256", b"SHA2_257")
            entry["canonicalizedBody"] = base64.b64encode(body).decode()
        elif part == "root":
            proof["rootHash"] = base64.b64encode(b"r" * 32).decode()
        elif part == "index":
            proof["logIndex"] = str(int(proof["logIndex"]) + 1)
        elif part == "checkpoint":
            text = proof["checkpoint"]["envelope"]
            proof["checkpoint"]["envelope"] = text.replace("\n", "x\n", 1)
        elif part == "none":
            document["verificationMaterial"]["tlogEntries"] = []
        elif part == "junk":
            document["verificationMaterial"]["tlogEntries"] = [{}]
        else:
            document["verificationMaterial"]["tlogEntries"] = [entry, entry]

    return change
