# SPDX-License-Identifier: Apache-2.0
"""A builder in a container: an image by digest, declared inputs, a scratch folder; no network, no home, no keys.

Guards: the image is named by digest and has to be there (nothing is pulled); its file system and the sources are
read-only; the build has no network, no capabilities and no way to new privileges, a user and a host name of its own.
A container whose assay is gone is removed by the next build. Works with Docker Engine, and with the service of podman.
Leaves to others: which image (`[build] image`, `--image`), the two surroundings (`stages.build`).
"""

from __future__ import annotations

import contextlib
import importlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from assay.backends.builders.build_process import BUILD_TIMEOUT_S, LOG_BYTES_KEPT, failure
from assay.backends.builders.sandbox_strays import owner_is_gone, owner_word
from assay.errors import AssayError, InfrastructureError, ToolMissing, UnitFailed, UsageFault
from assay.interfaces.builder import BuilderSettings, BuildTask, Change
from assay.model.artifact import ToolIdentity
from assay.model.build_recipe import IMAGE_DIGEST

ENGINE_TIMEOUT_S = 60.0
"""Seconds for one answer of the engine; podman takes one for a container, a loaded machine some more."""

OWNER = "assay.owner"
"""The label of our containers: which process made it."""

FILES_MAX = 4096
PROCESSES_MAX = 4096
"""Limits of a build, given in so many words: podman without CAP_SYS_RESOURCE cannot give its own defaults."""

MEMORY_SHARE = 0.5
"""Of the machine's memory, for one build; two run at a time. One that wants more is ended, and not the machine."""

LOG_BYTES_MAX = 16 * 1024 * 1024
"""Bytes of a build's output that the engine keeps (about) and that are read: beyond, the end is what came so far."""

SCRIPT = """\
umask "$1"; count=$2; shift 2
(shift "$count"; "$@"); status=$?
while [ "$count" -gt 0 ]; do
    for each in "$1"/* "$1"/.[!.]* "$1"/..?*; do chmod -R a+rwX "$each"; done 2>/dev/null
    shift; count=$((count - 1))
done
exit $status
"""
"""The umask of a build is no option of an engine; what it left must be readable, and can be removed, by who called. The
folders themselves are the caller's: busybox's chmod goes no further where it may not change the first.
"""

TEMPORARY = ".tmp"
"""Below the home of a build: its /tmp."""

_BY_DIGEST = "add --image NAME@sha256:... (docker images --digests), or [build] image"
_MISSING = 127
_KILLED = 128 + 9


def open_container(settings: BuilderSettings) -> ContainerBuilder:
    """Entry point `assay.builders`. Raises `ToolMissing`, `UsageFault`, `InfrastructureError`."""
    if settings.image is None:
        raise UsageFault(
            "a container needs an image by digest",
            remedy=_BY_DIGEST,
        )
    if not IMAGE_DIGEST.fullmatch(settings.image):
        raise UsageFault(f"{settings.image[:80]!r} names no image by its digest", remedy=_BY_DIGEST)
    try:
        docker = importlib.import_module("docker")
    except ImportError as error:
        raise ToolMissing(
            "containers need the package docker", remedy="pip install 'assay[container]' from the project's folder"
        ) from error
    return ContainerBuilder(_client(docker, settings.engine), settings.image)


class ContainerBuilder:
    """Implements `interfaces.builder.Builder` with an engine's API."""

    name = "container"
    keeps_in = True
    python = "python3"
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

    def __init__(self, client: Any, image: str) -> None:
        self._client = client
        self._reference = image
        self._lock = threading.Lock()
        self._running: dict[str, Any] = {}
        self._stopped = False
        with _engine():
            self._image = _image(client, image)
            about = client.info()
            limits = _keeps_limits(client, about)
            self._sets_cpus = limits and bool(about.get("CPUSet")) and len(os.sched_getaffinity(0)) > 1
            self.memory = int(about["MemTotal"] * MEMORY_SHARE) if limits and about.get("MemoryLimit") else None
            """Bytes of memory that a build may have; None where the engine keeps no limit."""
            _remove_strays(client)

    @property
    def changes(self) -> frozenset[Change]:
        """User and host always; processors, where the engine can and there is more than one."""
        always: frozenset[Change] = frozenset({"user id", "host name"})
        return always | {"CPU count"} if self._sets_cpus else always

    def tools(self) -> tuple[ToolIdentity, ...]:
        """The image is the toolchain."""
        name, _, digest = self._reference.rpartition("sha256:")
        return (ToolIdentity(name="image", version=name.removesuffix("@"), sha256=digest),)

    def parts(self) -> tuple[ToolIdentity, ...]:
        """An engine has no digest."""
        return ()

    def run(self, task: BuildTask) -> str:
        """Run the build in a container of its own."""
        _check_hidden(task)
        with _engine():
            container = self._create(task)
            try:
                self._start(container)
                status = self._wait(container)
                text = _end_of_log(container)
                self._check_memory(container, status)
            finally:
                self._forget(container)
        if self._stopped:
            raise InfrastructureError("the build was stopped", remedy="start it again")
        if status == _MISSING and "not found" in text:
            raise ToolMissing(f"the image lacks a program: {text.strip()[-200:]}", remedy="use an image that has it")
        if status != 0:
            raise failure(status if status < 128 else 128 - status, text)
        return text

    def stop(self) -> None:
        """End the builds that run now."""
        with self._lock:
            self._stopped = True
            running = list(self._running.values())
        for container in running:
            with contextlib.suppress(Exception):
                container.kill()

    def _create(self, task: BuildTask) -> Any:
        types = importlib.import_module("docker.types")
        limits = (("nofile", FILES_MAX), ("nproc", PROCESSES_MAX))
        folders = _opened(task)
        memory = self.memory
        log = types.LogConfig(type=types.LogConfig.types.JSON, config={"max-size": str(LOG_BYTES_MAX)})
        cpus = sorted(os.sched_getaffinity(0))[: task.cpus]
        return self._client.containers.create(
            self._image.id,
            ["-c", SCRIPT, "sh", f"{task.umask:03o}", str(len(folders)), *map(str, folders), *task.command],
            entrypoint=["/bin/sh"],
            working_dir=str(task.source),
            environment=task.environment,
            user=f"{task.uid}:{task.uid}",
            hostname=task.hostname,
            network_mode="none",
            read_only=True,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            ulimits=[types.Ulimit(name=name, soft=most, hard=most) for name, most in limits],
            volumes=_volumes(task),
            labels={OWNER: owner_word()},
            log_config=log,
            **({"mem_limit": memory, "memswap_limit": memory} if memory else {}),
            **({"cpuset_cpus": ",".join(map(str, cpus))} if self._sets_cpus and task.cpus else {}),
        )

    def _start(self, container: Any) -> None:
        with self._lock:
            if self._stopped:
                raise InfrastructureError("the build was stopped", remedy="start it again")
            self._running[container.id] = container
        container.start()
        if self._stopped:
            container.kill()

    def _wait(self, container: Any) -> int:
        try:
            return int(container.wait(timeout=BUILD_TIMEOUT_S)["StatusCode"])
        except Exception as error:
            if "timed out" not in str(error).lower():
                raise
            text = f"the build did not end within {BUILD_TIMEOUT_S:.0f} s"
            raise UnitFailed(text, remedy="run its command by hand and see where it hangs") from error

    def _check_memory(self, container: Any, status: int) -> None:
        """Raises `UnitFailed` for a build that the kernel ended since it took more memory than it was given. Docker
        says so; podman says that it was killed, and then it may have been somebody else.
        """
        if not self.memory or self._stopped:
            return
        container.reload()
        room = f"more than {self.memory // 2**20} MiB of memory"
        remedy = "let it run fewer jobs at a time, or build on a machine with more memory"
        if container.attrs.get("State", {}).get("OOMKilled"):
            raise UnitFailed(f"the build took {room} and was ended", remedy=remedy)
        if status == _KILLED:
            raise UnitFailed(f"the build was ended by SIGKILL, as is one that takes {room}", remedy=remedy)

    def _forget(self, container: Any) -> None:
        with self._lock:
            self._running.pop(container.id, None)
        with contextlib.suppress(Exception):
            container.remove(force=True)


@contextlib.contextmanager
def _engine() -> Iterator[None]:
    """Whatever the package or the engine throws is an infrastructure error of ours."""
    try:
        yield
    except AssayError:
        raise
    except Exception as error:
        said = str(error).strip()[-300:] or type(error).__name__
        remedy = "see that the engine runs: docker info, or podman system service"
        raise InfrastructureError(f"the container engine failed: {said}", remedy=remedy) from error


def _client(docker: Any, engine: str | None) -> Any:
    """The engine that was named, else DOCKER_HOST, else the first socket in its usual place that there is."""
    address = engine or os.environ.get("DOCKER_HOST") or next(iter(_sockets()), None)
    if address is None:
        raise ToolMissing(
            "no container engine listens here",
            remedy="start Docker or `podman system service`, or set DOCKER_HOST=unix://SOCKET",
        )
    with _engine():
        client = docker.DockerClient(base_url=address, timeout=ENGINE_TIMEOUT_S)
        client.ping()
    return client


def _sockets() -> list[str]:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    usual = [Path("/run/docker.sock"), Path("/var/run/docker.sock"), Path("/run/podman/podman.sock")]
    usual += [Path(runtime) / "podman" / "podman.sock"] if runtime else []
    return [f"unix://{path}" for path in usual if path.is_socket()]


def _image(client: Any, reference: str) -> Any:
    """The image with that very digest; nothing is pulled. Raises `ToolMissing`."""
    name, _, digest = reference.rpartition("sha256:")
    wanted = f"sha256:{digest}"
    for image in client.images.list(all=True):
        digests = image.attrs.get("RepoDigests") or []
        if (not name and image.id == wanted) or any(each.endswith(f"@{wanted}") for each in digests):
            return image
    raise ToolMissing(
        f"the image {reference} is not there", remedy=f"docker pull {reference}" if name else "load it: docker load"
    )


def _keeps_limits(client: Any, about: dict[str, Any]) -> bool:
    """False for podman without root on a machine with the first version of cgroups: it takes limits and leaves them
    out, and of all its answers only those of its own API tell who it is.
    """
    if about.get("CgroupVersion") != "1":
        return True
    answer = client.api.get(f"{client.api.base_url}/v4.0.0/libpod/info")
    return not (answer.ok and answer.json()["host"]["security"]["rootless"])


def _end_of_log(container: Any) -> str:
    """The end of what the build said; neither a long line nor a log without end is read whole into memory."""
    kept, read = b"", 0
    for chunk in container.logs(stdout=True, stderr=True, stream=True, follow=False):
        kept = (kept + chunk)[-LOG_BYTES_KEPT:]
        read += len(chunk)
        if read > LOG_BYTES_MAX:
            break
    return kept.decode("utf-8", "replace")


def _volumes(task: BuildTask) -> dict[str, dict[str, str]]:
    read = {str(path): {"bind": str(path), "mode": "ro"} for path in (task.source, *task.seen)}
    write = {str(path): {"bind": str(path), "mode": "rw"} for path in (task.out, task.cache, task.home)}
    return read | write | {str(task.home / TEMPORARY): {"bind": "/tmp", "mode": "rw"}}  # noqa: S108  # inside


def _opened(task: BuildTask) -> tuple[Path, ...]:
    """The folders that a build writes to, open to its user, who is not the one who called: also those in its home."""
    # A tmpfs has the mode that /tmp has in the image: with runc, whatever mode is asked for.
    (task.home / TEMPORARY).mkdir(exist_ok=True)
    inside = sorted(path for path in task.home.iterdir() if path.is_dir() and not path.is_symlink())
    folders = (task.out, task.cache, task.home, *inside)
    for folder in folders:
        if folder.stat().st_uid == os.geteuid():
            folder.chmod(0o1777 if folder.name == TEMPORARY else 0o777)
    return folders


def _check_hidden(task: BuildTask) -> None:
    shown = (task.source, task.out, task.cache, task.home, *task.seen)
    for path in task.hidden:
        if any(path.is_relative_to(each) for each in shown):
            raise UsageFault(f"{path} holds keys, and the build would see it", remedy="move the site out of that tree")


def _remove_strays(client: Any) -> None:
    """Containers of ours whose process has ended."""
    for container in client.containers.list(all=True, filters={"label": OWNER}):
        if owner_is_gone(container.labels.get(OWNER, "")):
            with contextlib.suppress(Exception):
                container.remove(force=True)
