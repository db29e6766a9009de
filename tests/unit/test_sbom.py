# SPDX-License-Identifier: Apache-2.0
"""Bills of materials: valid CycloneDX 1.6, the same bytes for the same artifact, and they name what is in the image."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from assay.formats.cyclonedx_bom import BomSubject, bom_json
from assay.model.artifact import ToolIdentity

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


@pytest.mark.parametrize(
    "subject",
    [
        SUBJECT,
        replace(SUBJECT, dependencies=(), tools=(), description=""),
        replace(SUBJECT, license="MIT OR Apache-2.0"),
        replace(SUBJECT, license="LicenseRef-own"),
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
