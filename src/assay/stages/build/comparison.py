# SPDX-License-Identifier: Apache-2.0
"""Compare the outputs of two builds, byte for byte, and say where they differ.

Guards: every file that either build left is compared, also those that nobody declared. Leaves to others: making the
two builds differ in what must not matter (`stages.build.surroundings`).
"""

from __future__ import annotations

from collections.abc import Mapping

BYTES_SHOWN = 8
"""Bytes of either file that are shown where the difference begins."""


def difference(first: Mapping[str, bytes], second: Mapping[str, bytes]) -> str | None:
    """None when all files are the same; else which file differs, at which offset, and the bytes of both."""
    for name in sorted(first.keys() | second.keys()):
        if name not in first or name not in second:
            return f"{name} was made by the {'second' if name not in first else 'first'} build only"
        if first[name] != second[name]:
            return f"{name} differs: {_where(first[name], second[name])}"
    return None


def _where(first: bytes, second: bytes) -> str:
    shorter = min(len(first), len(second))
    offset = next((index for index in range(shorter) if first[index] != second[index]), shorter)
    differing = sum(a != b for a, b in zip(first, second, strict=False)) + abs(len(first) - len(second))
    sizes = "" if len(first) == len(second) else f", sizes {len(first)} and {len(second)}"
    return (
        f"first at offset {offset:#x} ({differing} bytes in all{sizes}): "
        f"{_shown(first, offset)} in the first build, {_shown(second, offset)} in the second"
    )


def _shown(data: bytes, offset: int) -> str:
    part = data[offset : offset + BYTES_SHOWN]
    if not part:
        return "end of file"
    text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in part)
    return f"{part.hex(' ')} '{text}'"
