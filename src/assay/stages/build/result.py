# SPDX-License-Identifier: Apache-2.0
"""What a build was about, and the artifact that comes out of it.

Guards: an artifact has every declared output, a payload that is not empty, and names every file that it consists of.
Leaves to others: the comparison of the two builds (`stages.build.comparison`), which comes first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from assay.errors import UnitFailed
from assay.formats.cyclonedx_bom import BomSubject, bom_json
from assay.interfaces.builder import Builder
from assay.model.artifact import RESERVED_FILES, Artifact, BuiltArtifact, SourceState, ToolIdentity
from assay.model.board import Board
from assay.model.build_recipe import PAYLOAD
from assay.model.module import Module


@dataclass(frozen=True)
class BuildSubject:
    """What is built: module, board, version; from what and with what. `parameters` as in `Artifact`."""

    module: Module
    board: Board
    version: str
    source: SourceState
    tools: tuple[ToolIdentity, ...]
    parameters: dict[str, Any]


def artifact_of(
    subject: BuildSubject, builder: Builder, files: Mapping[str, bytes], varied: tuple[str, ...]
) -> BuiltArtifact:
    """The artifact of which `files` are the outputs; `varied`: what was different for the two builds. Raises
    `UnitFailed` when they are not what was declared.
    """
    _check_outputs(subject.module, files)
    module = subject.module
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    sbom = bill_of(subject, files)
    artifact = Artifact(
        module=module.name,
        kind=module.kind,
        version=subject.version,
        board=subject.board.name,
        min_revision=next(need.min_revision for need in module.boards if need.name == subject.board.name),
        security_counter=module.update.security_counter,
        payload_sha256=digests[PAYLOAD],
        payload_size=len(files[PAYLOAD]),
        files=digests,
        sbom_sha256=hashlib.sha256(sbom).hexdigest(),
        source=subject.source,
        tools=subject.tools,
        parameters=subject.parameters,
        builder=builder.name,
        builds_compared=2,
        variations=varied,
        update=module.update,
        dependencies=module.dependencies,
        interfaces=module.interfaces,
        builder_parts=builder.parts() or None,
        contract=module.contract(subject.board.name),
    )
    return BuiltArtifact(artifact, files, sbom)


def bill_of(subject: BuildSubject, files: Mapping[str, bytes]) -> bytes:
    """The bill of materials of a build of `subject` that gave `files`."""
    return bom_json(_bill(subject, {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}))


def _bill(subject: BuildSubject, digests: dict[str, str]) -> BomSubject:
    module = subject.module
    return BomSubject(
        name=module.name,
        version=subject.version,
        kind=module.kind,
        board=subject.board.name,
        license=module.license,
        description=module.description,
        payload_sha256=digests[PAYLOAD],
        source_digest=subject.source.digest,
        outputs=digests,
        dependencies=tuple((needed.name, needed.version) for needed in module.dependencies),
        tools=subject.tools,
        components=module.components,
    )


def _check_outputs(module: Module, found: Mapping[str, bytes]) -> None:
    missing = [name for name in module.build.outputs if not any(fnmatchcase(each, name) for each in found)]
    if missing:
        text = f"the build of {module.name} did not make {', '.join(missing)}"
        raise UnitFailed(text, remedy="correct the build, or [build] outputs")
    taken = [name for name in found if name in RESERVED_FILES]
    if taken:
        raise UnitFailed(f"the build made a file called {taken[0]}", remedy="call it otherwise: this name is ours")
    extra = [name for name in found if not any(fnmatchcase(name, pattern) for pattern in module.build.outputs)]
    if extra:
        text = f"the build of {module.name} left {', '.join(extra[:5])}, which nobody declared"
        raise UnitFailed(text, remedy="add it to [build] outputs, or have the build leave it out of {out}")
    if not found[PAYLOAD]:
        raise UnitFailed(f"the build of {module.name} made an empty {PAYLOAD}", remedy="correct the build")
    room = module.resources.flash
    if room is not None and len(found[PAYLOAD]) > room:
        text = (
            f"{PAYLOAD} of {module.name} has {len(found[PAYLOAD])} bytes, and its module.toml promises at most {room}"
        )
        raise UnitFailed(text, remedy="make it smaller, or correct [resources] flash")
