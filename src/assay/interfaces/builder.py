# SPDX-License-Identifier: Apache-2.0
"""What a stage may ask of a builder: run one build command on declared inputs, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class BuildTask:
    """One build: `command`, started in `source` (a copy of the declared inputs), leaves its outputs in `out`.

    All paths are the same inside and outside of a sandbox. `environment` is the whole environment. `uid` is the user id
    that the build sees where the builder can change it.
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
    hidden: tuple[Path, ...] = ()
    """Folders that the build must not see (keys)."""


class Builder(Protocol):
    """Runs builds. Raises `UnitFailed` with the end of the log when the command fails, `ToolMissing` without a tool."""

    @property
    def name(self) -> str:
        """`host` or `sandbox`: goes into the provenance, since they guarantee different things."""
        ...

    @property
    def changes_uid(self) -> bool:
        """Whether a build sees the `uid` and the `hostname` of its task."""
        ...

    def run(self, task: BuildTask) -> str:
        """Run it; answers the build's output text. May be called from several threads."""
        ...

    def stop(self) -> None:
        """End the builds that run now; their `run` raises."""
        ...
