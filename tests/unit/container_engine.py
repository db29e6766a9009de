# SPDX-License-Identifier: Apache-2.0
"""Real container engines for tests and the bench: a service of one's own, on a socket of its own, in a folder."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
import time
from pathlib import Path

PROGRAMS = ["sh", "cat", "cp", "env", "id", "nproc", "ls", "sleep", "mkdir", "chmod", "printf", "touch", "rm", "true"]
BUSYBOX = "/bin/busybox"
ENGINES = {"podman": ("podman", "runc", BUSYBOX), "docker": ("dockerd", "containerd", "runc", BUSYBOX)}
ENGINE_START_S = 120.0


class Engine:
    """A service of its own, of podman or Docker Engine, with an image of busybox and nothing else."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder = folder
        self.address = f"unix://{folder}/engine.sock"
        command = {"podman": self._podman, "docker": self._dockerd}[kind]()
        die = ["setpriv", "--pdeathsig", "KILL", "--"]
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen([*die, *command], cwd=folder, stdout=quiet, stderr=quiet)  # conmon leaves files
        import docker

        deadline_s = time.monotonic() + ENGINE_START_S
        while not (folder / "engine.sock").exists() and time.monotonic() < deadline_s:
            time.sleep(0.05)
        self.client = docker.DockerClient(base_url=self.address, timeout=120)
        tar = folder / "image.tar"
        tar.write_bytes(_image())
        self.client.api.import_image_from_file(str(tar), repository="busybox")
        self.image = str(self.client.images.list()[0].id)

    def _podman(self) -> list[str]:
        words = ["--root", f"{self.folder}/root", "--runroot", f"{self.folder}/run", "--storage-driver", "vfs"]
        words += ["--runtime", "runc", "--cgroup-manager", "cgroupfs", "system", "service", "-t", "0", self.address]
        return ["podman", *words]

    def _dockerd(self) -> list[str]:
        words = ["--data-root", f"{self.folder}/root", "--exec-root", f"{self.folder}/run", "--storage-driver", "vfs"]
        words += ["--pidfile", f"{self.folder}/pid", "--iptables=false", "--bridge=none", "--host", self.address]
        return ["dockerd", *words]


def lacking(kind: str) -> str:
    """What is missing here for an engine of that kind; empty if nothing is. podman also runs as anybody who has ranges
    of ids (uidmap), Docker Engine as root.
    """
    programs = (*ENGINES[kind], *(("newuidmap",) if os.geteuid() else ()))
    missing = ", ".join(program for program in programs if shutil.which(program) is None)
    return missing or ("root" if os.geteuid() and kind == "docker" else "")


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
