# SPDX-License-Identifier: Apache-2.0
"""What a stage may ask of a builder: run one build command on declared inputs, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class BuildTask:
    """One build: `command` with its environment, in a copy of the sources; outputs go to `out`.

    `user`, `umask`, `locale`, `timezone`, `epoch_s` are what two builds differ in.
    """

    command: tuple[str, ...]
    source: Path
    out: Path
    cache: Path
    environment: dict[str, str] = field(default_factory=dict)
    user: str = "build"
    umask: int = 0o022
    hidden: tuple[Path, ...] = ()
    """Folders that the build must not see (keys)."""


class Builder(Protocol):
    """Runs builds. Raises `UnitFailed` with the end of the log when the command fails, `ToolMissing` for a tool."""

    @property
    def name(self) -> str:
        """`host` or `sandbox`: goes into the provenance, since they guarantee different things."""
        ...

    def run(self, task: BuildTask) -> str:
        """Run it; answers the build's output text."""
        ...
