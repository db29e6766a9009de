# SPDX-License-Identifier: Apache-2.0
"""The digest over the declared inputs of a build, and the key of a build's result.

Guards: the same inputs, parameters and tools have the same key, and nothing else has. Leaves to others: reading and
copying inputs (`backends.builders.source_tree`), keeping results (`pipeline.module_build`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from assay.formats import canonical_json
from assay.model.artifact import ToolIdentity
from assay.model.source_file import SourceFile

BUILD_FORMAT = 5
"""Raised when the same inputs would give another artifact: results from before are not taken from the cache."""


def digest_of(files: Iterable[SourceFile]) -> str:
    """SHA-256 over the RFC 8785 JSON of the sorted list of [path, mode, SHA-256]."""
    rows = sorted([file.path, file.mode, hashlib.sha256(file.data).hexdigest()] for file in files)
    return _sha256(rows)


def lane_key(tree_digest: str, tools: tuple[ToolIdentity, ...], builder: str, parameters: Mapping[str, Any]) -> str:
    """Names the compiler caches that a build may use: what lies there was left by builds from this state of the source
    tree, by these tools and this builder, of the same module with the same `parameters` (none: of any, with any).
    """
    return _sha256([BUILD_FORMAT, tree_digest, [tool.model_dump() for tool in tools], builder, dict(parameters)])


def result_key(source_digest: str, tools: tuple[ToolIdentity, ...], builder: str, parameters: dict[str, Any]) -> str:
    """Names the result of a build."""
    return _sha256([BUILD_FORMAT, source_digest, [tool.model_dump() for tool in tools], builder, parameters])


def _sha256(value: Any) -> str:
    return hashlib.sha256(canonical_json.encode(value)).hexdigest()
