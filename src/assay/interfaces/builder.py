# SPDX-License-Identifier: Apache-2.0
"""What a stage may ask of a builder: run one build command on declared inputs, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from assay.model.artifact import ToolIdentity

Change = Literal["user id", "host name", "CPU count"]
"""What a builder may be able to make different for a build; the rest of its surroundings is set without it."""


@dataclass(frozen=True)
class BuilderSettings:
    """What a user or a module says about the builder. `image`: of a container, by digest. `engine`: where its service
    listens (None: DOCKER_HOST, or the usual place).
    """

    image: str | None = None
    engine: str | None = None


@dataclass(frozen=True)
class BuildTask:
    """One build: `command`, started in `source` (a copy of the declared inputs), leaves its outputs in `out`.

    All paths are the same inside and outside of a sandbox. `environment` is the whole environment. `uid`, `hostname`
    and `cpus` (how many the build sees; None: all) are what the build sees where the builder can change it.
    """

    command: tuple[str, ...]
    source: Path
    out: Path
    cache: Path
    home: Path
    environment: dict[str, str] = field(default_factory=dict)
    uid: int = 1000
    umask: int = 0o022
    hostname: str = "build"
    cpus: int | None = None
    hidden: tuple[Path, ...] = ()
    """Folders that the build must not see (keys)."""
    seen: tuple[Path, ...] = ()
    """Further folders that the build may read: declared trees of tools."""


class Builder(Protocol):
    """Runs builds. Raises `UnitFailed` with the end of the log when the command fails, `ToolMissing` without a tool."""

    @property
    def name(self) -> str:
        """`host`, `sandbox`, `container`: goes into the provenance, since they guarantee different things."""
        ...

    @property
    def keeps_in(self) -> bool:
        """Whether a build can reach nothing but what its task names: no other file, no network."""
        ...

    @property
    def changes(self) -> frozenset[Change]:
        """What of its task a build really sees."""
        ...

    @property
    def python(self) -> str:
        """The Python that a build command gets for `{python}`."""
        ...

    @property
    def path(self) -> str:
        """Where a build looks for programs (PATH)."""
        ...

    def tools(self) -> tuple[ToolIdentity, ...] | None:
        """The toolchain that the builder itself brings, by digest; None when it is the one of this machine."""
        ...

    def parts(self) -> tuple[ToolIdentity, ...]:
        """What the builder itself is made of, by digest; none where it is nothing but this program."""
        ...

    def run(self, task: BuildTask) -> str:
        """Run it; answers the build's output text, of a long one the end (256 KiB). May be called from threads."""
        ...

    def stop(self) -> None:
        """End the builds that run now; their `run` raises."""
        ...
