# SPDX-License-Identifier: Apache-2.0
"""CBOR in its one deterministic encoding (RFC 8949 section 4.2.1).

Guards: bytes that decode here encode to the same bytes again, so nothing can hide in a second spelling (long lengths,
duplicate keys, unsorted maps, bytes behind the end). Leaves to others: what the values mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assay.errors import NotVerified

DOCUMENT_BYTES_MAX = 4096
"""Bytes; evidence has to fit one SMP frame of 2048 bytes, so this is twice what an honest device can send."""

DEPTH_MAX = 8
"""Levels; the deepest document that assay reads has three."""

_REMEDY = "the bytes were not made by firmware that keeps the device contract; do not trust the unit"


def encode(value: Any) -> bytes:
    """`value` (int, bytes, str, bool, list, map, tag) in deterministic CBOR; `NotVerified` for other types."""
    return _encode(value, 0)


def decode(data: bytes) -> Any:
    """The value in `data`; `NotVerified` unless it is complete, of known types and deterministically encoded."""
    if len(data) > DOCUMENT_BYTES_MAX:
        raise NotVerified(f"a CBOR document of {len(data)} bytes (at most {DOCUMENT_BYTES_MAX})", remedy=_REMEDY)
    import cbor2

    try:
        value = cbor2.loads(data)
    except Exception as error:  # whatever a decoder throws at hostile bytes means the same: not verified
        raise NotVerified(f"not a CBOR document: {error}", remedy=_REMEDY) from error
    if encode(value) != data:
        raise NotVerified("the CBOR is not in deterministic encoding (RFC 8949 section 4.2.1)", remedy=_REMEDY)
    return value


def _encode(value: Any, depth: int) -> bytes:
    import cbor2

    if depth > DEPTH_MAX:
        raise NotVerified(f"CBOR nested deeper than {DEPTH_MAX} levels", remedy=_REMEDY)
    if isinstance(value, cbor2.CBORTag):
        return _head(6, value.tag) + _encode(value.value, depth + 1)
    if isinstance(value, list | tuple):
        return _head(4, len(value)) + b"".join(_encode(item, depth + 1) for item in value)
    if isinstance(value, Mapping):  # cbor2 gives frozen maps inside tags
        # cbor2's `canonical` sorts shorter keys first (RFC 7049); RFC 8949 sorts by bytes alone.
        pairs = sorted((_encode(key, depth + 1), _encode(item, depth + 1)) for key, item in value.items())
        return _head(5, len(pairs)) + b"".join(key + item for key, item in pairs)
    if type(value) in (bool, int, bytes, str):
        return cbor2.dumps(value)
    raise NotVerified(f"CBOR type {type(value).__name__} has no place here", remedy=_REMEDY)


def _head(major: int, argument: int) -> bytes:
    """The first bytes of an item: major type and its argument, in the shortest form (RFC 8949 section 3)."""
    if argument < 24:
        return bytes([major << 5 | argument])
    size = next(size for size in (1, 2, 4, 8) if argument < 1 << 8 * size)
    return bytes([major << 5 | 24 + (1, 2, 4, 8).index(size)]) + argument.to_bytes(size, "big")
