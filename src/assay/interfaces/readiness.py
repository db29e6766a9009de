# SPDX-License-Identifier: Apache-2.0
"""Whether there is something to read, asked of the system for one descriptor.

Guards: any descriptor will do: `select.select` takes none above 1023, and a process that has many files open gets a
`ValueError` from it. Leaves to others: reading, and what silence means.
"""

from __future__ import annotations

import select
from typing import Protocol


class HasDescriptor(Protocol):
    """A socket, a file, a channel of SSH."""

    def fileno(self) -> int:
        """The descriptor; below zero when it is closed."""
        ...


def readable(source: int | HasDescriptor, within_s: float) -> bool:
    """Whether within that many seconds something can be read from `source`, or its other end is gone.

    Raises `ValueError` when it is closed, `OSError`.
    """
    poll = select.poll()
    poll.register(source, select.POLLIN)
    return bool(poll.poll(max(0.0, within_s) * 1000))
