# SPDX-License-Identifier: Apache-2.0
"""Which builder: the sandbox where it works, unless the user says otherwise.

Guards: who asks for the sandbox gets it or an error, never quietly something weaker.
Leaves to others: the builders, each behind its entry point (`assay.builders`).
"""

from __future__ import annotations

from assay.backends.builders.host import HostBuilder
from assay.backends.builders.sandbox import SandboxBuilder, why_not
from assay.backends.entry_points import installed_driver
from assay.errors import UsageFault
from assay.interfaces.builder import Builder, BuilderSettings

AUTO = "auto"
NO_SETTINGS = BuilderSettings()


def choose(wish: str, settings: BuilderSettings = NO_SETTINGS) -> tuple[Builder, str | None]:
    """The builder called `wish`, and why it is not the sandbox when `auto` had to do without."""
    if wish != AUTO:
        return _installed(wish, settings), None
    reason = why_not()
    return (SandboxBuilder(), None) if reason is None else (HostBuilder(), reason)


def _installed(wish: str, settings: BuilderSettings) -> Builder:
    builder: Builder = installed_driver("builders", wish)(settings)
    if builder.name != wish:
        raise UsageFault(
            f"the builder '{wish}' calls itself '{builder.name}'", remedy="correct its entry point: provenance names it"
        )
    return builder
