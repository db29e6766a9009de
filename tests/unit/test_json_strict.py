# SPDX-License-Identifier: Apache-2.0
"""Strict JSON and its one spelling (RFC 8785)."""

from __future__ import annotations

import pytest

from assay.errors import NotVerified, UsageFault
from assay.formats import canonical_json, strict_json

HOSTILE = {
    "duplicate key": b'{"a": 1, "a": 1}',
    "duplicate key, written differently": b'{"a": 1, "\\u0061": 2}',
    "duplicate key below": b'{"x": [{"a": 1, "a": 2}]}',
    "NaN": b'{"a": NaN}',
    "Infinity": b'{"a": -Infinity}',
    "a float beyond double": b'{"a": 1e999}',
    "an integer beyond 2^53": b'{"a": 9007199254740993}',
    "an integer of 5000 digits": b'{"a": ' + b"1" * 5000 + b"}",
    "byte order mark": b'\xef\xbb\xbf{"a": 1}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "not UTF-8": b'{"a": "\xff"}',
    "a lone surrogate": b'{"a": "\\ud800"}',
    "a lone surrogate in a key": b'{"\\udc00": 1}',
    "a bare control character": b'{"a": "\x01"}',
    "something behind the end": b'{"a": 1} x',
    "two documents": b"{}{}",
    "a comment": b'{"a": 1 /* no */}',
    "a trailing comma": b'{"a": 1,}',
    "nothing": b"",
    "too deep": b"[" * 66 + b"]" * 66,
    "far too deep": b"[" * 100_000 + b"]" * 100_000,
    "a key that is no string": b"{1: 2}",
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_refused(data: bytes) -> None:
    with pytest.raises(NotVerified, match="the thing is not strict JSON"):
        strict_json.loads(data, "the thing")


def test_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strict_json, "DOCUMENT_BYTES_MAX", 10)
    assert strict_json.loads(b"[1,2,3,4 ]", "it") == [1, 2, 3, 4]
    with pytest.raises(NotVerified, match="limit"):
        strict_json.loads(b"[1,2,3,4  ]", "it")


def test_accepted() -> None:
    text = '{"a": [1, -1, 9007199254740991, 1.5e3, true, null, "\\ud83d\\ude00 ä"]}'
    assert strict_json.loads_object(text.encode(), "it") == {
        "a": [1, -1, 2**53 - 1, 1500.0, True, None, "\N{GRINNING FACE} ä"]
    }
    assert strict_json.loads(b"[" * 64 + b"]" * 64, "it")


@pytest.mark.parametrize("data", [b"[]", b'"a"', b"1", b"null"])
def test_object_expected(data: bytes) -> None:
    with pytest.raises(NotVerified, match="object was expected"):
        strict_json.loads_object(data, "it")


def test_canonical_sample_of_rfc_8785() -> None:
    """The input of section 3.2.2 and the bytes of section 3.2.4."""
    value = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"\u002f",
        "literals": [None, True, False],
    }
    expected = (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )
    assert canonical_json.encode(value) == expected.encode()


def test_canonical_keys_sort_by_utf16() -> None:
    """RFC 8785 section 3.2.3."""
    value = {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\u0080": 6, "\u00f6": 7}
    assert [*strict_json.loads(canonical_json.encode(value), "it").values()] == [2, 4, 6, 7, 1, 5, 3]


@pytest.mark.parametrize("value", [{"a": float("nan")}, {"a": 2**53}, {"a": object()}, {"a": "\ud800"}, {1: 2}])
def test_no_canonical_form(value: object) -> None:
    with pytest.raises(UsageFault, match="no canonical JSON form"):
        canonical_json.encode(value)
