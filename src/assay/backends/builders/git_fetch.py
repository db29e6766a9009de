# SPDX-License-Identifier: Apache-2.0
"""The files of one commit, out of somebody's repository (a path or a URL) into a folder.

Guards: no hook, filter or configuration of the repository or of this user has a say: blobs are written as they are
stored, and only ordinary files (no links, no submodules: neither is an input of a build). The commit is named by its
digest, so whoever serves it cannot give another one; time, bytes and files have bounds.
Leaves to others: whether these are the inputs that were declared.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import IO

from assay.errors import InfrastructureError, NotVerified, StorageError, ToolMissing, UsageFault

FETCH_TIMEOUT_S = 600.0
"""Seconds to fetch a repository."""

TREE_BYTES_MAX = 2 * 1024 * 1024 * 1024
"""Bytes of all files of a commit."""

FETCHED_BYTES_MAX = 4 * 1024 * 1024 * 1024
"""Bytes of one file that git may write while it fetches: of a pack, then, and all that is fetched at once is one."""

LISTING_BYTES_MAX = 64 * 1024 * 1024
"""Bytes of the list of a commit's files. A few kilobytes of trees that hold each other many times are a list without
end; 64 MiB are half a million files.
"""

BLOCK_BYTES = 512
"""Of `ulimit -f`."""

LIMITED = 'ulimit -f "$1"; shift; exec "$@"'
CHUNK_BYTES = 1024 * 1024

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_USER = re.compile(r"(\w+)://([^/?#]*)@")
_FILES = {"100644": 0o644, "100755": 0o755}
_OPTIONS = ("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "safe.directory=*")


def refuse_passwords(source: str) -> None:
    """Raises `UsageFault` for an address with a password or a token in it: git's arguments can be read by every user of
    the machine, and the address is printed. The user of an `ssh` address is none.
    """
    found = _USER.search(source)
    if found is None or (found[1] == "ssh" and ":" not in found[2]):
        return
    raise UsageFault(
        "the address of the sources has a user name or password in it",
        remedy="clone it with git and its credential helper (git help credentials), and name the clone with --source",
    )


def fetch_tree(source: str, commit: str, folder: Path) -> None:
    """Write the files of `commit` from the repository `source` below `folder`. Raises `InfrastructureError` when it
    cannot be had, `NotVerified` for a tree that would leave the folder, `UsageFault` for an address that is none.
    """
    refuse_passwords(source)
    if not _COMMIT.fullmatch(commit):
        raise NotVerified(f"{commit[:80]!r} is no commit", remedy="get the provenance again")
    if shutil.which("git") is None:
        raise ToolMissing("git is not installed", remedy="sudo apt-get install -y git")
    try:
        with tempfile.TemporaryDirectory(prefix="assay-fetch-") as scratch:
            repository = Path(scratch) / "repository"
            form = "sha256" if len(commit) == 64 else "sha1"
            _git(Path(scratch), "init", "-q", "--bare", f"--object-format={form}", str(repository))
            _fetch(repository, _as_git_means_it(source), commit)
            _write_tree(repository, commit, folder)
    except OSError as error:
        raise StorageError(f"no room to fetch: {error.strerror}", remedy="free disk space, or set TMPDIR") from error


def _as_git_means_it(source: str) -> str:
    """A path as an absolute one: git is not started where the user stands."""
    if "://" in source or re.match(r"[^/]+:", source):
        return source
    path = Path(source).absolute()
    if not path.is_dir():
        raise UsageFault(f"there is no repository {source}", remedy="name a folder or a URL with --source")
    return str(path)


def _fetch(repository: Path, source: str, commit: str) -> None:
    """The commit alone where its server gives it, else everything."""
    told = ""
    for what in (("--depth=1", "--", source, commit), ("--", source, "+refs/*:refs/fetched/*")):
        done = _run(repository, "fetch", "-q", "--no-tags", *what)
        if done.returncode == 0 and _run(repository, "cat-file", "-e", f"{commit}^{{commit}}").returncode == 0:
            return
        told = done.stderr.decode("utf-8", "replace").strip()[-300:] or "it does not have it"
    raise InfrastructureError(
        f"commit {commit[:12]} cannot be had from {source}: {told}",
        remedy="name a repository that has it: --source FOLDER_OR_URL (a clone of your own where a password is needed)",
    )


def _write_tree(repository: Path, commit: str, folder: Path) -> None:
    listing = _listing(repository, commit)
    command = ["git", *_OPTIONS, "-C", str(repository), "cat-file", "--batch"]
    room = TREE_BYTES_MAX
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_environment()) as reader:
        assert reader.stdin is not None and reader.stdout is not None
        for row in filter(None, listing.split(b"\0")):
            about, _, name = row.partition(b"\t")
            mode, _, object_id = about.decode().split(" ")
            if mode not in _FILES:
                continue
            reader.stdin.write(object_id.encode() + b"\n")
            reader.stdin.flush()
            size = _size(reader.stdout.readline(), name)
            room -= size
            if room < 0:
                raise NotVerified(f"the commit has more than {TREE_BYTES_MAX} bytes", remedy="build it by hand")
            _write(reader.stdout, size, _inside(folder, name), _FILES[mode])
        reader.stdin.close()


def _listing(repository: Path, commit: str) -> bytes:
    """What `git ls-tree` says of every file. Raises `NotVerified` for more than can be meant."""
    command = ["git", *_OPTIONS, "-C", str(repository), "ls-tree", "-r", "-z", "--full-tree", commit]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, env=_environment()) as reader:
        assert reader.stdout is not None
        listing = reader.stdout.read(LISTING_BYTES_MAX + 1)
        if len(listing) > LISTING_BYTES_MAX:
            reader.kill()
            text = f"the list of the commit's files is longer than {LISTING_BYTES_MAX} bytes"
            raise NotVerified(text, remedy="do not build this commit")
    if reader.returncode != 0:
        text = "git ls-tree failed: a part of the commit is missing"
        raise InfrastructureError(text, remedy="check the repository with git fsck")
    return listing


def _size(answer: bytes, name: bytes) -> int:
    """Bytes of the file `name`, from what git says of it: `ID blob SIZE`, `ID missing`, or nothing when it ended."""
    words = answer.split()
    if len(words) != 3 or words[1] != b"blob" or not words[2].isdigit():
        text = f"{os.fsdecode(name)} is missing in the repository that has the commit"
        raise InfrastructureError(text, remedy="check the repository with git fsck, or name another one with --source")
    return int(words[2])


def _write(stream: IO[bytes], size: int, path: Path, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    left = size
    with path.open("wb") as file:
        while left and (chunk := stream.read(min(left, CHUNK_BYTES))):
            file.write(chunk)
            left -= len(chunk)
    if left or stream.read(1) != b"\n":
        raise InfrastructureError(f"git ended within {path.name}", remedy="check the repository with git fsck")
    path.chmod(mode)


def _inside(folder: Path, name: bytes) -> Path:
    text = os.fsdecode(name)
    if text.startswith("/") or any(part in ("", ".", "..", ".git") for part in text.split("/")):
        raise NotVerified(f"the commit holds a file outside of its folder: {text!r}", remedy="do not build this commit")
    return folder / text


def _git(repository: Path, *words: str) -> bytes:
    done = _run(repository, *words)
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip()[-300:]
        raise InfrastructureError(f"git {words[0]} failed: {said}", remedy="check the repository with git fsck")
    return done.stdout


def _run(repository: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    """git and what it starts, ended as a whole when it takes too long, and with files of bounded size."""
    command = ["sh", "-c", LIMITED, "sh", str(FETCHED_BYTES_MAX // BLOCK_BYTES)]
    command += ["git", *_OPTIONS, "-C", str(repository), *words]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, env=_environment(), start_new_session=True
    ) as process:
        try:
            out, err = process.communicate(timeout=FETCH_TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            text = f"git {words[0]} did not end in {FETCH_TIMEOUT_S:.0f} s"
            raise InfrastructureError(
                text, remedy="clone the repository yourself, and name it with --source"
            ) from error
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def _environment() -> dict[str, str]:
    """Nothing of the user's configuration; HOME and the agent for ssh keys."""
    kept = {name: os.environ[name] for name in ("HOME", "SSH_AUTH_SOCK", "TMPDIR") if name in os.environ}
    return {
        **kept,
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",
        "GIT_SSH_COMMAND": "ssh -o BatchMode=yes",
    }
