# SPDX-License-Identifier: Apache-2.0
"""One declared input of a build, with its bytes: what is digested is what is built."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SourceFile:
    """Path below the project's root (with `/`), whether it can be executed, and its bytes."""

    path: str
    executable: bool
    data: bytes

    @property
    def mode(self) -> str:
        """The mode as git writes it."""
        return "100755" if self.executable else "100644"
