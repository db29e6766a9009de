# SPDX-License-Identifier: Apache-2.0
"""Bills of materials: valid CycloneDX 1.6, the same bytes for the same artifact, and they name what is in the image."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from assay.formats.component_query import parse_query
from assay.formats.cyclonedx_bom import BomSubject, bom_json
from assay.formats.cyclonedx_parts import parts_of
from assay.model.artifact import ToolIdentity
from assay.model.component import ModuleComponent

SUBJECT = BomSubject(
    name="demo-sensor",
    version="1.0.0",
    kind="app",
    board="ast1030-evb",
    license="Apache-2.0",
    description="measures",
    payload_sha256="a" * 64,
    source_digest="b" * 64,
    outputs={"payload.bin": "a" * 64, "part.elf": "c" * 64},
    dependencies=(("assay-bootloader", ">=1.0.0"),),
    tools=(
        ToolIdentity(name="ziglang", version="0.17.1", sha256="d" * 64),
        ToolIdentity(name="python", version="CPython 3.11.7", sha256="e" * 64),
    ),
)


COMPONENTS = (
    ModuleComponent(name="mbedtls", version="2.28.8", purl="pkg:github/Mbed-TLS/mbedtls", license="Apache-2.0"),
    ModuleComponent(name="FreeRTOS Kernel"),
)


@pytest.mark.parametrize(
    "subject",
    [
        SUBJECT,
        replace(SUBJECT, dependencies=(), tools=(), description=""),
        replace(SUBJECT, license="MIT OR Apache-2.0"),
        replace(SUBJECT, license="LicenseRef-own"),
        replace(SUBJECT, components=COMPONENTS),
    ],
)
def test_the_bill_is_valid_cyclonedx_1_6(subject: BomSubject) -> None:
    text = bom_json(subject).decode()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    assert json.loads(text)["specVersion"] == "1.6"


def test_the_validator_would_notice() -> None:
    document = json.loads(bom_json(SUBJECT))
    document["components"][0]["type"] = "nonsense"
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document)) is not None


def test_the_same_artifact_has_the_same_bytes_and_another_has_another_serial_number() -> None:
    assert bom_json(SUBJECT) == bom_json(SUBJECT)
    serials = {
        json.loads(bom_json(subject))["serialNumber"]
        for subject in (SUBJECT, replace(SUBJECT, payload_sha256="f" * 64), replace(SUBJECT, version="1.0.1"))
    }
    assert len(serials) == 3
    assert "timestamp" not in json.loads(bom_json(SUBJECT))["metadata"]


def test_the_bill_names_the_product_its_parts_and_what_it_needs() -> None:
    document = json.loads(bom_json(SUBJECT))
    product = document["metadata"]["component"]
    assert (product["type"], product["name"], product["version"]) == ("firmware", "demo-sensor", "1.0.0")
    assert product["hashes"] == [{"alg": "SHA-256", "content": "a" * 64}]
    parts = {part["name"]: part for part in document["components"]}
    assert set(parts) == {"zig-std-crypto", "zig-compiler-rt", "assay-bootloader"}
    assert parts["zig-std-crypto"]["purl"] == "pkg:pypi/ziglang@0.17.1"
    depends = {each["ref"]: each.get("dependsOn", []) for each in document["dependencies"]}
    assert len(depends["demo-sensor@1.0.0"]) == 3
    assert {tool["name"] for tool in document["metadata"]["tools"]["components"]} == {"ziglang", "python"}


def test_a_component_that_the_module_names_is_a_part_of_it() -> None:
    document = json.loads(bom_json(replace(SUBJECT, components=COMPONENTS)))
    first, second = (each for each in document["components"] if each["bom-ref"].startswith("component:"))
    first, second = sorted((first, second), key=lambda each: each["name"], reverse=True)
    assert (first["name"], first["version"]) == ("mbedtls", "2.28.8")
    assert first["purl"] == "pkg:github/mbed-tls/mbedtls@2.28.8"
    assert first["licenses"] == [{"expression": "Apache-2.0"}]
    assert second["name"] == "FreeRTOS Kernel" and "version" not in second
    product = document["metadata"]["component"]["bom-ref"]
    needs = next(each for each in document["dependencies"] if each["ref"] == product)["dependsOn"]
    assert {first["bom-ref"], second["bom-ref"]} <= set(needs)
    parts = {part.name: part for part in parts_of(document)}
    assert parse_query("mbedtls@<3").names(parts["mbedtls"]) and parse_query("mbedtls@<3").holds(parts["mbedtls"])
    assert not parse_query("mbedtls@3.0.0").holds(parts["mbedtls"])
    assert parse_query("pkg:github/Mbed-TLS/mbedtls").names(parts["mbedtls"])
    assert parse_query("FreeRTOS Kernel@>=99").holds(parts["FreeRTOS Kernel"]), "of no version: it may be any"
