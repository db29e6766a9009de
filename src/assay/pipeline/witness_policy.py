# SPDX-License-Identifier: Apache-2.0
"""Witness policies on disk: whose cosignatures count, and how many.

Guards: a witness that is there twice, by whatever name, counts once: such a file is refused. Leaves to others: what is
held against it (`stages.records.witnessed`).
"""

from __future__ import annotations

from pathlib import Path

from assay.backends.named_file import read_named
from assay.errors import ManifestFault, NotVerified
from assay.formats.signed_note import COSIGNATURE, parse_vkey
from assay.formats.toml_document import MANIFEST_BYTES_MAX, TomlDocument
from assay.model.witness import WitnessPolicy
from assay.stages.manifest.read import read_manifest


def load_policy(path: Path) -> WitnessPolicy:
    """The policy in the file. Raises `ManifestFault` with file and line."""
    try:
        raw = read_named(path, MANIFEST_BYTES_MAX + 1)
    except OSError as error:
        raise ManifestFault(str(path), None, f"cannot be read: {error.strerror}", remedy="check the path") from error
    policy = read_manifest(raw, str(path), WitnessPolicy)
    document, seen = TomlDocument(raw, str(path)), set()
    for place, witness in enumerate(policy.witnesses):
        line = document.line_of(("witnesses", place, "vkey"))
        try:
            key = parse_vkey(witness.vkey, COSIGNATURE)
        except NotVerified as error:
            raise ManifestFault(
                str(path), line, error.message, remedy="`assay log witness --vkey` prints it"
            ) from error
        if key.public in seen:
            raise ManifestFault(str(path), line, "this witness is there twice", remedy="name each once")
        seen.add(key.public)
    if policy.threshold > len(policy.witnesses):
        line = document.line_of(("threshold",))
        raise ManifestFault(str(path), line, f"expected at least {policy.threshold} witnesses", remedy="add some")
    return policy
