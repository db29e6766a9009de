# SPDX-License-Identifier: Apache-2.0
"""A place that is ours for a while: by this host's lock first, then by labgrid's where it is one of labgrid's.

Guards: nothing of a place is touched before both are ours; who is in the way is named. Leaves to others: where a place
is (`places`), locks and labgrid (`drivers`).
"""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

from assay.errors import LinkError, at_layer
from assay.interfaces.step_book import Say, say_nothing

if TYPE_CHECKING:
    from assay.drivers.locks.file_lock import HeldDoors
    from assay.pipeline.places import PlaceAddress

LABGRID_PORTS = "ASSAY_LABGRID_PORTS"
"""JSON: the consoles of labgrid places that a process above holds, by what their locks are called."""


def hold(
    address: PlaceAddress, held: ExitStack, *, verb: str, wait_s: float = 0.0, say: Say = say_nothing,
    console: bool = True,
) -> str:  # fmt: skip
    """Make the place ours until `held` is left; answers the port to open. Without `console` nobody opens one, and a
    place of labgrid needs none.

    Raises PlaceBusy naming who has it after `wait_s` seconds, StorageError; what labgrid says, as errors of ours.
    """
    from assay.drivers.locks.file_lock import FileLocks

    doors = (address.port, *address.doors)
    say_who_is_waited_for(address.name, doors, wait_s, say)
    lock = held.enter_context(FileLocks().acquire_all(doors, verb=verb, place=address.name, wait_s=wait_s))
    if address.labgrid is None:
        return _where_it_is_now(address, lock)
    if (known := json.loads(os.environ.get(LABGRID_PORTS, "{}")).get(address.port)) is not None:
        return str(known)  # in the sandbox of a test, whose parent holds the place
    from assay.drivers.labgrid.client import console_of
    from assay.drivers.labgrid.hold import LabgridHold

    with at_layer("port"):
        if not lock.lent:
            labgrid = LabgridHold(address.labgrid, wait_s=wait_s)
            held.callback(lambda: say(said) if (said := labgrid.release()) else None)
        return console_of(address.labgrid) if console else address.port


def _where_it_is_now(address: PlaceAddress, lock: HeldDoors) -> str:
    """The port of the unit that is held, looked for again: who waits for minutes may find another unit at its name.

    Raises LinkError when it went to another socket, whose lock is not the one that we have.
    """
    if address.look is None:
        return address.port
    port = address.look()
    if not lock.is_of(port):
        raise LinkError(
            f"{address.name} is at {port} now, and was at {address.port} when this began", remedy="do it again"
        )
    return port


def say_who_is_waited_for(place: str, doors: tuple[str, ...], wait_s: float, say: Say) -> None:
    """One line for the person who is about to wait, where somebody has the place."""
    from assay.drivers.locks.file_lock import FileLocks

    locks = FileLocks()
    if wait_s > 0 and (holder := locks.holder_of(doors)) is not None:
        before = len(locks.waiting_of(doors))
        line = f", {before} wait before" if before else ""
        say(f"{place} is used by {holder}{line}; this waits for it, at most {wait_s:g} s")
