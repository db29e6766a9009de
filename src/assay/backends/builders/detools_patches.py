# SPDX-License-Identifier: Apache-2.0
"""Patches by `detools`, which is loaded when the first one is made: it is an extra of its own (`assay[delta]`).

Guards: only what the bootloader decodes is made (the `sequential` type, windows of at most 2^12 bytes).
Leaves to others: whether a patch is small enough (`stages.signing.patch`), and believing what comes out.
"""

from __future__ import annotations

import importlib
import io
from typing import Any

from assay.errors import InfrastructureError, ToolMissing

_HEATSHRINK = {"heatshrink-10-9": (10, 9), "heatshrink-11-8": (11, 8), "heatshrink-12-11": (12, 11)}
"""Bits of the window and of the length of a copy. Long copies are for the zeros of a small change, short ones for code
that moved (docs/reference/delta.md has the measurements)."""


class DetoolsPatches:
    """Implements `interfaces.patch_tool.PatchTool`."""

    compressions = ("crle", *_HEATSHRINK)

    def check(self) -> None:
        """Raises `ToolMissing` where it is not installed."""
        _detools()

    @property
    def name(self) -> str:
        """The tool and its version."""
        return f"detools {_detools().__version__}"

    def make(self, old: bytes, new: bytes, compression: str) -> bytes:
        """The patch that makes `new` out of `old`."""
        window, lookahead = _HEATSHRINK.get(compression, (8, 7))
        made, detools = io.BytesIO(), _detools()
        try:
            detools.create_patch(
                io.BytesIO(old),
                io.BytesIO(new),
                made,
                compression="heatshrink" if compression in _HEATSHRINK else compression,
                patch_type="sequential",
                heatshrink_window_sz2=window,
                heatshrink_lookahead_sz2=lookahead,
                use_mmap=False,
            )
        except Exception as error:
            raise _failed("make", error) from error
        return made.getvalue()

    def apply(self, old: bytes, patch: bytes) -> bytes:
        """What `patch` makes out of `old`."""
        made, detools = io.BytesIO(), _detools()
        try:
            detools.apply_patch(io.BytesIO(old), io.BytesIO(patch), made)
        except Exception as error:
            raise _failed("apply", error) from error
        return made.getvalue()


def _detools() -> Any:
    try:
        return importlib.import_module("detools")
    except ImportError as error:
        raise ToolMissing(
            f"patches are made by detools, which cannot be loaded ({error})",
            remedy="apt-get install gcc g++ python3-dev; then, in the project's folder: pip install -e '.[delta]'",
        ) from error


def _failed(what: str, error: Exception) -> InfrastructureError:
    text = f"detools could not {what} a patch: {type(error).__name__}: {error}"
    return InfrastructureError(text, remedy="sign without --delta-from, and report this with both images")
