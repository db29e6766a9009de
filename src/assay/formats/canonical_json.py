# SPDX-License-Identifier: Apache-2.0
"""Values as the one sequence of bytes that RFC 8785 (JSON Canonicalization Scheme) gives them.

Guards: the same value has the same bytes everywhere, so its SHA-256 names it. Leaves to others: reading
(`strict_json`).
"""

from __future__ import annotations

import hashlib
from typing import Any

from assay.errors import UsageFault
from assay.model.value import ForeignValue, Value


def encode(value: Any) -> bytes:
    """Plain JSON `value` in RFC 8785 form; `UsageFault` when it cannot be (NaN, integers beyond 2^53 - 1, other
    types).
    """
    import rfc8785

    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, RecursionError) as error:
        raise UsageFault(
            f"a value has no canonical JSON form: {error}", remedy="use strings for what JSON numbers cannot hold"
        ) from error


def plain(value: Value | ForeignValue) -> dict[str, Any]:
    """A model as plain JSON: aliases, and no member for what is None (in-toto: null, empty and unset are the same)."""
    return value.model_dump(mode="json", by_alias=True, exclude_none=True)


def encode_value(value: Value | ForeignValue) -> bytes:
    """A model in RFC 8785 form."""
    return encode(plain(value))


def digest_of(value: Value | ForeignValue) -> str:
    """SHA-256, in hex, of the RFC 8785 form of a model."""
    return hashlib.sha256(encode_value(value)).hexdigest()
