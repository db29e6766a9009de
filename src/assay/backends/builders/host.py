# SPDX-License-Identifier: Apache-2.0
"""A builder without a sandbox: a clean environment, and nothing more.

Guards: the build inherits no variable of ours. It can read what the user can read, and use the network; the provenance
says `host` for this. Leaves to others: keeping a build in (`sandbox`).
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from assay.backends.builders.build_process import BuildProcesses
from assay.backends.builders.fewer_cpus import can_pin, pinned
from assay.interfaces.builder import BuilderSettings, BuildTask, Change
from assay.model.artifact import ToolIdentity


def open_host(_settings: BuilderSettings) -> HostBuilder:
    """Entry point `assay.builders`."""
    return HostBuilder()


def _dies_with_us() -> list[str]:
    """A build whose assay was killed must not go on for hours; what it had started ends by itself."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []


class HostBuilder:
    """Implements `interfaces.builder.Builder`."""

    name = "host"
    keeps_in = False
    python = sys.executable
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"

    def __init__(self) -> None:
        self._processes = BuildProcesses()

    @property
    def changes(self) -> frozenset[Change]:
        """The number of processors, where there is more than one."""
        return frozenset({"CPU count"} if can_pin() else ())

    def tools(self) -> None:
        """The machine's."""

    def parts(self) -> tuple[ToolIdentity, ...]:
        """Nothing of its own."""
        return ()

    def run(self, task: BuildTask) -> str:
        """Run the build as the user who called."""
        return self._processes.run([*_dies_with_us(), *pinned(task.cpus), *task.command], task)

    def stop(self) -> None:
        """End the builds that run now."""
        self._processes.stop()
