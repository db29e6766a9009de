# SPDX-License-Identifier: Apache-2.0
"""Text that people write into manifests and others read in bills of materials, reports and on terminals.

Guards: what is read is what is there. No character moves a cursor, turns the direction of reading around, or is not
seen; a name has one spelling. Leaves to others: text of strangers, which is shown with `formats.visible_text`.
"""

from __future__ import annotations

import unicodedata
from typing import Annotated

from pydantic import AfterValidator, Field

LINE_LENGTH_MAX = 200
PROSE_LENGTH_MAX = 4000
"""Characters; a page."""

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
"""Categories of Unicode: control, format (with those that turn the direction), surrogate, private, ends of lines."""
_LAYOUT = frozenset("\n\t")


def _check(text: str, allowed: frozenset[str]) -> str:
    for char in text:
        category = unicodedata.category(char)
        if char not in allowed and (category in _UNSEEN or (category == "Zs" and char != " ")):
            name = unicodedata.name(char, "a control character")
            raise ValueError(f"holds U+{ord(char):04X} ({name}), which cannot be seen: leave it out")
    return text


def _line(text: str) -> str:
    if text != text.strip():
        raise ValueError("begins or ends with a blank: leave it out")
    if not unicodedata.is_normalized("NFC", _check(text, frozenset())):
        raise ValueError("has letters with their accents apart (Unicode NFD): write them in one piece (NFC)")
    return text


def _prose(text: str) -> str:
    return _check(text, _LAYOUT)


LineText = Annotated[str, Field(min_length=1, max_length=LINE_LENGTH_MAX), AfterValidator(_line)]
"""One line without blanks around it, in one spelling (NFC)."""

Prose = Annotated[str, Field(max_length=PROSE_LENGTH_MAX), AfterValidator(_prose)]
"""Text of perhaps several lines."""
