# SPDX-License-Identifier: Apache-2.0
"""Provenance, SBOM and release statements, and what a provenance must say before somebody relies on it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from memory_signer import MemorySigner, trust_in

from assay.errors import NotVerified, UsageFault
from assay.formats import canonical_json
from assay.formats.statement_verifier import verify_statement
from assay.model.artifact import Artifact, Release, SignedImage, SourceState, ToolIdentity
from assay.model.statement import PredicateType, Statement
from assay.model.trust import Role, VerifiedStatement
from assay.stages.provenance.statements import provenance_statement, release_statement, sbom_statement
from assay.stages.provenance.verify import EXTERNAL_PARAMETERS, verify_provenance

SIGNER = MemorySigner()
IMAGE = SignedImage(file_sha256="11" * 32, image_hash="22" * 32, size=1000, payload_sha256="33" * 32, keyid="44" * 32)


def artifact(**changes: Any) -> Artifact:
    values: dict[str, Any] = {
        "module": "demo-sensor",
        "kind": "app",
        "version": "1.2.3",
        "board": "ast1030-evb",
        "min_revision": 1,
        "security_counter": 3,
        "payload_sha256": "33" * 32,
        "payload_size": 500,
        "files": {"app.elf": "55" * 32, "app.bin": "33" * 32},
        "sbom_sha256": "66" * 32,
        "source": SourceState(repository="https://example.com/r.git", commit="a" * 40, digest="77" * 32),
        "tools": (ToolIdentity(name="ziglang", version="0.17.1", sha256="88" * 32),),
        "parameters": {"module": "demo-sensor", "version": "1.2.3", "board": "ast1030-evb", "defines": {"N": "1"}},
        "builder": "host",
        "builds_compared": 2,
        "variations": ("folder", "umask"),
    }
    return Artifact(**(values | changes))


def verified(statement: Statement) -> VerifiedStatement:
    bundle = SIGNER.sign_statement(Role.BUILDER, canonical_json.encode_value(statement))
    return verify_statement(
        bundle,
        trust_in(SIGNER),
        role=Role.BUILDER,
        predicate_types={statement.predicateType},
        subject_sha256=IMAGE.file_sha256,
    )


def test_provenance_says_what_was_built_from_what() -> None:
    statement = provenance_statement(artifact(), IMAGE)
    assert [subject.digest["sha256"] for subject in statement.subject] == [IMAGE.file_sha256, IMAGE.payload_sha256]
    definition = statement.predicate["buildDefinition"]
    source, tool = definition["resolvedDependencies"]
    assert source["digest"] == {"sha256": "77" * 32, "gitCommit": "a" * 40}
    assert tool == {"name": "ziglang", "digest": {"sha256": "88" * 32}, "annotations": {"version": "0.17.1"}}
    assert definition["externalParameters"] == artifact().parameters
    assert statement.predicate["runDetails"]["builder"]["id"] == "urn:assay:builder:host"


def test_same_artifact_same_bytes() -> None:
    """No time, no dice: times stand in the log's records."""
    first = canonical_json.encode_value(provenance_statement(artifact(), IMAGE))
    assert first == canonical_json.encode_value(provenance_statement(artifact(), IMAGE))


def test_a_changed_tree_is_not_called_by_its_commit() -> None:
    dirty = SourceState(commit="a" * 40, dirty=True, digest="77" * 32)
    source = provenance_statement(artifact(source=dirty), IMAGE).predicate["buildDefinition"]["resolvedDependencies"][0]
    assert source["digest"] == {"sha256": "77" * 32}
    assert source["annotations"] == {"dirty": True, "basedOnCommit": "a" * 40}
    outside = SourceState(digest="77" * 32)
    source = provenance_statement(artifact(source=outside), IMAGE).predicate["buildDefinition"]["resolvedDependencies"][
        0
    ]
    assert source == {"name": "source", "digest": {"sha256": "77" * 32}, "annotations": {"dirty": False}}


def test_unknown_builder() -> None:
    with pytest.raises(UsageFault, match=r"has no builder\.id"):
        provenance_statement(artifact(builder="no such builder"), IMAGE)


@pytest.mark.parametrize("builder", ["host", "sandbox"])
def test_verified_provenance_says_by_whom_and_what_it_is_worth(builder: str) -> None:
    statement = verified(provenance_statement(artifact(builder=builder), IMAGE))
    checks = verify_provenance(statement, {"version": "1.2.3", "board": "ast1030-evb"})
    assert "board, version" in checks[0].what
    assert f"urn:assay:builder:{builder} (SLSA Build L1" in checks[1].what
    assert checks[1].key == statement.signer


def test_pair_of_signer_and_builder() -> None:
    statement = verified(provenance_statement(artifact(), IMAGE))
    narrow = statement.signer.model_copy(update={"builder_ids": ("urn:assay:builder:sandbox",)})
    other = VerifiedStatement(statement.statement, statement.payload, narrow, statement.checks)
    with pytest.raises(NotVerified, match="may not vouch for the builder 'urn:assay:builder:host'"):
        verify_provenance(other, {})


def test_unexpected_parameter_value() -> None:
    with pytest.raises(NotVerified, match="external parameter board is 'ast1030-evb', expected 'rv32-virt'"):
        verify_provenance(verified(provenance_statement(artifact(), IMAGE)), {"board": "rv32-virt"})


def test_unknown_parameter() -> None:
    sly = artifact(parameters={"module": "x", "backdoor": True})
    with pytest.raises(NotVerified, match="nobody here knows: backdoor"):
        verify_provenance(verified(provenance_statement(sly, IMAGE)), {})
    empty = artifact(parameters={"module": "x", "backdoor": None})
    assert verify_provenance(verified(provenance_statement(empty, IMAGE)), {})
    assert "backdoor" not in EXTERNAL_PARAMETERS


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (("buildDefinition", "buildType"), "https://example.com/make", "buildType is not"),
        (("buildDefinition", "externalParameters"), None, "lacks externalParameters"),
        (("buildDefinition",), [], "lacks buildDefinition"),
        (("runDetails",), None, "may not vouch for the builder None"),
        (("runDetails", "builder"), None, "may not vouch for the builder None"),
        (("runDetails", "builder", "id"), None, "may not vouch for the builder None"),
    ],
)
def test_provenance_that_lacks_something(path: tuple[str, ...], value: Any, expected: str) -> None:
    predicate = json.loads(canonical_json.encode(provenance_statement(artifact(), IMAGE).predicate))
    place = predicate
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    statement = provenance_statement(artifact(), IMAGE).model_copy(update={"predicate": predicate})
    with pytest.raises(NotVerified, match=expected):
        verify_provenance(verified(statement), {})


def test_another_statement_is_no_provenance() -> None:
    statement = verified(sbom_statement(artifact(), IMAGE, b'{"bomFormat": "CycloneDX"}'))
    with pytest.raises(NotVerified, match="no provenance"):
        verify_provenance(statement, {})


def test_sbom() -> None:
    bom = {"bomFormat": "CycloneDX", "specVersion": "1.6", "components": []}
    statement = sbom_statement(artifact(), IMAGE, json.dumps(bom).encode())
    assert statement.predicateType == "https://cyclonedx.org/bom"
    assert statement.predicate == bom
    assert statement.subject[0].digest == {"sha256": IMAGE.file_sha256}
    with pytest.raises(UsageFault, match="not CycloneDX"):
        sbom_statement(artifact(), IMAGE, b'{"bomFormat": "SPDX"}')
    with pytest.raises(NotVerified, match="twice"):
        sbom_statement(artifact(), IMAGE, b'{"bomFormat": "CycloneDX", "bomFormat": "CycloneDX"}')


def test_release() -> None:
    release = Release(
        name="demo-sensor",
        kind="app",
        version="1.2.3",
        board="ast1030-evb",
        min_revision=1,
        security_counter=3,
        image=IMAGE,
        artifact=artifact(),
        attestations={PredicateType.PROVENANCE.value: "99" * 32},
    )
    statement = verified(release_statement(release)).statement
    assert Release.model_validate_json(json.dumps(statement.predicate)) == release
