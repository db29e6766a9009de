# SPDX-License-Identifier: Apache-2.0
"""Images that imgtool made for somebody else: what a host can tell of them, and what it must not believe."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import NotVerified
from assay.formats.foreign_image import Signature, parse_foreign_image, verify_foreign_image
from assay.model.trust import ImageKey, TrustFile

KINDS = ["rsa-2048", "rsa-3072", "ecdsa-p256", "ecdsa-p384", "ed25519"]
PAYLOAD = bytes(range(256)) * 20


def imgtool(*arguments: str | Path) -> str:
    command = [sys.executable, "-m", "imgtool.main", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Maker:
    """Keys and images of somebody else, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "payload.bin").write_bytes(PAYLOAD)

    def key(self, kind: str) -> Path:
        path = self.folder / f"{kind}.pem"
        if not path.exists():
            imgtool("keygen", "-k", path, "-t", kind)
        return path

    def public(self, kind: str) -> str:
        return imgtool("getpub", "-k", self.key(kind), "-e", "pem")

    def image(self, kind: str | None, *options: str | Path) -> bytes:
        out = self.folder / "signed.bin"
        key: list[str | Path] = ["-k", self.key(kind)] if kind else []
        size = ["--align", "1", "--header-size", "0x200", "--pad-header", "--slot-size", "0x20000"]
        imgtool("sign", *key, *size, "--version", "1.2.3+4", *options, self.folder / "payload.bin", out)
        return out.read_bytes()


@pytest.fixture(scope="module")
def maker(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    return Maker(tmp_path_factory.mktemp("maker"))


def trust(*keys: ImageKey) -> TrustFile:
    return TrustFile(schema="assay.trust/1", name="test", image_keys=keys)


def key(pem: str, *boards: str) -> ImageKey:
    return ImageKey(name="vendor", boards=boards or ("their-board",), public=pem)


@pytest.mark.parametrize("kind", KINDS)
def test_a_signature_of_each_kind(maker: Maker, kind: str) -> None:
    data, known = maker.image(kind), trust(key(maker.public(kind)))
    checked = verify_foreign_image(data, known, "their-board")
    assert (checked.signature, checked.key, checked.says.version) == (Signature.VERIFIED, "vendor", "1.2.3+4")
    assert any(kind in line for line in checked.checks) and not checked.cautions
    assert verify_foreign_image(data, known, "another-board").signature is Signature.UNKNOWN_KEY
    assert verify_foreign_image(data, trust(), "their-board").signature is Signature.UNKNOWN_KEY


@pytest.mark.parametrize("options", [("--pure",), ("--sha", "512"), ("--public-key-format", "full")])
def test_ways_of_ed25519(maker: Maker, options: tuple[str, ...]) -> None:
    known = trust(key(maker.public("ed25519")))
    data = maker.image("ed25519", *options)
    assert verify_foreign_image(data, known, "their-board").signature is Signature.VERIFIED


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_byte_is_never_a_matter_of_policy(maker: Maker, kind: str) -> None:
    data, known = maker.image(kind), trust(key(maker.public(kind)))
    for at in (0x300, len(data) - 5):  # in the payload, in the signature
        damaged = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises(NotVerified, match=r"was changed|is wrong"):
            verify_foreign_image(damaged, known, "their-board")


def test_an_image_with_a_hash_alone(maker: Maker) -> None:
    checked = verify_foreign_image(maker.image(None), trust(), "their-board")
    assert checked.signature is Signature.NONE
    assert "anybody" in checked.cautions[0]


def test_an_encrypted_image_is_said_to_be_one(maker: Maker) -> None:
    enc = maker.folder / "enc.pem"
    imgtool("keygen", "-k", enc, "-t", "x25519")
    public = maker.folder / "enc-pub.pem"
    public.write_text(imgtool("getpub", "-k", enc, "-e", "pem"))
    data = maker.image("ed25519", "-E", public)
    checked = verify_foreign_image(data, trust(key(maker.public("ed25519"))), "their-board")
    assert checked.says.encrypted and checked.signature is Signature.VERIFIED
    assert "encrypted" in checked.cautions[0]
    assert PAYLOAD not in data
    with pytest.raises(NotVerified, match="nothing of it can be verified"):
        verify_foreign_image(maker.image("ed25519", "--pure", "-E", public), trust(), "their-board")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data[:20], "20 bytes"),
        (lambda data: data[:-1], "cut off"),
        (lambda data: data + b"\xff", "goes on behind it"),
        (lambda data: PAYLOAD, "does not begin"),
        (lambda data: data[:12] + b"\xff\xff\xff\x7f" + data[16:], "other sizes"),
    ],
)
def test_what_is_no_image(maker: Maker, change: object, words: str) -> None:
    with pytest.raises(NotVerified, match=words):
        parse_foreign_image(change(maker.image("ed25519")))  # type: ignore[operator]


@given(st.binary(max_size=200), st.integers(0, 60))
def test_any_bytes_raise_only_not_verified(tail: bytes, size: int) -> None:
    header = b"\x3d\xb8\xf3\x96" + bytes(4) + b"\x20\x00" + tail[:2].ljust(2, b"\0") + size.to_bytes(4, "little")
    for data in (tail, header + bytes(16) + tail):
        try:
            parse_foreign_image(data)
        except NotVerified:
            continue
