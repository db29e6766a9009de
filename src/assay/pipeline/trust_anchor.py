# SPDX-License-Identifier: Apache-2.0
"""The trust file that a history is verified with, and the digest that says which one it was.

Guards: a trust file that is there and is not in order verifies nothing (status 4), rather than being a slip of the pen.
Leaves to others: reading it (`trust_file`).
"""

from __future__ import annotations

from pathlib import Path

from assay.errors import ManifestFault, NotVerified
from assay.model.trust import TrustFile
from assay.pipeline.trust_file import load_trust_and_digest


def load_anchor(path: Path) -> tuple[TrustFile, str]:
    """The trust file at `path` and the SHA-256 of its bytes.

    Raises `ManifestFault` when there is none, `NotVerified` naming file and line when it was damaged.
    """
    try:
        return load_trust_and_digest(path)
    except ManifestFault as fault:
        if not path.is_file():
            raise
        raise NotVerified(f"trust file {fault.message}", remedy=fault.remedy) from fault
