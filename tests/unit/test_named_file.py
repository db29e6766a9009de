# SPDX-License-Identifier: Apache-2.0
"""Files that a person named, of any kind: none of them makes a verb wait for ever."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from assay.backends import named_file
from assay.backends.named_file import read_named
from assay.errors import ManifestFault
from assay.pipeline.trust_file import load_trust


@pytest.fixture
def pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(named_file, "PIPE_TIMEOUT_S", 0.3)
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


def test_a_pipe_that_nobody_writes_to_is_told(pipe: Path) -> None:
    with pytest.raises(TimeoutError, match=r"nothing came from this pipe for 0.3 s"):
        read_named(pipe, 100)
    with pytest.raises(ManifestFault, match=r"pipe: cannot be read: nothing came from this pipe for 0.3 s"):
        load_trust(pipe)


def test_a_pipe_that_is_never_closed_is_told(pipe: Path) -> None:
    writer = os.open(pipe, os.O_RDWR)
    try:
        os.write(writer, b"half of it")
        with pytest.raises(TimeoutError):
            read_named(pipe, 100)
    finally:
        os.close(writer)


def test_what_is_written_to_a_pipe_is_read_whole(pipe: Path) -> None:
    def write() -> None:
        with pipe.open("wb") as file:
            for _ in range(50):
                file.write(b"0123456789" * 1000)

    writer = threading.Thread(target=write)
    writer.start()
    assert read_named(pipe, 1 << 20) == b"0123456789" * 50_000
    writer.join()


def test_other_files_are_read_up_to_the_limit(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 100)
    assert read_named(tmp_path / "file", 10) == b"x" * 10
    assert read_named(Path("/dev/zero"), 10) == bytes(10)
    with pytest.raises(IsADirectoryError):
        read_named(tmp_path, 10)


def test_a_verb_with_a_silent_pipe_for_a_file_ends(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "trust.toml")
    line = [sys.executable, "-m", "assay", "trace", "DS-000001", "--trust", "trust.toml", "--json"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "nothing came from this pipe for 10 s" in done.stdout, done.stderr
