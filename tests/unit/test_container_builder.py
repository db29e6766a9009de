# SPDX-License-Identifier: Apache-2.0
"""Builders: the built-in ones pass the conformance suite, the container's by a real engine (podman), in which a real
module is built; and what is told where there is no engine, no image, or no digest.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_conformance import conform, passed_all
from tiny_build import build, needs_sandbox, tiny_project, tiny_site

from assay.backends.builders import container as module
from assay.backends.builders.choice import choose
from assay.errors import ToolMissing, UnitFailed, UsageFault
from assay.interfaces.builder import BuilderSettings

PROGRAMS = ["sh", "cat", "cp", "env", "id", "nproc", "ls", "sleep", "mkdir", "chmod", "printf", "touch", "rm", "true"]
BUSYBOX = "/bin/busybox"
needs_engine = pytest.mark.skipif(
    any(shutil.which(program) is None for program in ("podman", "runc", BUSYBOX)) or os.geteuid() != 0,
    reason="no podman with runc and busybox-static, or not root: nox -s containers",
)


class Engine:
    """A podman service of its own, with an image of busybox and nothing else."""

    def __init__(self, folder: Path) -> None:
        self.address = f"unix://{folder}/podman.sock"
        words = ["--root", f"{folder}/root", "--runroot", f"{folder}/run", "--storage-driver", "vfs"]
        words += ["--runtime", "runc", "--cgroup-manager", "cgroupfs", "system", "service", "-t", "0", self.address]
        die = ["setpriv", "--pdeathsig", "KILL", "--"]
        self.process = subprocess.Popen([*die, "podman", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        import docker

        deadline_s = time.monotonic() + 60
        while not (folder / "podman.sock").exists() and time.monotonic() < deadline_s:
            time.sleep(0.05)
        self.client = docker.DockerClient(base_url=self.address, timeout=60)
        tar = folder / "image.tar"
        tar.write_bytes(_image())
        self.client.api.import_image_from_file(str(tar), repository="busybox")
        self.image = str(self.client.images.list()[0].id)


def _image() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in ("bin", "etc", "tmp", "usr", "proc", "dev", "sys"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(folder)
        data = Path(BUSYBOX).read_bytes()
        program = tarfile.TarInfo("bin/busybox")
        program.size, program.mode = len(data), 0o755
        tar.addfile(program, io.BytesIO(data))
        for name in PROGRAMS:
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    return out.getvalue()


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """In a folder of a short name: podman takes no --runroot of more than 50 characters."""
    with tempfile.TemporaryDirectory(prefix="pod-", ignore_cleanup_errors=True) as folder:
        running = Engine(Path(folder))
        yield running
        running.process.terminate()
        running.process.wait()


def test_the_host_builder_conforms(tmp_path: Path) -> None:
    passed_all(conform(tmp_path, "builders", "--assay-driver=host"), 14)


@needs_sandbox
def test_the_sandbox_conforms(tmp_path: Path) -> None:
    passed_all(conform(tmp_path, "builders", "--assay-driver=sandbox"), 22)


@needs_engine
def test_the_container_conforms_on_a_real_engine(tmp_path: Path, engine: Engine) -> None:
    options = (f"--assay-driver-option=engine={engine.address}", f"--assay-driver-option=image={engine.image}")
    passed_all(conform(tmp_path, "builders", "--assay-driver=container", *options), 22)
    assert engine.client.containers.list(all=True) == []


@needs_engine
def test_a_module_is_built_in_a_container_and_names_its_image(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", engine.address)
    root, site = tiny_project(tmp_path), tiny_site(tmp_path)
    text = (root / "mod" / "module.toml").read_text()
    command = '["sh", "-c", "cp mod/data/blob {out}/payload.bin"]'
    (root / "mod" / "module.toml").write_text(
        text.replace('["{python}", "mod/build.py", "{out}", "{defines}"]', command)
    )
    artifact = build(root, site, "container", image=engine.image).built.artifact
    assert artifact.builder == "container"
    assert [(tool.name, tool.sha256) for tool in artifact.tools] == [("image", engine.image.removeprefix("sha256:"))]
    assert {"user id", "host name"} <= set(artifact.variations)
    (root / "mod" / "module.toml").write_text(text.replace('"{python}", "mod/build.py"', '"cat", "absent"'))
    with pytest.raises(UnitFailed, match="No such file"):
        build(root, site, "container", image=engine.image)
    with pytest.raises(ToolMissing, match="is not there"):
        build(root, site, "container", image="sha256:" + "0" * 64)


@needs_engine
def test_a_container_of_the_dead_is_removed(tmp_path: Path, engine: Engine) -> None:
    word = module.owner_word().rpartition("_")[0] + "_1"  # this process id, started at another time
    stray = engine.client.containers.create(engine.image, ["sleep", "300"], labels={module.OWNER: word}, user="1:1")
    other = engine.client.containers.create(engine.image, ["true"], labels={module.OWNER: module.owner_word()})
    choose("container", BuilderSettings(image=engine.image, engine=engine.address))
    left = [each.id for each in engine.client.containers.list(all=True)]
    other.remove(force=True)
    assert stray.id not in left and other.id in left


def test_without_an_image_or_an_engine_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageFault, match="needs an image by digest"):
        choose("container")
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(module, "_sockets", list)
    with pytest.raises(ToolMissing, match="no container engine listens here"):
        choose("container", BuilderSettings(image="sha256:" + "0" * 64))
    monkeypatch.setitem(sys.modules, "docker", None)
    with pytest.raises(ToolMissing, match="need the package docker"):
        choose("container", BuilderSettings(image="sha256:" + "0" * 64))


def test_an_unknown_builder_is_told_with_what_there_is() -> None:
    with pytest.raises(UsageFault, match="'cloud'") as told:
        choose("cloud")
    assert "container, host, sandbox" in told.value.remedy
