# SPDX-License-Identifier: Apache-2.0
"""The witness of a site: its key, its memory, and the logs that it cosigns."""

from __future__ import annotations

from pathlib import Path

from assay.backends.logs.witness_heads import WitnessHeads
from assay.errors import UsageFault
from assay.formats import cosignature
from assay.formats.public_key import raw_ed25519
from assay.formats.signed_note import COSIGNATURE, VerifierKey
from assay.model.trust import Role
from assay.pipeline.site import Site
from assay.pipeline.trust_file import load_trust
from assay.stages.records.witness import WitnessDesk

MEMORY_FILE = "witness.sqlite"


def open_desk(site: Site, trust_path: Path) -> WitnessDesk:
    """The witness of `site` for the logs in the trust file. Raises `ManifestFault`, `UsageFault`."""
    trust = load_trust(trust_path)
    if not trust.logs:
        raise UsageFault(f"{trust_path} names no log", remedy="write one with `assay keys trust` at the other site")
    return WitnessDesk(trust, site.signers, WitnessHeads(site.folder / MEMORY_FILE), site.clock)


def own_vkey(site: Site) -> str:
    """The verifier key of the witness of `site`."""
    public = raw_ed25519(site.signers.public_key(Role.WITNESS).public)
    return str(VerifierKey(cosignature.witness_name(public), public, COSIGNATURE))
