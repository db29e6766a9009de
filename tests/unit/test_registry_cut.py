# SPDX-License-Identifier: Apache-2.0
"""Downloads from a registry and uploads to it that are cut: each goes on where it stopped, whatever there is."""

from __future__ import annotations

import hashlib
import socket
from pathlib import Path

import pytest
from mock_registry import MockRegistry, Request
from published_release import Published
from registry_bench import new_mock, no_passwords, other_site, published, pull, push

from assay.backends.registries import download as downloading
from assay.backends.registries.connection import RegistryConnection
from assay.errors import InfrastructureError, NotVerified
from assay.formats.registry_address import parse_address

__all__ = ["new_mock", "no_passwords", "published"]


def test_stopped_at_any_byte_a_download_goes_on(tmp_path: Path, new_mock: MockRegistry) -> None:
    """One connection for each byte: what came is kept, and the rest is asked for."""
    data = bytes(range(97))
    sha256 = hashlib.sha256(data).hexdigest()
    new_mock.blobs[sha256] = data
    asked: list[str] = []

    def one_byte(request: Request) -> bool:
        asked.append(request.headers.get("Range", ""))
        at = int((asked[-1] or "bytes=0-")[6:-1])
        headers = {"Content-Range": f"bytes {at}-96/97"} if at else {}
        request.cut(data[at:], 1, 206 if at else 200, headers)
        return True

    new_mock.twist = one_byte
    downloading.download(connection(new_mock), f"/v2/x/blobs/sha256:{sha256}", sha256, 97, tmp_path / "blob")
    assert (tmp_path / "blob").read_bytes() == data
    assert asked == ["", *(f"bytes={at}-" for at in range(1, 97))]


@pytest.mark.parametrize("have", [1, 50, 96, 97, 98])
@pytest.mark.parametrize("right", [True, False])
def test_a_part_from_before_is_gone_on_with_whatever_it_holds(
    tmp_path: Path, new_mock: MockRegistry, have: int, right: bool
) -> None:
    """A killed process leaves a part; one that is wrong is found by the digest, and costs one more download."""
    data = bytes(range(97))
    sha256 = hashlib.sha256(data).hexdigest()
    new_mock.blobs[sha256] = data
    (tmp_path / "blob.part").write_bytes(((data + b"x") if right else bytes(98))[:have])
    downloading.download(connection(new_mock), f"/v2/x/blobs/sha256:{sha256}", sha256, 97, tmp_path / "blob")
    assert (tmp_path / "blob").read_bytes() == data
    assert not (tmp_path / "blob.part").exists()


@pytest.mark.parametrize("wrong", ["bytes 0-96/97", "bytes 51-96/97", "bytes 50-90/97", "bytes 50-96/*, x", ""])
def test_other_bytes_than_those_asked_for(tmp_path: Path, new_mock: MockRegistry, wrong: str) -> None:
    data = bytes(range(97))
    sha256 = hashlib.sha256(data).hexdigest()
    (tmp_path / "blob.part").write_bytes(data[:50])

    def twist(request: Request) -> bool:
        request.answer(206, data[50:], {"Content-Range": wrong})
        return True

    new_mock.twist = twist
    with pytest.raises(NotVerified, match="other bytes of the blob"):
        downloading.download(connection(new_mock), "/v2/x/blobs/x", sha256, 97, tmp_path / "blob")


def test_a_registry_that_never_ends_a_blob_is_given_up(tmp_path: Path, new_mock: MockRegistry) -> None:
    def twist(request: Request) -> bool:
        request.cut(bytes(97), 0)
        return True

    new_mock.twist = twist
    with pytest.raises(InfrastructureError, match="before the blob is whole"):
        downloading.download(connection(new_mock), "/v2/x/blobs/x", "0" * 64, 97, tmp_path / "blob")
    assert len(new_mock.seen) == downloading.ATTEMPTS


def connection(mock: MockRegistry) -> RegistryConnection:
    return RegistryConnection(parse_address(mock.url).origin, None, timeout_s=5.0)


def test_an_upload_that_is_cut_goes_on_from_what_the_registry_has(
    published: Published, new_mock: MockRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assay.backends.registries.upload.UPLOAD_BYTES", 1000)
    cut: list[str] = []

    def twist(request: Request) -> bool:
        if request.command == "PATCH" and len(cut) < 3:
            cut.append(request.path)
            new_mock._uploads[request.path] += request.body  # it has the piece, and the answer is lost
            request.connection.shutdown(socket.SHUT_RDWR)
            request.close_connection = True
            return True
        return False

    new_mock.twist = twist
    push(published, new_mock)
    assert len(cut) == 3
    for name, data in new_mock.blobs.items():
        assert hashlib.sha256(data).hexdigest() == name
    pull(published, new_mock, other_site(tmp_path))
