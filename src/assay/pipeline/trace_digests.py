# SPDX-License-Identifier: Apache-2.0
"""Which files a unit's records rest on: every digest that a record names, and that those files name in turn.

Guards: who collects a dossier and who verifies one find the same files, so an export has no file that nothing names.
Leaves to others: whether a file that is named has to be there (`trace_unit`, `trace_release`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

DIGEST = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
"""A SHA-256 in hex within JSON, bare or behind `sha256:`."""

NAMING_BYTES_MAX = 4 * 1024 * 1024
"""Bytes; larger files are images and logs, which name no others: they are not searched."""


def digests_in(data: bytes) -> set[str]:
    """The digests that stand in `data`."""
    return {match.group().decode("ascii") for match in DIGEST.finditer(data)}


def reachable(statements: Iterable[bytes], read: Callable[[str], bytes | None]) -> dict[str, bytes]:
    """The files that `statements` name, and that those name: digest to bytes, as far as `read` has them."""
    found: dict[str, bytes] = {}
    waiting = set().union(*(digests_in(statement) for statement in statements))
    seen: set[str] = set()
    while waiting:
        sha256 = waiting.pop()
        seen.add(sha256)
        data = read(sha256)
        if data is None:
            continue
        found[sha256] = data
        if len(data) <= NAMING_BYTES_MAX and data[:1] == b"{":
            waiting |= digests_in(data) - seen
    return found
