# SPDX-License-Identifier: Apache-2.0
"""Why a verb did not pass, and what to do next, for who runs it from a pipeline.

Guards: there are always words: of the verb's JSON answer, else of its last lines on stderr, else of the end of the file
that its output went to. Leaves to others: running the verb (`verb_process`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from assay.errors import ExitStatus, StorageError

LINES_SHOWN = 5
FILE_END_BYTES = 64 * 1024
"""Of a file with a verb's output, what is looked at."""

_TOLD = re.compile(rf"^(?:{'|'.join([status.name.replace('_', ' ') for status in ExitStatus] + ['ABORTED'])}): (.*)$")
_NEXT = "  next: "
_VERDICT = "BROKEN: "
"""Begins the lines under a trace that say which links broke."""


def why(answer: dict[str, Any], stderr: Sequence[str], file: Path | None) -> tuple[str, str]:
    """Message and remedy; the remedy may be empty."""
    remedy = str(answer.get("remedy", ""))
    if said := answer.get("error") or answer.get("reason"):
        return str(said), remedy
    if broken := answer.get("broken"):
        links = "; ".join(f"{item['link']}: {'; '.join(item['faults'])}" for item in broken[:LINES_SHOWN])
        return f"{len(broken)} links are broken: {links}", remedy or "mend what is named; see docs/how-to/audit-a-unit"
    message, remedy = _from_stderr(stderr)
    if message:
        return message, remedy
    if file is not None and (end := _end_of(file)):
        return "\n".join(end), f"the whole answer is in {file}"
    return "it said nothing", ""


def _from_stderr(lines: Sequence[str]) -> tuple[str, str]:
    """An error as every verb tells it (`cli.session`): its word, notes, `next:`; else the last lines."""
    for index in reversed(range(len(lines))):
        if told := _TOLD.match(lines[index]):
            notes = [line for line in lines[index + 1 :] if line.startswith("  ")]
            remedy = next((line.removeprefix(_NEXT) for line in notes if line.startswith(_NEXT)), "")
            more = [line for line in notes if not line.startswith(_NEXT)]
            return "\n".join([told[1], *more]), remedy
    return "\n".join([line for line in lines if line.strip()][-LINES_SHOWN:]), ""


def _end_of(file: Path) -> list[str]:
    """The last lines of what a verb printed; of a trace, the links that broke."""
    try:
        with file.open("rb") as opened:
            opened.seek(max(0, file.stat().st_size - FILE_END_BYTES))
            lines = [line for line in opened.read().decode("utf-8", "replace").splitlines() if line.strip()]
    except OSError as error:
        raise StorageError(f"{file} cannot be read: {error.strerror}", remedy="look what happened to it") from error
    for index in reversed(range(len(lines))):
        if lines[index].startswith(_VERDICT):
            return lines[index : index + LINES_SHOWN]
    return lines[-LINES_SHOWN:]
