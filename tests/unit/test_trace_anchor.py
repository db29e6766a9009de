# SPDX-License-Identifier: Apache-2.0
"""The trust file of a trace: a damaged one verifies nothing, wherever the damage is."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from assay.errors import ManifestFault, NotVerified
from assay.formats import trust_file
from assay.formats.public_key import trusted_key
from assay.model.trust import Role, TrustFile
from assay.pipeline.trust_anchor import load_anchor


@pytest.fixture(scope="module")
def sealed() -> bytes:
    pem = generate_private_key(SECP256R1()).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    key = trusted_key(pem.decode(), Role.STATION, name="line 4", development=True)
    return trust_file.encode(TrustFile(schema="assay.trust/1", name="demo", allow_development=True, keys=(key,)))


def test_it_is_known_by_its_digest(tmp_path: Path, sealed: bytes) -> None:
    (tmp_path / "trust.toml").write_bytes(sealed)
    trust, digest = load_anchor(tmp_path / "trust.toml")
    assert digest == hashlib.sha256(sealed).hexdigest()
    assert trust.seal is None and trust.keys[0].name == "line 4"


@pytest.mark.parametrize("bit", [0, 5])
def test_every_changed_byte_is_found(tmp_path: Path, sealed: bytes, bit: int) -> None:
    path = tmp_path / "trust.toml"
    for offset in range(bit % 2, len(sealed), 2):  # one half of the bytes for each bit
        damaged = bytearray(sealed)
        damaged[offset] ^= 1 << bit
        path.write_bytes(bytes(damaged))
        with pytest.raises(NotVerified, match="trust file"):
            load_anchor(path)


def test_a_file_that_was_edited_on_purpose(tmp_path: Path, sealed: bytes) -> None:
    path = tmp_path / "trust.toml"
    path.write_bytes(sealed.replace(b'"line 4"', b'"line 5"'))
    with pytest.raises(NotVerified, match=r"trust\.toml:7: the file was changed"):
        load_anchor(path)
    unsealed = b"\n".join(line for line in path.read_bytes().split(b"\n") if not line.startswith(b"seal"))
    path.write_bytes(unsealed)
    assert load_anchor(path)[0].keys[0].name == "line 5"


def test_one_that_is_not_there_is_a_slip(tmp_path: Path) -> None:
    with pytest.raises(ManifestFault, match="no such trust file"):
        load_anchor(tmp_path / "trust.toml")


def test_the_digest_is_of_the_bytes_that_were_read(
    tmp_path: Path, sealed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody replaces the file while it is read: the digest must not be that of another file."""
    path = tmp_path / "trust.toml"
    path.write_bytes(sealed)
    read = Path.read_bytes

    def read_and_replace(this: Path) -> bytes:
        data = read(this)
        path.write_bytes(b"another")
        return data

    monkeypatch.setattr(Path, "read_bytes", read_and_replace)
    trust, digest = load_anchor(path)
    assert (trust.name, digest) == ("demo", hashlib.sha256(sealed).hexdigest())


def test_a_device_without_end_is_not_read() -> None:
    with pytest.raises(ManifestFault, match="a manifest has at most"):
        load_anchor(Path("/dev/zero"))
