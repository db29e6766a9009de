# SPDX-License-Identifier: Apache-2.0
"""Where sources come from: the commit, and whether the declared inputs differ from it.

Guards: git is asked only for what runs no program that a repository's configuration names (`rev-parse`, `ls-tree`), so
a repository of another user can be asked too; the inputs are compared with the commit by their git object ids,
computed here, and so the answer is about the bytes that are built. No git, or no repository: no commit, and no error.
Leaves to others: the digest over the inputs (`stages.build.inputs`).
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from assay.model.artifact import SourceState
from assay.model.source_file import SourceFile

GIT_TIMEOUT_S = 20.0
"""Seconds for one question to git; on a cold network file system it takes some."""

_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_ALLOW_PROTOCOL": "none"}
"""Nothing of the user's environment; a partial clone fetches nothing."""

_HARMLESS = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.pager=cat")


def source_state(root: Path, files: tuple[SourceFile, ...], digest: str) -> tuple[SourceState, tuple[str, ...]]:
    """Commit, origin and dirtiness of `files` in the repository at or above `root`, and those of them that are not what
    the commit holds; `digest` is that of the files.
    """
    commit = _git(root, "rev-parse", "--verify", "HEAD^{commit}")
    if commit is None:
        return SourceState(digest=digest), ()
    origin = _git(root, "config", "--local", "--get", "remote.origin.url")
    changed = _differing(root, files)
    state = SourceState(
        repository=_published(origin.strip()) if origin else None,
        commit=commit.strip(),
        dirty=bool(changed),
        digest=digest,
    )
    return state, changed


def path_in_repository(root: Path, path: str) -> str:
    """`path` (below `root`) as the repository has it; without a repository as it is."""
    prefix = _git(root, "rev-parse", "--show-prefix")
    return f"{prefix.strip()}{path}" if prefix is not None else path


def _differing(root: Path, files: Iterable[SourceFile]) -> tuple[str, ...]:
    """The inputs that are not what the commit holds. One that was deleted is no input, and shows in the digest."""
    listing = _git(root, "ls-tree", "-r", "-z", "HEAD", ".")
    if listing is None:
        return tuple(file.path for file in files)
    committed = {}
    for row in filter(None, listing.split("\0")):
        about, _, path = row.partition("\t")
        mode, _, object_id = about.split(" ")
        committed[path] = (mode, object_id)
    return tuple(file.path for file in files if committed.get(file.path) not in _object_ids(file))


def _object_ids(file: SourceFile) -> tuple[tuple[str, str], ...]:
    """Mode and git object id of a file, for SHA-1 and SHA-256 repositories."""
    blob = b"blob %d\0" % len(file.data) + file.data
    sha1 = hashlib.sha1(blob, usedforsecurity=False).hexdigest()
    return (file.mode, sha1), (file.mode, hashlib.sha256(blob).hexdigest())


def _git(root: Path, *question: str) -> str | None:
    program = shutil.which("git")
    if program is None:
        return None
    # Git refuses folders of other users, since their configuration could start programs: these questions start none.
    command = [program, *_HARMLESS, "-c", "safe.directory=*", "-C", str(root), *question]
    try:
        answer = subprocess.run(command, capture_output=True, timeout=GIT_TIMEOUT_S, check=False, env=_ENVIRONMENT)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.decode("utf-8", "surrogateescape") if answer.returncode == 0 else None


def _published(origin: str) -> str | None:
    """Where strangers find the repository: without user name and password, which people keep in it; a path is nobody's.

    `https://...` and `git@host:path` say something to a stranger, a folder of this machine or `file://` does not.
    """
    if re.match(r"(https?|ssh|git)://", origin):
        parts = urlsplit(origin)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))
    scp_like = re.fullmatch(r"(?:[^@/:]+@)?([A-Za-z0-9.-]+:[^\\]+)", origin)
    return scp_like.group(1) if scp_like and "://" not in origin else None
