# SPDX-License-Identifier: Apache-2.0
"""A builder without a sandbox: a clean environment, and nothing more.

Guards: the build inherits no variable of ours. It can read what the user can read, and use the network; the provenance
says `host` for this. Leaves to others: keeping a build in (`sandbox`).
"""

from __future__ import annotations

import shutil

from assay.backends.builders.build_process import BuildProcesses
from assay.interfaces.builder import BuildTask


def _dies_with_us() -> list[str]:
    """A build whose assay was killed must not go on for hours; what it had started ends by itself."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []


class HostBuilder:
    """Implements `interfaces.builder.Builder`."""

    name = "host"
    changes_uid = False

    def __init__(self) -> None:
        self._processes = BuildProcesses()

    def run(self, task: BuildTask) -> str:
        """Run the build as the user who called."""
        return self._processes.run([*_dies_with_us(), *task.command], task)

    def stop(self) -> None:
        """End the builds that run now."""
        self._processes.stop()
