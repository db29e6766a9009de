# SPDX-License-Identifier: Apache-2.0
"""The digest of a suite: over every file in its folder, so that a verdict names the tests that were run.

Guards: the same files give the same digest everywhere, and anyone can take it with coreutils
(docs: reference/pytest-plugin).
Leaves to others: reading the folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping


def suite_sha256(files: Mapping[str, bytes]) -> str:
    """SHA-256 over lines of `sha256sum` (digest, two spaces, path with `/`), sorted by the bytes of the path."""
    whole = hashlib.sha256()
    for path in sorted(files, key=str.encode):
        whole.update(f"{hashlib.sha256(files[path]).hexdigest()}  {path}\n".encode())
    return whole.hexdigest()
