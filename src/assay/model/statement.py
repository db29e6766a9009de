# SPDX-License-Identifier: Apache-2.0
"""in-toto Statement v1 (https://in-toto.io/Statement/v1) and the predicate types that assay writes."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints

from assay.model.value import Value

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"


class PredicateType(StrEnum):
    """Predicate types; the `urn:assay:` ones are documented with JSON Schemas in docs/reference/predicates."""

    PROVENANCE = "https://slsa.dev/provenance/v1"
    SBOM = "https://cyclonedx.org/bom"
    TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"
    PROVISIONING = "urn:assay:predicate:provisioning:v1"
    FLASH = "urn:assay:predicate:flash:v1"
    FOREIGN_FLASH = "urn:assay:predicate:foreign-flash:v1"
    FOREIGN_TEST = "urn:assay:predicate:foreign-test:v1"
    TOOL_FLASH = "urn:assay:predicate:tool-flash:v1"
    UPDATE = "urn:assay:predicate:update:v1"
    EVIDENCE = "urn:assay:predicate:evidence:v1"
    RELEASE = "urn:assay:predicate:release:v1"
    PATCH = "urn:assay:predicate:patch:v1"
    RUN = "urn:assay:predicate:run:v1"
    QUARANTINE = "urn:assay:predicate:quarantine:v1"
    POLICY = "urn:assay:predicate:policy:v1"
    DECISION = "urn:assay:predicate:decision:v1"
    VEX = "urn:assay:predicate:vex:v1"
    WITHDRAWAL = "urn:assay:predicate:withdrawal:v1"
    REBUILD = "urn:assay:predicate:rebuild:v1"
    SUMMARY = "https://slsa.dev/verification_summary/v1"


DigestValue = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]+$", min_length=16)]


class ResourceDescriptor(Value):
    """in-toto ResourceDescriptor v1; our own statements always carry a digest or a URI."""

    name: str | None = None
    uri: str | None = None
    digest: dict[str, DigestValue] | None = None
    content: str | None = None
    downloadLocation: str | None = None
    mediaType: str | None = None
    annotations: dict[str, Any] | None = None


class Subject(Value):
    """What a statement is about: a name and at least `sha256`."""

    name: Annotated[str, StringConstraints(min_length=1)]
    digest: dict[str, DigestValue] = Field(min_length=1)
    annotations: dict[str, Any] | None = None


class Statement(Value):
    """in-toto Statement v1. `predicate` is plain JSON; integers stay integers."""

    type_: Literal["https://in-toto.io/Statement/v1"] = Field(default=STATEMENT_TYPE, alias="_type")
    subject: tuple[Subject, ...] = Field(min_length=1)
    predicateType: str
    predicate: dict[str, Any]
