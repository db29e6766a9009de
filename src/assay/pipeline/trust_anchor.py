# SPDX-License-Identifier: Apache-2.0
"""The trust file that a history is verified with, and the digest that says which one it was.

Guards: a trust file that is there and is not in order verifies nothing (status 4), rather than being a slip of the pen.
Leaves to others: reading it (`trust_file`).
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from assay.errors import ManifestFault, NotVerified
from assay.model.trust import TrustFile
from assay.pipeline.trust_file import load_trust


def load_anchor(path: Path) -> tuple[TrustFile, str]:
    """The trust file at `path` and the SHA-256 of its bytes.

    Raises `ManifestFault` when there is none, `NotVerified` naming file and line when it was damaged.
    """
    if not path.is_file():
        return load_trust(path), ""
    try:
        trust = load_trust(path)
        return trust, hashlib.sha256(path.read_bytes()).hexdigest()
    except ManifestFault as fault:
        raise NotVerified(f"trust file {fault.message}", remedy=fault.remedy) from fault
