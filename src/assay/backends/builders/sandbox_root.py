# SPDX-License-Identifier: Apache-2.0
"""The system's programs and libraries as a sandbox sees them: read-only, and nothing beside them.

Guards: merged and unmerged layouts of /usr look inside as they do outside. Leaves to others: what else is let in.
"""

from __future__ import annotations

import os
from pathlib import Path

_SYSTEM = ("/bin", "/sbin", "/lib", "/lib32", "/lib64")
"""On merged systems links into /usr; programs name their loader by these paths."""

_ETC = ("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives")
"""What the loader and Debian's links of compilers need; nothing of it is secret or about a person."""


def system_root() -> list[str]:
    """Words for bubblewrap."""
    arguments = ["--ro-bind", "/usr", "/usr"]
    for path in _SYSTEM:
        if Path(path).is_symlink():
            arguments += ["--symlink", os.readlink(path), path]  # noqa: PTH115  # bwrap wants the text of the link
        elif Path(path).is_dir():
            arguments += ["--ro-bind", path, path]
    for path in _ETC:
        arguments += ["--ro-bind-try", path, path]
    return arguments
