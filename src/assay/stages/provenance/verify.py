# SPDX-License-Identifier: Apache-2.0
"""What a provenance must say before somebody relies on it, beyond that its signature is good.

Guards: the build type is ours, every external parameter is one that we understand and has the value that was asked
for, and the key may vouch for the builder that it names (SLSA v1.2, "Verifying artifacts", steps 1 and 2).
Leaves to others: signature, role, predicate type and subject (`formats.statement_verifier`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from assay.errors import NotVerified
from assay.model.statement import PredicateType
from assay.model.trust import BUILDER_IDS, Check, VerifiedStatement
from assay.stages.provenance.statements import BUILD_TYPE

EXTERNAL_PARAMETERS = frozenset({"module", "kind", "manifest", "version", "board", "defines", "publicKeys"})
"""What a user may decide about a build (docs/reference/statements); anything else is refused, known or not."""

LEVELS = {
    BUILDER_IDS["host"]: "SLSA Build L1: built on a host that its operator controls",
    BUILDER_IDS["sandbox"]: (
        "SLSA Build L1: built in a sandbox without network or keys, on a host that its operator controls"
    ),
    BUILDER_IDS["container"]: (
        "SLSA Build L1: built in a container of an image by digest, without network or keys, on a host that its "
        "operator controls"
    ),
}
"""What each builder is worth. L2 needs a hosted build platform, L3 one that isolates builds from its own operator."""


def verify_provenance(statement: VerifiedStatement, expected: Mapping[str, Any]) -> tuple[Check, ...]:
    """What was checked, beside the statement's own checks. `expected`: external parameters that must have these
    values.

    Raises `NotVerified`; the message names the field.
    """
    if statement.statement.predicateType != PredicateType.PROVENANCE:
        _refuse(f"the statement is {statement.statement.predicateType} and no provenance", "name the provenance")
    predicate = statement.statement.predicate
    definition = _table(predicate, "buildDefinition")
    if definition.get("buildType") != BUILD_TYPE:
        _refuse(f"the buildType is not {BUILD_TYPE}", "only builds of assay are understood")
    _check_parameters(_table(definition, "externalParameters"), expected)
    builder_id = _table(_table(predicate, "runDetails"), "builder").get("id")
    if builder_id not in statement.signer.builder_ids:
        _refuse(
            f"the key '{statement.signer.name}' may not vouch for the builder {builder_id!r}",
            "add it to the key's builder_ids in the trust file, if you trust that builder",
        )
    told = ", ".join(sorted(expected)) or "none demanded"
    return (
        Check(f"build type {BUILD_TYPE}; external parameters all known, as expected: {told}"),
        Check(f"builder {builder_id} ({LEVELS.get(str(builder_id), 'level not known')})", statement.signer),
    )


def _check_parameters(found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    # SLSA: null, empty and unset are the same.
    unknown = sorted(name for name in set(found) - EXTERNAL_PARAMETERS if found[name] not in (None, "", [], {}))
    if unknown:
        _refuse(f"the provenance has external parameters that nobody here knows: {', '.join(unknown)}", "update assay")
    for name, value in expected.items():
        if found.get(name) != value:
            _refuse(f"the external parameter {name} is {found.get(name)!r}, expected {value!r}", "build it as expected")


def _table(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = value.get(name)
    if not isinstance(table, dict):
        _refuse(f"the provenance lacks {name}", "build and attest the artifact again")
    return table


def _refuse(message: str, remedy: str) -> NoReturn:
    raise NotVerified(message, remedy=remedy)
