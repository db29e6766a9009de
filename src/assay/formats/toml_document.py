# SPDX-License-Identifier: Apache-2.0
"""TOML text, and the line on which each of its keys stands.

Guards: text that is not TOML, not UTF-8 or too large becomes a `ManifestFault` with file and line.
Leaves to others: what the keys mean (`stages.manifest`), and reading files (`pipeline.manifest_files`).

No TOML library for Python tells positions and reads TOML 1.0 strictly, so tomllib itself is asked: a key stands on
the first line with which the text up to there, its open arrays closed, holds the key. There is no second parser that
could disagree (ADR 0020).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from functools import cache
from typing import Any

from assay.errors import ManifestFault

MANIFEST_BYTES_MAX = 256 * 1024
"""Bytes: a hundred times the largest manifest of this project; keeps the search for a line short."""

KeyPath = Sequence[str | int]
"""Names of tables and keys, and indexes of array elements, from the top of the document."""

_POSITION = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_ARRAYS_OPEN_MAX = 4
"""Arrays inside arrays that the search for a line looks into."""


class TomlDocument:
    """A TOML document: `data`, and where its keys stand. `file` is the name to show; raises `ManifestFault`."""

    def __init__(self, raw: bytes, file: str) -> None:
        if len(raw) > MANIFEST_BYTES_MAX:
            raise ManifestFault(file, None, f"{len(raw)} bytes; a manifest has at most {MANIFEST_BYTES_MAX}")
        self.file = file
        self.text = _decode(raw, file)
        try:
            self.data = tomllib.loads(self.text)
        except tomllib.TOMLDecodeError as error:
            raise _syntax_fault(error, self.text, file) from error
        except RecursionError as error:
            raise ManifestFault(file, None, "nested too deeply") from error
        lines = self.text.splitlines(keepends=True)
        self._line_count = len(lines)
        self._until = cache(lambda count: _parse_start("".join(lines[:count])))

    def holds(self, path: KeyPath) -> bool:
        """Whether there is something at `path`."""
        return _holds(self.data, path)

    def line_of(self, path: KeyPath) -> int | None:
        """The line (from 1) of the key at `path`, or of the nearest table around it; None for the whole document."""
        wanted = tuple(path)
        while wanted and not _holds(self.data, wanted):
            wanted = wanted[:-1]
        return self._first_line_with(wanted) if wanted else None

    def _first_line_with(self, path: KeyPath) -> int:
        # A start of the text that is no TOML by itself (inside a string) cannot answer; the nearest one below it does.
        without, having = 0, self._line_count
        while having - without > 1:
            probe = middle = (without + having) // 2
            while probe > without and self._until(probe) is None:
                probe -= 1
            if probe == without:
                probe = middle + 1
                while probe < having and self._until(probe) is None:
                    probe += 1
            if probe == having:
                break
            if _holds(self._until(probe), path):
                having = probe
            else:
                without = probe
        return without + 1


def _decode(raw: bytes, file: str) -> str:
    try:
        return raw.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ManifestFault(file, raw.count(b"\n", 0, error.start) + 1, "expected UTF-8 text") from error


def _syntax_fault(error: tomllib.TOMLDecodeError, text: str, file: str) -> ManifestFault:
    message = str(error)
    position = _POSITION.search(message)
    if position is None:
        return ManifestFault(file, None, f"not TOML: {message}")
    what = message[: position.start()]
    if position.group(1) is None:
        return ManifestFault(file, max(len(text.splitlines()), 1), f"not TOML: {what} at the end of the file")
    return ManifestFault(file, int(position.group(1)), f"not TOML: {what} (column {position.group(2)})")


def _parse_start(text: str) -> dict[str, Any] | None:
    for arrays_open in range(_ARRAYS_OPEN_MAX + 1):
        try:
            return tomllib.loads(text + "\n" + "]" * arrays_open)
        except tomllib.TOMLDecodeError:
            continue
    return None


def _holds(data: Any, path: KeyPath) -> bool:
    for key in path:
        known = range(len(data)) if isinstance(data, list) else data if isinstance(data, dict) else ()
        if key not in known:
            return False
        data = data[key]
    return True
