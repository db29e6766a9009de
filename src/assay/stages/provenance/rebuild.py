# SPDX-License-Identifier: Apache-2.0
"""What a provenance says of a build to whoever does it again, and what that one states afterwards.

Guards: only what is in a commit can be built again by a stranger, and a provenance that lacks a part of the recipe is
refused before anything is fetched. Pure; without a clock, so the same rebuild gives the same statement.
Leaves to others: fetching and building (`pipeline.rebuild`), signature and form of the provenance (`verify`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from assay.errors import NotVerified
from assay.formats import canonical_json
from assay.model.artifact import SBOM_FILE, Artifact, SourceState, ToolIdentity
from assay.model.build_recipe import PAYLOAD
from assay.model.predicates import BuildTool, ComparedPart, Rebuild, RebuildSource
from assay.model.statement import PredicateType, Statement, Subject
from assay.model.trust import BUILDER_PREFIX, VerifiedStatement
from assay.stages.provenance.statements import MANIFEST

IMAGE = "image"
"""The image up to its signature: MCUboot header, payload and protected TLVs, by the SHA-256 that the image carries."""


@dataclass(frozen=True)
class Recipe:
    """How to build again what a provenance is about, and what has to come out.

    `attested`: SHA-256 by name of payload, other outputs and bill of materials; `image_hash`: the image without
    signature; `keys`: public keys that are built in, by value.
    """

    module: str
    manifest: str
    version: str
    board: str
    defines: Mapping[str, str]
    keys: Mapping[str, str]
    source: SourceState
    tools: tuple[ToolIdentity, ...]
    builder: str
    attested: Mapping[str, str]
    image_hash: str
    subjects: tuple[Subject, ...]
    provenance_sha256: str

    @property
    def reference(self) -> str:
        """`name@version`."""
        return f"{self.module}@{self.version}"


def recipe_of(verified: VerifiedStatement) -> Recipe:
    """The recipe in a verified provenance of ours. Raises `NotVerified` when nobody can build by it."""
    try:
        return _recipe(verified)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        _refuse(f"the provenance has a form that is not ours ({type(error).__name__})", "build and sign it again")


def _recipe(verified: VerifiedStatement) -> Recipe:
    statement = verified.statement
    definition = statement.predicate["buildDefinition"]
    parameters, dependencies = definition["externalParameters"], definition["resolvedDependencies"]
    if MANIFEST not in parameters:
        _refuse("the provenance does not say which module.toml was built: it is of an older assay", "build it again")
    source, *tools = dependencies
    image, payload = statement.subject
    byproducts = {each["name"]: each["digest"]["sha256"] for each in statement.predicate["runDetails"]["byproducts"]}
    if byproducts[PAYLOAD] != payload.digest["sha256"]:
        _refuse("the provenance names two payloads", "build and sign it again")
    return Recipe(
        module=parameters["module"],
        manifest=parameters[MANIFEST],
        version=parameters["version"],
        board=parameters["board"],
        defines=dict(parameters.get("defines") or {}),
        keys={name: key["pem"] for name, key in (parameters.get("publicKeys") or {}).items()},
        source=_source(source),
        tools=tuple(
            ToolIdentity(name=tool["name"], version=tool["annotations"]["version"], sha256=tool["digest"]["sha256"])
            for tool in tools
        ),
        builder=statement.predicate["runDetails"]["builder"]["id"].removeprefix(BUILDER_PREFIX),
        attested=byproducts,
        image_hash=(image.annotations or {})["imageHash"],
        subjects=statement.subject,
        provenance_sha256=hashlib.sha256(verified.payload).hexdigest(),
    )


def _source(source: Mapping[str, Any]) -> SourceState:
    commit = source["digest"].get("gitCommit")
    if commit is None:
        based = source.get("annotations", {}).get("basedOnCommit")
        what = f"from changes on top of {based[:12]}" if based else "from sources that are in no commit"
        _refuse(f"it was built {what}: nobody else can build it again", "commit, build and sign it again")
    return SourceState(repository=source.get("uri"), commit=commit, digest=source["digest"]["sha256"])


def compare(
    recipe: Recipe, files: Mapping[str, bytes], image_hash: str | None, bill: bytes
) -> tuple[ComparedPart, ...]:
    """What was attested beside what came out; `image_hash` is None for what is no image (a ROM).

    Raises `NotVerified` where an output was made by one of the two only.
    """
    found = {name: hashlib.sha256(data).hexdigest() for name, data in {**files, SBOM_FILE: bill}.items()}
    lone = sorted(recipe.attested.keys() ^ found.keys())
    if lone:
        _refuse(f"the provenance and the rebuild have other outputs: {', '.join(lone)}", "compare the two by hand")
    parts = [ComparedPart(name=name, attested=recipe.attested[name], found=found[name]) for name in sorted(found)]
    if image_hash is not None:
        parts.append(ComparedPart(name=IMAGE, attested=recipe.image_hash, found=image_hash))
    return tuple(parts)


def differing(compared: tuple[ComparedPart, ...]) -> tuple[str, ...]:
    """The names of the parts that are not the same."""
    return tuple(part.name for part in compared if part.attested != part.found)


def other_tools(recipe: Recipe, tools: tuple[ToolIdentity, ...]) -> tuple[str, ...]:
    """Tools of the rebuild that are not the ones that the provenance names, and what it names beyond them, in words."""
    theirs, ours = ({tool.name: tool for tool in each} for each in (recipe.tools, tools))
    said = []
    for name in sorted(theirs.keys() | ours.keys()):
        one, other = theirs.get(name), ours.get(name)
        if one != other:
            said.append(f"{name}: {_version(one)} there, {_version(other)} here")
    return tuple(said)


def _version(tool: ToolIdentity | None) -> str:
    return "none" if tool is None else f"{tool.version or 'unnamed'} ({tool.sha256[:12]})"


def rebuild_statement(recipe: Recipe, artifact: Artifact, compared: tuple[ComparedPart, ...]) -> Statement:
    """The statement of whoever built it again."""
    predicate = Rebuild(
        release=recipe.reference,
        board=recipe.board,
        provenance=recipe.provenance_sha256,
        result="different" if differing(compared) else "identical",
        compared=compared,
        source=RebuildSource(commit=str(recipe.source.commit), digest=recipe.source.digest),
        builder_id=BUILDER_PREFIX + artifact.builder,
        builds_compared=artifact.builds_compared,
        tools=tuple(BuildTool(name=tool.name, version=tool.version, sha256=tool.sha256) for tool in artifact.tools),
        other_tools=other_tools(recipe, artifact.tools),
    )
    return Statement(
        subject=recipe.subjects, predicateType=PredicateType.REBUILD.value, predicate=canonical_json.plain(predicate)
    )


def _refuse(message: str, remedy: str) -> NoReturn:
    raise NotVerified(message, remedy=remedy)
