# SPDX-License-Identifier: Apache-2.0
"""What a device's answers mean, and that no bytes of a device raise anything of a library's."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from smp.image_management import ImageStatesReadRequest, ImageStatesReadResponse, ImageUploadWriteResponse
from smp.os_management import EchoWriteRequest, EchoWriteResponse, MCUMgrParametersReadResponse

from assay.protocols.smp import assay_group as group
from assay.protocols.smp.answers import MalformedAnswer, No, answer_header, answers, read_answer
from assay.protocols.smp.error_words import ASSAY_GROUP, AssayRc, error_word

ERRORS_DEF = Path(__file__).parents[2] / "firmware" / "core" / "include" / "assay_errors.def"
ANSWER_KINDS = [EchoWriteResponse, ImageStatesReadResponse, group.InfoAnswer, group.NotesAnswer, group.Done]


def frame(content: Any, header: bytes = bytes([9, 0, 0, 0, 0, 1, 5, 0])) -> bytes:
    body = cbor2.dumps(content)
    return header[:2] + len(body).to_bytes(2, "big") + header[4:] + body


def test_error_numbers_are_the_firmwares() -> None:
    rows = re.findall(r'^ASSAY_ERROR\((\w+), (\d+), "([\w-]+)"\)', ERRORS_DEF.read_text(), re.MULTILINE)
    assert {name: int(number) for name, number, _ in rows} == {rc.name: rc.value for rc in AssayRc}
    assert [word for _, _, word in rows] == [error_word(ASSAY_GROUP, int(number)) for _, number, _ in rows]


@pytest.mark.parametrize(
    ("content", "expected", "word"),
    [
        ({"rc": 8}, No(None, 8), "not-supported"),
        ({"rc": 10}, No(None, 10), "busy"),
        ({"rc": 77}, No(None, 77), "rc-77"),
        ({"err": {"group": 0x4153, "rc": 13}}, No(0x4153, 13), "downgrade"),
        ({"err": {"group": 1, "rc": 30}}, No(1, 30), "invalid-image-too-large"),
        ({"err": {"group": 999, "rc": 1}}, No(999, 1), "rc-1"),
    ],
)
def test_a_no_is_a_value_with_a_word(content: Any, expected: No, word: str) -> None:
    answer = read_answer(frame(content), group.Done)
    assert answer == expected
    assert isinstance(answer, No) and answer.word == word


def test_rc_zero_is_a_yes() -> None:
    assert isinstance(read_answer(frame({"rc": 0}), group.Done), group.Done)


def test_answers_as_zephyr_writes_them() -> None:
    """Maps and lists without a length, and a field that is newer than ours."""
    header = bytes([9, 0, 0, 27, 0, 0, 7, 6])
    body = bytes.fromhex("bf 68") + b"buf_size" + bytes.fromhex("19 0180 69") + b"buf_count" + bytes.fromhex("04 ff")
    answer = read_answer(header + body, MCUMgrParametersReadResponse)
    assert isinstance(answer, MCUMgrParametersReadResponse)
    assert (answer.buf_size, answer.buf_count) == (384, 4)
    assert isinstance(read_answer(frame({"r": "x", "newer": 1, "sequence": 3}), EchoWriteResponse), EchoWriteResponse)


def test_an_answer_belongs_to_one_request() -> None:
    request = EchoWriteRequest(d="x", sequence=7)
    good = frame({"r": "x"}, answer_header(request))
    assert answers(good, request)
    assert answers(bytes([3]) + good[1:], request)  # a server of version 1
    for at in (0, 4, 5, 6, 7):
        assert not answers(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :], request), at
    assert not answers(good[:7], request)


def test_fields_of_a_newer_firmware_are_left_alone_and_wrong_ones_are_not_taken() -> None:
    row = {"pubkey": bytes(32), "pop": bytes(64), "chip": bytes(16)}
    assert isinstance(read_answer(frame({**row, "new": 1}), group.KeyAnswer), group.KeyAnswer)
    for wrong in ({**row, "pop": bytes(63)}, {**row, "chip": "text"}, {"pubkey": bytes(32)}):
        with pytest.raises(MalformedAnswer):
            read_answer(frame(wrong), group.KeyAnswer)


@given(st.binary(max_size=300), st.sampled_from(ANSWER_KINDS))
def test_any_bytes_raise_only_malformed_answer(body: bytes, kind: Any) -> None:
    with contextlib.suppress(MalformedAnswer):
        read_answer(bytes(8) + body, kind)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.floats(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["rc", "err", "group", "images", "r"]), inner),
)


@given(values, st.sampled_from(ANSWER_KINDS))
def test_any_cbor_raises_only_malformed_answer(content: Any, kind: Any) -> None:
    with contextlib.suppress(MalformedAnswer):
        read_answer(frame(content), kind)


def test_deep_cbor_is_malformed() -> None:
    with pytest.raises(MalformedAnswer):
        read_answer(bytes(8) + b"\x81" * 100_000, group.Done)


ZEROS = cbor2.CBORTag(4, [100_000, 1])
"""A decimal fraction: 1 with so many zeros. With a billion, as few bytes, Python works as long as it has memory."""


@pytest.mark.parametrize("content", [{"rc": ZEROS}, {"err": {"group": 1, "rc": ZEROS}}, {"off": ZEROS}])
def test_a_long_number_in_a_few_bytes_is_malformed(content: dict[str, Any]) -> None:
    for kind in (group.Done, ImageUploadWriteResponse):
        with pytest.raises(MalformedAnswer):
            read_answer(frame(content), kind)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("tag", [*range(50), 100, 256, 258, 260, 261, 1004, 43000, 55799, 2**40])
def test_no_answer_has_a_tag(tag: int) -> None:
    for content in (1, "[[a]", b"a", [1, 2], {1: 2}):
        with pytest.raises(MalformedAnswer):
            read_answer(frame({"rc": 0, "more": cbor2.CBORTag(tag, content)}), group.Done)


def test_request_bytes_are_the_contract() -> None:
    assert bytes(group.NotesRequest(from_seq=3, sequence=1))[8:] == cbor2.dumps({"from": 3})
    assert bytes(group.InfoRequest(sequence=1)) == bytes([8, 0, 0, 1, 0x41, 0x53, 1, 0, 0xA0])
    assert answer_header(ImageStatesReadRequest(sequence=2)) == bytes([9, 0, 0, 0, 0, 1, 2, 0])
