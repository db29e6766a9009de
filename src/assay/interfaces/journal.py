# SPDX-License-Identifier: Apache-2.0
"""What a stage may ask of the journal of its run: steps that are done stay done, whenever the process dies."""

from __future__ import annotations

from typing import Any, Protocol


class Journal(Protocol):
    """The journal of one run. Every method is durable (fsynced) when it returns, else raises `NotRecorded`."""

    @property
    def run_id(self) -> str:
        """Unique name of the run; a resumed run keeps its name."""
        ...

    @property
    def resumed(self) -> bool:
        """True when an earlier process began this run."""
        ...

    def result(self, step: str) -> dict[str, Any] | None:
        """What `step` gave, if it is done (by this process or an earlier one); else None."""
        ...

    def begin(self, step: str) -> int:
        """`step` starts; answers which attempt this is, counted from 1."""
        ...

    def done(self, step: str, result: dict[str, Any]) -> None:
        """`step` is done, with a plain JSON result."""
        ...

    def move(self, step: str, count: int) -> None:
        """`step` moved `count` bytes more; that stays when the step begins again."""
        ...

    def moved(self, step: str) -> int:
        """Bytes that `step` moved, in all its attempts."""
        ...
