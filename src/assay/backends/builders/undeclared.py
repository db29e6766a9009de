# SPDX-License-Identifier: Apache-2.0
"""Files that a failed build asked for in vain, that are in the project, and that nobody declared as its input.

Guards: only files that are there are named, so what is told can be declared. It reads what compilers print: that a file
is not there is enforced by the builder, and this only says why. Leaves to others: the error.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from assay.backends.builders.source_tree import IGNORED, SOURCE_FILES_MAX

SHOWN_MAX = 5

_COMPLAINT = re.compile(
    r"no such file|not found|cannot find|can't find|could not find|cannot open|can't open|does not exist"
    r"|no rule to make|FileNotFoundError",
    re.IGNORECASE,
)
_WORD = re.compile(r"[A-Za-z0-9_.+@%/-]*[A-Za-z0-9_+@%-]")


def undeclared(log: str, root: Path, declared: set[str]) -> tuple[str, ...]:
    """Paths below `root` of files that lines of `log` complain about and that are not among `declared`."""
    words = {word for line in log.splitlines() if _COMPLAINT.search(line) for word in _WORD.findall(line)}
    names = {word.rpartition("/")[2] for word in words}
    if not names:
        return ()
    there = [path for path in _files(root) if path.rpartition("/")[2] in names and path not in declared]
    found = [path for path in there if any(_means(word, path) for word in words)]
    return tuple(sorted(found)[:SHOWN_MAX])


def _means(word: str, path: str) -> bool:
    """Whether `word` of a log can mean the file: its last parts, or an absolute path that ends with it."""
    parts = [part for part in word.split("/") if part not in (".", "..")]
    short = "/".join(parts)
    return f"/{path}".endswith(f"/{short}") or f"/{short}".endswith(f"/{path}")


def _files(root: Path) -> list[str]:
    found: list[str] = []
    for folder, names, files in os.walk(root):
        names[:] = [name for name in names if name not in IGNORED]
        found += [(Path(folder) / name).relative_to(root).as_posix() for name in files]
        if len(found) > SOURCE_FILES_MAX:
            break
    return found
