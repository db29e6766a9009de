# SPDX-License-Identifier: Apache-2.0
"""Text from a record or a device, made safe to show.

Guards: nothing in it moves a cursor, changes a colour or turns the direction of writing around.
"""

from __future__ import annotations


def visible(text: str) -> str:
    """`text` with control, format and bidirectional characters written out (Unicode categories C and Z, but space)."""
    return "".join(char if char.isprintable() else f"\\u{{{ord(char):x}}}" for char in text)
