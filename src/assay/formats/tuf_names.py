# SPDX-License-Identifier: Apache-2.0
"""Names of targets in a repository of releases, and what may be such a name.

Guards: a name that was read from somewhere is never a way out of the folder that it is kept below, and never one that
two systems read in two ways. Leaves to others: what is at the name.
"""

from __future__ import annotations

import re

from assay.errors import NotVerified

WITHDRAWN = "withdrawn.json"
"""The target with the list of withdrawals."""

NAME_LENGTH_MAX = 512
"""Characters of a target name."""

_PART = re.compile(r"[A-Za-z0-9_+][A-Za-z0-9_+.-]{0,199}")


def release_name(board: str, name: str, version: str) -> str:
    """The target of a release. `+` becomes `_`, which no version holds: some file servers read `+` as a space."""
    return f"{board}/{name}/{version.replace('+', '_')}.json"


def list_name(board: str, name: str) -> str:
    """The target with the versions of a module."""
    return f"{board}/{name}/releases.json"


def blob_path(sha256: str) -> str:
    """Where a file of a release lies, below `targets/`."""
    return f"blobs/{sha256}"


def check_name(name: str) -> str:
    """`name` when it is a plain relative path of plain parts. Raises `NotVerified`."""
    parts = name.split("/")
    if len(name) > NAME_LENGTH_MAX or not all(_PART.fullmatch(part) for part in parts):
        raise NotVerified(
            f"{name[:80]!r} cannot be the name of a file in a repository: it leads elsewhere, or is no plain name",
            remedy="whoever made the repository made it to harm, or not for assay; ask them",
        )
    return name
