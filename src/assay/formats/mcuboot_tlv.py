# SPDX-License-Identifier: Apache-2.0
"""TLV areas of MCUboot images, ours and other people's: what stands behind the header of an area, entry by entry.

Leaves to others: which entries an image may have, and the words for what is wrong (MCUboot's design document,
section "Image Format").
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import NoReturn

INFO = struct.Struct("<HH")
"""Magic and length of an area (its header included), or number and length of an entry (its header not included)."""


def entries(raw: bytes, refuse: Callable[[str], NoReturn]) -> Iterator[tuple[int, bytes]]:
    """Number and value of each entry of the area `raw`; `refuse` raises for one that goes beyond its end."""
    at = INFO.size
    while at < len(raw):
        if at + INFO.size > len(raw):
            refuse("a TLV is cut off")
        number, length = INFO.unpack_from(raw, at)
        at += INFO.size
        if at + length > len(raw):
            refuse("a TLV is cut off")
        yield number, raw[at : at + length]
        at += length
