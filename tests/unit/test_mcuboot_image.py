# SPDX-License-Identifier: Apache-2.0
"""MCUboot images: what imgtool makes is read; whatever is not exactly such an image, signed by us, is refused."""

from __future__ import annotations

import hashlib
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from image_sample import (
    BOARD,
    FOREIGN,
    KEY,
    NAME,
    PAYLOAD,
    PROTECTED,
    USUAL,
    by_hand,
    by_imgtool,
    image_key,
    public_pem,
    tlv,
    trust,
)

from assay.errors import ExitStatus, NotVerified
from assay.formats.mcuboot_image import parse_image, verify_image
from assay.model.trust import Role, TrustFile


def refusal(data: bytes, trusted: TrustFile | None = None) -> str:
    with pytest.raises(NotVerified) as caught:
        verify_image(data, trusted or trust(image_key()))
    assert caught.value.status is ExitStatus.REFUSED
    return caught.value.message


def test_what_imgtool_signs_is_verified() -> None:
    data = by_imgtool(*USUAL)
    found = verify_image(data, trust(image_key()))
    says = found.says
    assert (says.version, says.board, says.min_revision, says.name) == ("1.2.3+4", BOARD, 1, NAME)
    assert (says.security_counter, says.payload) == (7, PAYLOAD)
    assert found.file_sha256 == hashlib.sha256(data).hexdigest()
    assert found.image_hash == hashlib.sha256(says.measured).hexdigest()
    assert found.key == image_key()
    assert [check.key for check in found.checks] == [None, image_key()]


def test_our_image_by_hand_is_the_image_of_imgtool() -> None:
    assert by_hand() == by_imgtool(*USUAL)


def test_the_number_of_the_image() -> None:
    assert parse_image(by_hand()).image_number == 0
    assert parse_image(by_hand(protected=PROTECTED + tlv(0xA6, b"\1\0\0\0"))).image_number == 1
    assert "0x00a6" in refusal(by_hand(protected=PROTECTED + tlv(0xA6, b"\1")))


def test_imgtool_says_the_same_of_it(tmp_path: Path) -> None:
    image, key = tmp_path / "image.bin", tmp_path / "key.pem"
    image.write_bytes(by_hand())
    key.write_text(public_pem(KEY))
    command = [sys.executable, "-m", "imgtool.main", "verify", "-k", str(key), str(image)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert verify_image(by_hand(), trust(image_key())).image_hash in told


def test_an_unsigned_image_is_refused_though_imgtool_verifies_it(tmp_path: Path) -> None:
    data = by_imgtool(*USUAL, key=None)
    image = tmp_path / "image.bin"
    image.write_bytes(data)
    command = [sys.executable, "-m", "imgtool.main", "verify", str(image)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    assert "it is not signed" in refusal(data)


def test_a_foreign_signature_is_refused() -> None:
    assert "does not name as an image key" in refusal(by_hand(key=FOREIGN))
    claims_our_key = tlv(0x01, bytes.fromhex(image_key().keyid))
    digest = hashlib.sha256(parse_image(by_hand()).measured).digest()
    forged = by_hand(plain=tlv(0x10, digest) + claims_our_key + tlv(0x24, FOREIGN.sign(digest)))
    assert "the signature of the image by the image key 'image' is wrong" in refusal(forged)


def test_a_key_of_another_role_signs_no_images() -> None:
    other = image_key().model_copy(update={"role": Role.BUILDER})
    assert "does not name as an image key" in refusal(by_hand(), trust(other))
    assert "does not name as an image key" in refusal(by_hand(), trust())


def test_a_development_key_counts_only_where_it_is_allowed() -> None:
    key = image_key(development=True)
    assert "UNSAFE-DEVELOPMENT" in refusal(by_hand(), trust(key))
    found = verify_image(by_hand(), trust(key, allow_development=True))
    assert any("proves nothing" in check.what for check in found.checks)


def test_a_changed_payload_names_both_hashes() -> None:
    data = bytearray(by_hand())
    data[0x200] ^= 1
    assert "the image was changed" in refusal(bytes(data))


def header(**changes: int) -> bytes:
    fields = {
        "magic": 0x96F3B83D,
        "load": 0,
        "header_size": 0x200,
        "protected": len(PROTECTED) + 4,
        "size": len(PAYLOAD),
        "flags": 0,
        "major": 1,
        "minor": 2,
        "revision": 3,
        "build": 4,
        "padding": 0,
    }
    return struct.pack("<IIHHIIBBHII", *(fields | changes).values())


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "0 bytes"),
        (by_hand()[:0x200], "512 bytes"),
        (b"x" * 1000, "does not begin as one"),
        (by_hand(header=header(load=0x1000)), "header asks for"),
        (by_hand(header=header(flags=0x10)), "header asks for"),
        (by_hand(header=header(flags=0x4)), "header asks for"),
        (by_hand(header=header(header_size=0x100)), "header asks for"),
        (by_hand(header=header(padding=1)), "header asks for"),
        (by_hand(header=header() + b"x"), "header asks for"),
        (by_hand(header=header(size=0xFFFFFFFF)), "other sizes"),
        (by_hand(header=header(size=0), payload=b""), "other sizes"),
        (by_hand(header=header(size=len(PAYLOAD) - 1)), "TLV area is missing"),
        (by_hand(header=header(protected=0)), "TLV area is missing"),
        (by_hand(tail=b"\x1a"), "TLV area is missing, or is not as long"),
        (by_hand(tail=b"\xff" * 100), "TLV area is missing, or is not as long"),
        (by_hand()[:-1], "TLV area is missing, or is not as long"),
        (by_hand(protected=PROTECTED + tlv(0xA3, b"x"), header=header(protected=len(PROTECTED) + 9)), "0x00a3 is not"),
        (
            by_hand(protected=PROTECTED + tlv(0x24, b"x" * 64), header=header(protected=len(PROTECTED) + 72)),
            "0x0024 is not",
        ),
        (
            by_hand(protected=PROTECTED + PROTECTED, header=header(protected=2 * len(PROTECTED) + 4)),
            "0x0050 is there twice",
        ),
        (by_hand(protected=PROTECTED[8:], header=header(protected=len(PROTECTED) - 4)), "SECURITY_COUNTER"),
        (by_hand(plain=b""), "it is not signed"),
        (by_hand(plain=tlv(0xA0, b"other-board")), "0x00a0 is not known here, or in the wrong area"),
        (by_hand(plain=tlv(0x10, b"x" * 31)), "has 31 bytes"),
        (by_hand(plain=b"\x10\0"), "cut off"),
        (by_hand(plain=b"\x10\0\xff\xff"), "cut off"),
    ],
)
def test_what_is_no_such_image_is_refused(data: bytes, said: str) -> None:
    assert said in refusal(data)


@pytest.mark.parametrize("name", [b"", b"a\0b", b"a\nb", "é".encode(), b"\xff"])
def test_names_are_plain_text(name: bytes) -> None:
    protected = tlv(0x50, bytes(4)) + tlv(0xA0, name) + tlv(0xA1, bytes(4)) + tlv(0xA2, b"x")
    assert "a name in it" in refusal(by_hand(protected=protected))
