# SPDX-License-Identifier: Apache-2.0
"""No byte of an image can change unseen, and no bytes make the reader fail in another way than `NotVerified`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from image_sample import PROTECTED, by_hand, image_key, trust

from assay.errors import NotVerified
from assay.formats.mcuboot_image import parse_image, verify_image

IMAGE = by_hand()
TRUST = trust(image_key())


def test_every_byte_of_an_image_counts() -> None:
    for offset in range(len(IMAGE)):
        for change in (0x01, 0x80, 0xFF):
            changed = bytearray(IMAGE)
            changed[offset] ^= change
            with pytest.raises(NotVerified):
                verify_image(bytes(changed), TRUST)


def test_every_shorter_and_every_longer_image_is_refused() -> None:
    for length in range(len(IMAGE)):
        with pytest.raises(NotVerified):
            verify_image(IMAGE[:length], TRUST)
    for tail in (b"\0", b"\x1a", b"\xff" * 8, IMAGE):
        with pytest.raises(NotVerified):
            verify_image(IMAGE + tail, TRUST)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.integers(0, len(IMAGE)), st.integers(0, 64))
def test_foreign_bytes_in_an_image_are_refused(foreign: bytes, offset: int, cut: int) -> None:
    changed = IMAGE[:offset] + foreign + IMAGE[offset + cut :]
    if changed == IMAGE:
        return
    with pytest.raises(NotVerified):
        verify_image(changed, TRUST)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80))
def test_signed_rubbish_in_tlvs_is_refused_or_read(rubbish: bytes) -> None:
    try:
        parse_image(by_hand(protected=PROTECTED + rubbish))
    except NotVerified:
        return
    assert rubbish == b""
