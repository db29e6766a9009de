# SPDX-License-Identifier: Apache-2.0
"""Which builder: the sandbox where it works, unless the user says otherwise.

Guards: who asks for the sandbox gets it or an error, never quietly something weaker; sandboxes of the dead are ended.
"""

from __future__ import annotations

from typing import Literal

from assay.backends.builders.host import HostBuilder
from assay.backends.builders.sandbox import SandboxBuilder, why_not
from assay.backends.builders.sandbox_strays import end_strays
from assay.errors import ToolMissing
from assay.interfaces.builder import Builder

Wish = Literal["auto", "sandbox", "host"]


def choose(wish: Wish) -> tuple[Builder, str | None]:
    """The builder, and why it is not the sandbox when `auto` had to do without."""
    end_strays()
    if wish == "host":
        return HostBuilder(), None
    reason = why_not()
    if reason is None:
        return SandboxBuilder(), None
    if wish == "sandbox":
        raise ToolMissing(f"no sandbox here: {reason}", remedy="apt-get install bubblewrap, or use --builder host")
    return HostBuilder(), reason
