# SPDX-License-Identifier: Apache-2.0
"""A VEX document (CycloneDX 1.6): what a vulnerability means for parts of one release.

Guards: it points at the parts by BOM-Link into the release's own bill of materials, so that it cannot be taken for a
statement about another release's part of the same name; states and justifications are the standard's. The same input
gives the same bytes. Leaves to others: signing.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from assay.errors import UsageFault
from assay.formats.cyclonedx_bom import SERIAL_NAMESPACE
from assay.model.artifact import Release
from assay.model.parts import Part

if TYPE_CHECKING:
    from cyclonedx.model.vulnerability import Vulnerability


@dataclass(frozen=True)
class VexSaid:
    """What is said of a vulnerability, in CycloneDX's words for state, justification and responses."""

    vulnerability: str
    state: str
    justification: str | None = None
    responses: tuple[str, ...] = ()
    detail: str = ""


def vex_document(release: Release, bill: Mapping[str, Any], parts: Sequence[Part], said: VexSaid, at: str) -> bytes:
    """CycloneDX 1.6 JSON. `at`: RFC 3339, when it is said. Raises `UsageFault` for what the standard does not allow."""
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6

    product = Component(
        type=ComponentType.FIRMWARE, name=release.name, version=release.version, bom_ref=f"{release.reference}"
    )
    metadata = BomMetaData(component=product)
    metadata.timestamp = None  # type: ignore[assignment]  # when it was said stands in the analysis
    bom = Bom(
        serial_number=SERIAL_NAMESPACE, metadata=metadata, vulnerabilities=[_vulnerability(bill, parts, said, at)]
    )
    digest = hashlib.sha256(JsonV1Dot6(bom).output_as_string().encode()).hexdigest()
    bom.serial_number = uuid.uuid5(SERIAL_NAMESPACE, digest)
    document = json.loads(JsonV1Dot6(bom).output_as_string())
    return (json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _vulnerability(bill: Mapping[str, Any], parts: Sequence[Part], said: VexSaid, at: str) -> Vulnerability:
    from datetime import datetime

    from cyclonedx.model.impact_analysis import (
        ImpactAnalysisJustification,
        ImpactAnalysisResponse,
        ImpactAnalysisState,
    )
    from cyclonedx.model.vulnerability import BomTarget, Vulnerability, VulnerabilityAnalysis

    if said.state == "not_affected" and said.justification is None:
        text = "'not_affected' needs a justification"
        raise UsageFault(text, remedy="say why: --justification code_not_reachable (or another one)")
    justification = said.justification
    analysis = VulnerabilityAnalysis(
        state=ImpactAnalysisState(said.state),
        justification=ImpactAnalysisJustification(justification) if justification else None,
        responses=[ImpactAnalysisResponse(each) for each in said.responses],
        detail=said.detail or None,
        last_updated=datetime.fromisoformat(at),
    )
    return Vulnerability(
        bom_ref=f"vulnerability:{said.vulnerability}",
        id=said.vulnerability,
        analysis=analysis,
        affects=[BomTarget(ref=_link(bill, part.ref)) for part in parts],
    )


def _link(bill: Mapping[str, Any], ref: str) -> str:
    """BOM-Link (CycloneDX: `urn:cdx:SERIAL/VERSION#REF`)."""
    serial = str(bill.get("serialNumber", "")).removeprefix("urn:uuid:")
    return f"urn:cdx:{serial}/{bill.get('version', 1)}#{quote(ref, safe='')}"
