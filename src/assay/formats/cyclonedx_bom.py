# SPDX-License-Identifier: Apache-2.0
"""The software bill of materials of a built module: CycloneDX 1.6 JSON (ECMA-424).

Guards: the same artifact gives the same bytes: the serial number is derived from the content, and no time is written.
It names what ends up in the image: the module itself, the components that it says are in it, and of the compiler's
package the library parts that are linked in. Leaves to others: signing it.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assay.model.artifact import ToolIdentity
from assay.model.component import ModuleComponent

if TYPE_CHECKING:
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType

SERIAL_NAMESPACE = uuid.UUID("6b0c1f5e-0d5b-5c39-9d0c-2f4f5d1b7a10")
"""Namespace (RFC 9562 version 5) of our serial numbers; any fixed one does."""

LINKED_IN = {"ziglang": (("zig-std-crypto", "std.crypto: SHA-256 and Ed25519"), ("zig-compiler-rt", "compiler-rt"))}
"""Parts of a compiler's package that are linked into images: they are in the product, the compiler is not."""

COMPILER_LICENSES = {"ziglang": "MIT"}


@dataclass(frozen=True)
class BomSubject:
    """What the bill is about. `outputs`: file name to SHA-256 of everything that the build gave."""

    name: str
    version: str
    kind: str
    board: str
    license: str
    description: str
    payload_sha256: str
    source_digest: str
    outputs: dict[str, str]
    dependencies: tuple[tuple[str, str], ...]
    tools: tuple[ToolIdentity, ...]
    components: tuple[ModuleComponent, ...] = ()


def bom_json(subject: BomSubject) -> bytes:
    """The bill as CycloneDX 1.6 JSON, two spaces deep, the same bytes for the same subject."""
    from cyclonedx.output.json import JsonV1Dot6

    bom = _bom(subject)
    digest = hashlib.sha256(JsonV1Dot6(bom).output_as_string().encode()).hexdigest()
    bom.serial_number = uuid.uuid5(SERIAL_NAMESPACE, digest)
    document = json.loads(JsonV1Dot6(bom).output_as_string())
    return (json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _bom(subject: BomSubject) -> Bom:
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.model.component import ComponentType
    from cyclonedx.model.tool import ToolRepository

    product = _product(subject)
    compilers = [_tool(tool) for tool in subject.tools]
    parts = [part for tool in subject.tools for part in _linked(tool)]
    parts += [_component(component) for component in subject.components]
    needed = [_part(name, rule, ComponentType.FIRMWARE) for name, rule in subject.dependencies]
    metadata = BomMetaData(component=product, tools=ToolRepository(components=compilers))
    metadata.timestamp = None  # type: ignore[assignment]  # 1.6 has it optional; a time would differ in every build
    bom = Bom(
        serial_number=SERIAL_NAMESPACE,
        components=[*parts, *needed],
        metadata=metadata,
    )
    bom.register_dependency(product, [*parts, *needed])
    return bom


def _product(subject: BomSubject) -> Component:
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.license import LicenseExpression

    properties = [
        Property(name="assay:board", value=subject.board),
        Property(name="assay:kind", value=subject.kind),
        Property(name="assay:source-sha256", value=subject.source_digest),
        *(Property(name=f"assay:output:{name}", value=digest) for name, digest in sorted(subject.outputs.items())),
    ]
    return Component(
        type=ComponentType.FIRMWARE,
        name=subject.name,
        version=subject.version,
        bom_ref=f"{subject.name}@{subject.version}",
        description=subject.description or None,
        licenses=[LicenseExpression(subject.license)],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=subject.payload_sha256)],
        properties=properties,
    )


def _tool(tool: ToolIdentity) -> Component:
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.component import Component, ComponentType

    digest = HashType(alg=HashAlgorithm.SHA_256, content=tool.sha256)
    return Component(type=ComponentType.APPLICATION, name=tool.name, version=tool.version, hashes=[digest])


def _linked(tool: ToolIdentity) -> list[Component]:
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.license import LicenseExpression
    from packageurl import PackageURL

    return [
        Component(
            type=ComponentType.LIBRARY,
            name=name,
            version=tool.version,
            bom_ref=f"{name}@{tool.version}",
            description=description,
            purl=PackageURL("pypi", name=tool.name, version=tool.version),
            licenses=[LicenseExpression(COMPILER_LICENSES[tool.name])],
        )
        for name, description in LINKED_IN.get(tool.name, ())
    ]


def _component(named: ModuleComponent) -> Component:
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.license import LicenseExpression
    from packageurl import PackageURL

    return Component(
        type=ComponentType.LIBRARY,
        name=named.name,
        version=named.version,
        bom_ref=f"component:{named.key}",
        purl=PackageURL.from_string(named.package_url) if named.purl else None,
        licenses=[LicenseExpression(named.license)] if named.license else (),
    )


def _part(name: str, rule: str, kind: ComponentType) -> Component:
    from cyclonedx.model import Property
    from cyclonedx.model.component import Component

    properties = [Property(name="assay:requirement", value=rule)]
    return Component(type=kind, name=name, bom_ref=f"needs:{name}", properties=properties)
