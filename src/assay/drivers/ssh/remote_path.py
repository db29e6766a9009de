# SPDX-License-Identifier: Apache-2.0
"""Paths of files on a host, as people write them."""

from __future__ import annotations

from pathlib import PurePosixPath

from assay.errors import UsageFault


def checked_path(remote_path: str) -> PurePosixPath:
    """An absolute path of a file, in its one spelling. Raises UsageFault."""
    path = PurePosixPath(remote_path)
    if not path.is_absolute() or ".." in path.parts or str(path) != remote_path or "\0" in remote_path or not path.name:
        raise UsageFault(f"{remote_path!r} is no path of a file there", remedy="write it in full: /var/lib/NAME")
    return path
