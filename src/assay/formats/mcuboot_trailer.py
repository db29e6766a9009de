# SPDX-License-Identifier: Apache-2.0
"""The trailer that MCUboot keeps at the end of a slot, as far as it says that an image was swapped in.

Guards: a trailer counts only when its magic is whole: it is written last.
Leaves to others: what a boot does with it (the bootloader: docs/reference/device.md).
"""

from __future__ import annotations

UNIT_BYTES_MIN = 8
"""BOOT_MAX_ALIGN of MCUboot: a flag has a unit of its own, of 8 bytes or the write alignment where that is larger."""
MAGIC_BYTES = 16
_MAGIC = bytes.fromhex("77c295f360d2ef7f3552500f2cb67980")
_MAGIC_OF_LARGE = bytes.fromhex("2de15d29410b8d77679c110f1f8a")
"""Behind the size of a unit, in two bytes."""
_FLAG_SET = 0x01


def is_copied(slot_end: bytes, write_alignment: int) -> bool:
    """Whether the last bytes of a slot say that a swap has brought its image in. `write_alignment` in bytes."""
    unit = max(UNIT_BYTES_MIN, write_alignment)
    magic = _MAGIC if unit == UNIT_BYTES_MIN else unit.to_bytes(2, "little") + _MAGIC_OF_LARGE
    return slot_end.endswith(magic) and slot_end[-trailer_bytes(write_alignment)] == _FLAG_SET


def trailer_bytes(write_alignment: int) -> int:
    """How many bytes at the end of a slot `is_copied` looks at: the flag copy-done, the flag image-ok, the magic."""
    unit = max(UNIT_BYTES_MIN, write_alignment)
    return 2 * unit + -(-MAGIC_BYTES // unit) * unit
