# SPDX-License-Identifier: Apache-2.0
"""What flashers by a program share: files for the tool, bytes that came back compared, and percents as progress."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from assay.drivers.flash.tool_program import OnLine
from assay.errors import InfrastructureError, StorageError, UnitFailed
from assay.interfaces.device import Progress
from assay.interfaces.flasher import Part, ReadBack

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]")


def file_of(folder: Path, part: Part) -> Path:
    """Where the bytes of `part` lie for the tool; its name is safe in any tool's own language."""
    return folder / f"{_NOT_IN_NAMES.sub('_', part.name)}.bin"


def keep(folder: Path, part: Part) -> None:
    """Put the bytes of `part` where the tool finds them. Raises StorageError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file_of(folder, part).write_bytes(part.data)
    except OSError as error:
        raise StorageError(f"cannot write to {folder}: {error.strerror}", remedy="make room there") from error


def compare(parts: Sequence[Part], read: Callable[[Part], bytes], progress: Progress) -> tuple[ReadBack, ...]:
    """Each part as `read` gives it, compared here. Raises UnitFailed with the first address that differs."""
    total, done, found = sum(part.size for part in parts), 0, []
    for part in parts:
        check_same(part, read(part))
        done += part.size
        progress(done, total)
        found.append(ReadBack(part.name, part.where, part.size, part.sha256, "bytes"))
    return tuple(found)


def left_by_tool(file: Path) -> bytes:
    """What a tool has read out. Raises InfrastructureError when it left nothing: its status is not believed alone."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise InfrastructureError(
            f"the tool ended well and left no {file.name}: {error.strerror}",
            remedy=f"see what it said, in {file.parent}",
        ) from error


def check_same(part: Part, back: bytes) -> None:
    """Raises UnitFailed with the first address at which `back` is not what `part` has."""
    if back == part.data:
        return
    at = next((at for at, (one, two) in enumerate(zip(part.data, back, strict=False)) if one != two), len(back))
    first = f"{part.where + at:#x}" if isinstance(part.where, int) else f"byte {at}"
    raise UnitFailed(
        f"{part.name}: what was read back differs from {first} on ({len(back)} of {part.size} bytes were read)",
        remedy="flash it again; if it stays so, the flash is worn, protected, or not what the board TOML says",
    )


def progress_of(percent: re.Pattern[str], total: int, progress: Progress) -> OnLine:
    """Tells `progress` the percents that `percent` finds in a tool's lines, as bytes of `total`."""

    def on_line(line: str) -> None:
        found = percent.search(line)
        if found is not None:
            progress(min(total, int(total * float(found[1]) / 100)), total)

    return on_line
