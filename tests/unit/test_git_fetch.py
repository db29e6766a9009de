# SPDX-License-Identifier: Apache-2.0
"""A commit's files from somebody's repository: which are written, how many, and what a server cannot make wait."""

from __future__ import annotations

import contextlib
import random
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from rebuild_house import House, git

from assay.backends.builders import git_fetch
from assay.backends.builders.git_fetch import fetch_tree
from assay.errors import InfrastructureError, NotVerified


@pytest.fixture
def house(tmp_path: Path) -> House:
    """A repository; nothing is built of it."""
    return House(tmp_path / "house")


def test_only_ordinary_files_of_a_commit_are_written(house: House, tmp_path: Path) -> None:
    fetch_tree(str(house.root), git(house.root, "rev-parse", "HEAD"), tmp_path / "tree")
    assert not (tmp_path / "tree" / "mod" / "link").exists()
    assert (tmp_path / "tree" / "mod" / "build.py").is_file()
    with pytest.raises(NotVerified, match="is no commit"):
        fetch_tree(str(house.root), "--upload-pack=x", tmp_path / "other")


def test_what_is_fetched_has_a_bound(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(tmp_path, "init", "-q", "large")
    (tmp_path / "large" / "file").write_bytes(random.Random(1).randbytes(300_000))
    for words in (("add", "."), ("commit", "-qm", "x")):
        git(tmp_path / "large", *words)
    commit = git(tmp_path / "large", "rev-parse", "HEAD")
    fetch_tree(str(tmp_path / "large"), commit, tmp_path / "whole")
    monkeypatch.setattr(git_fetch, "FETCHED_BYTES_MAX", 100_000)
    with pytest.raises(InfrastructureError, match="cannot be had"):
        fetch_tree(str(tmp_path / "large"), commit, tmp_path / "tree")
    assert not (tmp_path / "tree").exists()


def test_a_commit_of_endless_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trees of ten entries that are the same tree, seven times over: ten million files in eight objects."""
    git(tmp_path, "init", "-q", "bomb")
    bomb = tmp_path / "bomb"
    blob = subprocess.run(
        ["git", "-C", str(bomb), "hash-object", "-w", "--stdin"], input=b"x", check=True, capture_output=True
    )
    kind, inside = "100644 blob", blob.stdout.decode().strip()
    for _ in range(7):
        rows = "".join(f"{kind} {inside}\t{name}\n" for name in "abcdefghij")
        made = subprocess.run(["git", "-C", str(bomb), "mktree"], input=rows.encode(), check=True, capture_output=True)
        kind, inside = "040000 tree", made.stdout.decode().strip()
    commit = git(bomb, "commit-tree", inside, "-m", "x")
    git(bomb, "branch", "x", commit)
    monkeypatch.setattr(git_fetch, "LISTING_BYTES_MAX", 2**20)
    with pytest.raises(NotVerified, match="list of the commit's files"):
        fetch_tree(str(bomb), commit, tmp_path / "tree")
    assert not (tmp_path / "tree").exists()


def test_a_server_that_never_answers_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_fetch, "FETCH_TIMEOUT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(InfrastructureError, match=r"did not end in"):
            fetch_tree(f"git://127.0.0.1:{port}/x", "0" * 40, tmp_path / "tree")


class CuttingDaemon:
    """git's own daemon, whose connections are hung up after `left` bytes; `given` counts those of the last one."""

    def __init__(self) -> None:
        self.left, self.given = 10**9, 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"git://127.0.0.1:{self._listener.getsockname()[1]}"

    @contextlib.contextmanager
    def running(self) -> Iterator[CuttingDaemon]:
        thread = threading.Thread(target=self._serve, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            thread.join()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                with self._listener.accept()[0] as connection:
                    self._hand_on(connection)

    def _hand_on(self, connection: socket.socket) -> None:
        command = ["git", "-c", "safe.directory=*", "daemon", "--inetd", "--export-all"]
        self.given = 0
        with subprocess.Popen(command, stdin=connection, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as daemon:
            assert daemon.stdout is not None
            while data := daemon.stdout.read1(self.left - self.given) if self.given < self.left else b"":  # type: ignore[attr-defined]
                connection.sendall(data)
                self.given += len(data)
            connection.shutdown(socket.SHUT_RDWR)  # its child has it, too
            daemon.kill()


def test_a_fetch_that_was_cut_at_any_byte_leaves_nothing_and_the_next_one_has_it(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """git goes on with no pack that was cut: the next fetch is a new one."""
    (scratch := tmp_path / "scratch").mkdir()
    monkeypatch.setattr(git_fetch.tempfile, "tempdir", str(scratch))
    commit = git(house.root, "rev-parse", "HEAD")
    with CuttingDaemon().running() as daemon:
        source = f"{daemon.address}{house.root}/.git"
        fetch_tree(source, commit, tmp_path / "whole")
        whole = daemon.given
        ends = whole - 32  # words of farewell follow, without which the pack is whole
        for left in [0, 1, 5, *random.Random(7).sample(range(6, ends), 6), ends]:
            daemon.left = left
            with pytest.raises(InfrastructureError, match="cannot be had from"):
                fetch_tree(source, commit, tmp_path / "tree")
            assert not (tmp_path / "tree").exists() and list(scratch.iterdir()) == []
        daemon.left = whole
        fetch_tree(source, commit, tmp_path / "tree")
    files = [path for path in (tmp_path / "whole").rglob("*") if path.is_file()]
    assert len(files) > 3
    for path in files:
        assert (tmp_path / "tree" / path.relative_to(tmp_path / "whole")).read_bytes() == path.read_bytes()


def test_a_file_that_a_repository_lost_is_told(house: House, tmp_path: Path) -> None:
    """A clone of which a disk lost a file: the tree names it, and it is not there."""
    git(tmp_path, "clone", "-q", "--no-local", str(house.root), "clone")
    clone, commit = tmp_path / "clone", git(house.root, "rev-parse", "HEAD")
    for pack in list((clone / ".git" / "objects" / "pack").glob("*.pack")):
        data = pack.read_bytes()
        for file in pack.parent.glob(pack.stem + ".*"):
            file.unlink()
        subprocess.run(["git", "-C", str(clone), "unpack-objects", "-q"], input=data, check=True)
    lost = git(clone, "rev-parse", "HEAD:mod/data/blob")
    (clone / ".git" / "objects" / lost[:2] / lost[2:]).unlink()
    with pytest.raises(InfrastructureError, match="mod/data/blob is missing") as told:
        git_fetch._write_tree(clone, commit, tmp_path / "tree")
    assert "git fsck" in told.value.remedy
