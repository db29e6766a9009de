# SPDX-License-Identifier: Apache-2.0
"""The queue for the log: killed at any operation, a bundle waits whole or is logged whole, and is never gone."""

from __future__ import annotations

from pathlib import Path

import pytest
from crashing_files import Crash, CrashingFiles, memory_dir
from keyless_bench import statement
from memory_signer import MemorySigner

from assay.backends.signers.log_queue import LOGGED, LogQueue, name_of
from assay.errors import StorageError
from assay.model.trust import Role

__all__ = ["memory_dir"]

SIGNER = MemorySigner()
PUBLIC = SIGNER.public_key(Role.BUILDER).public
BUNDLE = SIGNER.sign_statement(Role.BUILDER, statement())
DONE = BUNDLE.replace(b'"tlogEntries":[]', b'"tlogEntries":[{}]')


def _die(files: CrashingFiles, place: int, torn: bool, work: object) -> bool:
    """Whether the process died before `work` was done."""
    files.arm(place, torn=torn)
    try:
        work()  # type: ignore[operator]
    except Crash:
        return True
    finally:
        files.arm(None)
    return False


@pytest.mark.parametrize("torn", [False, True])
def test_killed_while_it_is_put(memory_dir: Path, monkeypatch: pytest.MonkeyPatch, torn: bool) -> None:
    files = CrashingFiles(monkeypatch, memory_dir)
    for place in range(100):
        queue = LogQueue(memory_dir / f"{place}")
        died = _die(files, place, torn, lambda queue=queue: queue.put(BUNDLE, PUBLIC))
        assert [data for _, data in queue.each()] in ([], [BUNDLE])
        if not died:
            assert place > 5 and [path.name for path in queue.waiting()] == [name_of(BUNDLE)]
            return
        queue.put(BUNDLE, PUBLIC)
        assert [data for _, data in queue.each()] == [BUNDLE]
    raise AssertionError("it never came to its end")


@pytest.mark.parametrize("torn", [False, True])
def test_killed_while_it_is_settled(memory_dir: Path, monkeypatch: pytest.MonkeyPatch, torn: bool) -> None:
    files = CrashingFiles(monkeypatch, memory_dir)
    for place in range(100):
        queue = LogQueue(memory_dir / f"{place}")
        queue.put(BUNDLE, PUBLIC)
        (waits,) = queue.waiting()
        died = _die(files, place, torn, lambda queue=queue, waits=waits: queue.settle(waits, DONE))
        logged = queue.folder / LOGGED / waits.name
        if not queue.waiting():
            assert logged.read_bytes() == DONE
        if not died:
            assert place > 5 and not queue.waiting()
            return
        queue.settle(waits, DONE)
        assert logged.read_bytes() == DONE and not queue.waiting()
        assert [path.name for path in (queue.folder / LOGGED).iterdir()] == [waits.name]
    raise AssertionError("it never came to its end")


def test_what_is_put_is_fsynced_before_it_has_its_name(memory_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = LogQueue(memory_dir / "queue")
    queue.put(BUNDLE, PUBLIC)
    files = CrashingFiles(monkeypatch, memory_dir)
    queue.put(BUNDLE, PUBLIC)
    one = ["write", "fsync", "replace", "fsync"]  # the key that it verifies with, and the bundle
    assert [name for name, _ in files.operations if name in ("write", "fsync", "replace")] == one * 2


def test_a_folder_that_cannot_be_written() -> None:
    with pytest.raises(StorageError, match="cannot be written"):
        LogQueue(Path("/proc/queue")).put(BUNDLE, PUBLIC)
