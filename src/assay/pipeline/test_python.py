# SPDX-License-Identifier: Apache-2.0
"""The files of the Python that tests run with: where a sandbox has to show it, wherever it was installed.

Guards: an environment of its own, a Python of pyenv, uv or conda, packages in a user's folder and packages that are
installed as a link to their sources all work in a sandbox in which nobody's home is there.
Leaves to others: the sandbox (`test_sandbox`).
"""

from __future__ import annotations

import importlib.metadata
import os
import site
import sys
from pathlib import Path

_SYSTEM = Path("/usr")
LINKS_MAX = 32
"""Links from the name of the Python to its file: more is a ring."""


def python_paths() -> tuple[Path, ...]:
    """Folders and files to be shown, outermost first; what lies in /usr is there already."""
    prefixes = [Path(prefix) for prefix in (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix)]
    found = [*prefixes, *(prefix.resolve() for prefix in prefixes), *_imported(), *_program()]
    kept: list[Path] = []
    for path in sorted(set(found), key=lambda each: len(each.parts)):
        if path.exists() and not path.is_relative_to(_SYSTEM) and not any(map(path.is_relative_to, kept)):
            kept.append(path)
    return tuple(kept)


def lives_in_user_site() -> bool:
    """Whether assay was installed with `pip install --user`: then the test process needs that folder, too."""
    try:
        installed = Path(str(importlib.metadata.distribution("assay").locate_file(""))).resolve()
    except importlib.metadata.PackageNotFoundError:
        return False
    return bool(site.ENABLE_USER_SITE) and installed == Path(site.getusersitepackages()).resolve()


def _imported() -> list[Path]:
    """Where packages come from. What only this process was told (PYTHONPATH, its script's folder) is not the tests'."""
    told = {os.path.abspath(path) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path}  # noqa: PTH100
    script = str(Path(sys.argv[0]).absolute().parent)
    paths = [Path(entry).absolute() for entry in sys.path if entry and entry not in (script, str(Path.cwd()))]
    user = Path(site.getusersitepackages())
    wanted = [path for path in paths if str(path) not in told and (path != user or lives_in_user_site())]
    return [*wanted, *(path.resolve() for path in wanted)]


def _program() -> list[Path]:
    """The Python's own file and the links that lead to it, one by one: no folder of somebody's programs is shown."""
    path, found = Path(sys.executable), []
    for _ in range(LINKS_MAX):
        found.append(path)
        if not path.is_symlink():
            break
        path = Path(os.path.normpath(path.parent / path.readlink()))
    return found
