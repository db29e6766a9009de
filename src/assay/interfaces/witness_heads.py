# SPDX-License-Identifier: Apache-2.0
"""What a witness asks of its memory: the last checkpoint of each log that it cosigned."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from assay.model.witness import SeenHead


class HeadTurn(Protocol):
    """The memory of one log, while nobody else may change it."""

    @property
    def last(self) -> SeenHead | None:
        """What was kept last; None when this log was never seen."""
        ...

    def keep(self, head: SeenHead) -> None:
        """From the end of the turn on this is the last one, durably."""
        ...


class HeadMemory(Protocol):
    """Durable memory of heads. Raises `StorageError`."""

    def turn(self, origin: str) -> AbstractContextManager[HeadTurn]:
        """Look and change as one step, with no other process between. A turn that ends in an error changes nothing."""
        ...
