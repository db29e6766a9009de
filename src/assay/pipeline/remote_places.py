# SPDX-License-Identifier: Apache-2.0
"""Places that are reached over SSH: the host on one, while the place is ours.

Guards: the place is locked before its host is asked anything. Leaves to others: the connection (`drivers.ssh`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from assay.errors import UsageFault
from assay.pipeline import driver_doors
from assay.pipeline.place_hold import hold
from assay.pipeline.places import find_place

if TYPE_CHECKING:
    from assay.interfaces.remote_host import RemoteHost
    from assay.pipeline.site import Site


@contextmanager
def open_host(
    site: Site, name: str, *, verb: str, wait_s: float = 0.0, bench: Path | None = None, start: Path | None = None
) -> Iterator[RemoteHost]:
    """The host on place `name`, locked for `verb`; it connects when it is first asked for something.

    Raises `PlaceBusy` naming the holder after `wait_s` seconds, `UsageFault` for a place without `ssh`, `ToolMissing`.
    """
    address = find_place(site, name, bench=bench, start=start)
    if address.ssh is None:
        raise UsageFault(f"place {name} has no host", remedy="add `ssh` to the place in bench.toml")
    with ExitStack() as held:
        hold(address, held, verb=verb, wait_s=wait_s, console=False)
        yield held.enter_context(driver_doors.open_host(address.ssh))
