# SPDX-License-Identifier: Apache-2.0
"""A built artifact as a folder: `artifact.json`, `sbom.cdx.json` and the outputs of the build.

Guards: what is read back has the digests that the artifact names, and an artifact that was changed is refused.
Leaves to others: building (`pipeline.module_build`), signing (`pipeline.image_signing`).
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from pydantic import ValidationError

from assay.backends.stores.result_folder import check_replaceable, read_result, write_result
from assay.errors import NotVerified
from assay.formats import canonical_json, strict_json
from assay.model.artifact import ARTIFACT_FILE, SBOM_FILE, Artifact, BuiltArtifact


def check_artifact_folder(folder: Path) -> None:
    """Before anything is built: `folder` is free, or an artifact's. Raises `UsageFault`."""
    check_replaceable(folder, ARTIFACT_FILE)


def write_artifact(folder: Path, built: BuiltArtifact) -> None:
    """Write `built` to `folder`, whole or not at all. Raises `UsageFault`, `StorageError`."""
    document = json.dumps(canonical_json.plain(built.artifact), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    write_result(folder, {**built.files, SBOM_FILE: built.sbom, ARTIFACT_FILE: document.encode()}, ARTIFACT_FILE)


def read_artifact(folder: Path) -> BuiltArtifact:
    """The artifact in `folder`. Raises `UsageFault` when there is none, `NotVerified` when a file was changed."""
    document = strict_json.loads_object(read_result(folder, ARTIFACT_FILE), str(folder / ARTIFACT_FILE))
    try:
        artifact = Artifact.model_validate_json(json.dumps(document))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        what = f"{folder / ARTIFACT_FILE} is no artifact: {'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise NotVerified(what, remedy="build the module again") from error
    files = {name: _checked(folder, name, sha256) for name, sha256 in artifact.files.items()}
    return BuiltArtifact(artifact, files, _checked(folder, SBOM_FILE, artifact.sbom_sha256))


def _checked(folder: Path, name: str, sha256: str) -> bytes:
    if name.startswith("/") or ".." in name.split("/"):
        raise NotVerified(f"{folder / ARTIFACT_FILE} names a file outside: {name!r}", remedy="build the module again")
    data = read_result(folder, name)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise NotVerified(f"{folder / name} was changed after the build", remedy="build the module again")
    return data
