# SPDX-License-Identifier: Apache-2.0
"""The bill of materials of the hardware module: CycloneDX 1.6 JSON with the board as a component of type `device`.

Guards: the same board file and the same firmware give the same bytes; firmware is named by the digest of its image, and
its own bill of materials by BOM-Link. Leaves to others: what is soldered on, beyond what the board file lists.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assay.formats.cyclonedx_bom import SERIAL_NAMESPACE
from assay.model.board import Board

if TYPE_CHECKING:
    from cyclonedx.model.component import Component


@dataclass(frozen=True)
class DeviceFirmware:
    """A release that the device is delivered with. `bill`: `SERIAL/VERSION` of its bill of materials."""

    name: str
    version: str
    kind: str
    file_sha256: str
    bill: str


def device_json(board: Board, firmware: Sequence[DeviceFirmware]) -> bytes:
    """The bill as CycloneDX 1.6 JSON, two spaces deep, the same bytes for the same input."""
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.output.json import JsonV1Dot6

    device = _device(board)
    parts = [*_hardware(board), *(_firmware(each) for each in firmware)]
    metadata = BomMetaData(component=device)
    metadata.timestamp = None  # type: ignore[assignment]  # 1.6 has it optional; a time would differ each time
    bom = Bom(serial_number=SERIAL_NAMESPACE, components=parts, metadata=metadata)
    bom.register_dependency(device, parts)
    digest = hashlib.sha256(JsonV1Dot6(bom).output_as_string().encode()).hexdigest()
    bom.serial_number = uuid.uuid5(SERIAL_NAMESPACE, digest)
    document = json.loads(JsonV1Dot6(bom).output_as_string())
    return (json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _device(board: Board) -> Component:
    from cyclonedx.model import Property
    from cyclonedx.model.component import Component, ComponentType

    properties = [Property(name="assay:emulated", value="true")] if board.emulated else []
    return Component(
        type=ComponentType.DEVICE,
        name=board.name,
        version=f"revision {board.revision}",
        bom_ref=f"board:{board.name}@{board.revision}",
        description=board.description or None,
        properties=[*properties, Property(name="assay:flash-bytes", value=str(board.flash.size))],
    )


def _hardware(board: Board) -> list[Component]:
    from cyclonedx.model.component import Component, ComponentType

    parts = [
        Component(type=ComponentType.DEVICE, name=name, bom_ref=f"peripheral:{name}")
        for name in sorted(set(board.peripherals))
    ]
    if (rom := board.mask_rom) is not None:
        ref = f"mask-rom:{rom.name}"
        parts.append(Component(type=ComponentType.FIRMWARE, name=rom.name, version=rom.version, bom_ref=ref))
    return parts


def _firmware(firmware: DeviceFirmware) -> Component:
    from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, Property, XsUri
    from cyclonedx.model.component import Component, ComponentType

    return Component(
        type=ComponentType.FIRMWARE,
        name=firmware.name,
        version=firmware.version,
        bom_ref=f"{firmware.name}@{firmware.version}",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=firmware.file_sha256)],
        properties=[Property(name="assay:kind", value=firmware.kind)],
        external_references=[ExternalReference(type=ExternalReferenceType.BOM, url=XsUri(f"urn:cdx:{firmware.bill}"))],
    )
