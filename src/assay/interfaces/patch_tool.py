# SPDX-License-Identifier: Apache-2.0
"""What a stage may ask of the tool that makes patches (docs/reference/delta.md)."""

from __future__ import annotations

from typing import Protocol


class PatchTool(Protocol):
    """Makes and applies patches of the format that the bootloader decodes. Raises `ToolMissing`, and
    `InfrastructureError` when the tool fails.
    """

    @property
    def name(self) -> str:
        """The tool and its version."""
        ...

    @property
    def compressions(self) -> tuple[str, ...]:
        """The ways to compress a patch that the bootloader knows, the simplest first."""
        ...

    def make(self, old: bytes, new: bytes, compression: str) -> bytes:
        """The patch that makes `new` out of `old`."""
        ...

    def apply(self, old: bytes, patch: bytes) -> bytes:
        """What `patch` makes out of `old`."""
        ...
