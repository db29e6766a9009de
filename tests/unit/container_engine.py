# SPDX-License-Identifier: Apache-2.0
"""Real container engines for tests and the bench: a service of one's own, on a socket of its own, in a folder."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROGRAMS = ["sh", "cat", "cp", "env", "id", "nproc", "ls", "sleep", "mkdir", "chmod", "printf", "touch", "rm", "true"]
BUSYBOX = "/bin/busybox"
ENGINES = {"podman": ("podman", "runc", BUSYBOX), "docker": ("dockerd", "containerd", "runc", BUSYBOX)}
ENGINE_START_S = 120.0


class NoEngine(Exception):
    """Why there is none."""


class Engine:
    """A service of its own, of podman or Docker Engine, with an image of busybox and nothing else."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder = folder
        self.address = f"unix://{folder}/engine.sock"
        command = {"podman": self._podman, "docker": self._dockerd}[kind]()
        die = ["setpriv", "--pdeathsig", "KILL", "--"]
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen([*die, *command], cwd=folder, stdout=quiet, stderr=quiet)  # conmon leaves files

    def start(self) -> None:
        """Wait until it answers, bring the image, and run one container: without a line of ours."""
        import docker

        deadline_s = time.monotonic() + ENGINE_START_S
        while not (self.folder / "engine.sock").exists() and time.monotonic() < deadline_s:
            time.sleep(0.05)
        self.client = docker.DockerClient(base_url=self.address, timeout=120)
        tar = self.folder / "image.tar"
        tar.write_bytes(_image())
        self.client.api.import_image_from_file(str(tar), repository="busybox")
        self.image = str(self.client.images.list()[0].id)
        self.client.containers.run(self.image, ["true"], network_mode="none", ulimits=_limits(), remove=True)

    def _podman(self) -> list[str]:
        words = ["--root", f"{self.folder}/root", "--runroot", f"{self.folder}/run", "--storage-driver", "vfs"]
        words += ["--runtime", "runc", "--cgroup-manager", "cgroupfs", "system", "service", "-t", "0", self.address]
        return ["podman", *words]

    def _dockerd(self) -> list[str]:
        words = ["--data-root", f"{self.folder}/root", "--exec-root", f"{self.folder}/run", "--storage-driver", "vfs"]
        words += ["--pidfile", f"{self.folder}/pid", "--iptables=false", "--bridge=none", "--host", self.address]
        return ["dockerd", *words]


@contextlib.contextmanager
def running_engine(kind: str) -> Iterator[Engine]:
    """One that has run a container; raises `NoEngine` where none does. In a folder of a short name: podman takes no
    --runroot of more than 50 characters.
    """
    if missing := lacking(kind):
        raise NoEngine(f"{missing} is missing: nox -s containers")
    import docker

    with tempfile.TemporaryDirectory(prefix="eng-", ignore_cleanup_errors=True) as folder:
        engine = Engine(Path(folder), kind)
        try:
            try:
                engine.start()
            except docker.errors.DockerException as error:
                raise NoEngine(f"{kind} runs no container on this machine: {error}") from error
            yield engine
        finally:
            engine.process.terminate()
            engine.process.wait()


def lacking(kind: str) -> str:
    """What is missing here for an engine of that kind; empty if nothing is. podman also runs as anybody who has ranges
    of ids (uidmap), Docker Engine as root.
    """
    programs = (*ENGINES[kind], *(("newuidmap",) if os.geteuid() else ()))
    missing = ", ".join(program for program in programs if shutil.which(program) is None)
    return missing or ("root" if os.geteuid() and kind == "docker" else "")


def _limits() -> list[Any]:
    """In so many words: podman without CAP_SYS_RESOURCE cannot give its own defaults."""
    import docker

    return [docker.types.Ulimit(name=name, soft=1024, hard=1024) for name in ("nofile", "nproc")]


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
