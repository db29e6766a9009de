# SPDX-License-Identifier: Apache-2.0
"""What a build can reach, what it leaves behind, and builds beside it that do not disturb it."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import socket
import tempfile
import time
from pathlib import Path

import pytest
from tiny_build import (
    SAME,
    NoPause,
    build,
    needs_sandbox,
    request_for,
    tiny_project,
    tiny_site,
    write_script,
)

from assay.backends.builders.sandbox import why_not
from assay.errors import StorageError, UnitFailed
from assay.pipeline.artifact_folder import read_artifact
from assay.pipeline.build_places import SCRATCH
from assay.pipeline.module_build import build_module
from assay.pipeline.site import Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return tiny_site(tmp_path)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return tiny_project(tmp_path)


@needs_sandbox
@pytest.mark.parametrize(
    "attempt",
    [
        "open('{keys}/secret.pem').read()",
        "os.listdir('{keys}')",
        "open('{root}/../outside.txt').read()",
        "socket.create_connection(('127.0.0.1', {port}), 2)",
        "open('mod/new', 'w')",
        "open('/usr/bin/new', 'w')",
        "open('{root}/mod/data/blob').read()",
        "os.environ['ASSAY_TEST_SECRET']",
        "open('/etc/shadow').read()",
    ],
)
def test_the_sandbox_keeps_a_build_in(project: Path, site: Site, attempt: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_TEST_SECRET", "x")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (project.parent / "outside.txt").write_text("x")
        write_script(project, attempt.format(keys=site.keys_dir, port=port, root=project) + "\n" + SAME)
        with pytest.raises(UnitFailed, match="Error"):
            build(project, site, "sandbox")


def test_the_host_builder_gets_a_clean_environment(project: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_TEST_SECRET", "x")
    write_script(project, "os.environ['ASSAY_TEST_SECRET']")
    with pytest.raises(UnitFailed, match="KeyError"):
        build(project, site)


def _build_in_a_process(project: Path, folder: Path) -> None:
    site = Site(folder)
    site.__dict__["clock"] = NoPause()
    build(project, site, "sandbox" if why_not() is None else "host")


def test_a_build_dies_with_assay_and_leaves_nothing_for_the_next(project: Path, site: Site) -> None:
    write_script(project, "time.sleep(3600)")
    worker = multiprocessing.get_context("fork").Process(target=_build_in_a_process, args=(project, site.folder))
    worker.start()
    deadline = time.monotonic() + 200
    while not (scratch := list(Path(tempfile.gettempdir()).glob(f"{SCRATCH}{worker.pid}-*"))):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    while not _scripts_in(scratch[0]):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    running = _scripts_in(scratch[0])
    os.kill(worker.pid or 0, signal.SIGKILL)
    worker.join()
    while any(Path(f"/proc/{pid}").exists() and _state(pid) != "Z" for pid in running):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert not (project / "out").exists()
    write_script(project, SAME)
    build(project, site)
    assert not scratch[0].exists()


def _scripts_in(folder: Path) -> list[int]:
    """Processes of the build script itself: the wrappers around it have begun to watch over it by then."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                words = (entry / "cmdline").read_text(errors="replace").split("\0")
            except OSError:
                continue
            if words[1:2] == ["mod/build.py"] and str(folder) in words[2]:
                found.append(int(entry.name))
    return found


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def _artifact_in(out: Path, project: Path, folder: Path) -> None:
    site = Site(folder)
    site.__dict__["clock"] = NoPause()
    build_module(request_for(project), site, out, lambda _line: None)


def test_builds_of_the_same_at_once_do_not_disturb_each_other(project: Path, site: Site) -> None:
    workers = [
        multiprocessing.get_context("fork").Process(target=_artifact_in, args=(project / "out", project, site.folder))
        for _ in range(5)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(250)
    assert [worker.exitcode for worker in workers] == [0] * 5
    assert read_artifact(project / "out").payload == bytes(range(256))
    assert not [path for path in project.iterdir() if path.name.startswith(".tmp")]


def test_a_build_that_failed_for_want_of_room_is_no_fail_of_the_sources(
    project: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_script(project, "sys.exit('No space left on device')")
    usage = shutil.disk_usage(project)
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: usage._replace(free=1000))
    with pytest.raises(StorageError, match="no free disk"):
        build(project, site)


def test_an_undeclared_file_is_not_there(project: Path, site: Site) -> None:
    (project / "mod" / "undeclared.txt").write_text("x")
    write_script(project, "open('mod/undeclared.txt').read()")
    with pytest.raises(UnitFailed, match="No such file or directory"):
        build(project, site)
