# SPDX-License-Identifier: Apache-2.0
"""Transfers from a repository: cut at any byte and taken up again, over files and over HTTP."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from crashing_files import memory_dir
from file_server import FileServer
from repository_attacker import CutSource
from repository_pair import Pair
from tls_certificate import certified

from assay.backends.repository.blob_download import download
from assay.backends.repository.sources import HttpSource, open_source
from assay.errors import AssayError, ExitStatus, LinkError, NotVerified, UsageFault
from assay.model.repository import FilePart

__all__ = ["memory_dir"]

DATA = bytes(range(256)) * 5 + b"the end"
CUTS = (*range(0, len(DATA), 37), 1, 255, 256, len(DATA) - 1)
"""Sizes at which the link breaks; 37 has no factor in common with anything here."""

PART = FilePart(sha256=hashlib.sha256(DATA).hexdigest(), length=len(DATA), kind="image")


@pytest.fixture
def blobs(tmp_path: Path) -> Path:
    """A repository with one file."""
    folder = tmp_path / "repository" / "targets" / "blobs"
    folder.mkdir(parents=True)
    (folder / PART.sha256).write_bytes(DATA)
    return tmp_path / "repository"


@pytest.fixture
def server(blobs: Path) -> Iterator[FileServer]:
    with FileServer(blobs).running() as running:
        yield running


@pytest.mark.parametrize("ranges", [True, False])
def test_cut_at_any_byte_it_goes_on(blobs: Path, memory_dir: Path, ranges: bool) -> None:
    for cut in CUTS:
        folder = memory_dir / f"{cut}"
        with pytest.raises(LinkError):
            download(CutSource(blobs, cut, ranges=ranges), PART, folder)
        part = folder / f"{PART.sha256}.part"
        assert (part.stat().st_size if part.exists() else 0) == cut
        assert not (folder / PART.sha256).exists()
        source = CutSource(blobs, 10 * len(DATA), ranges=ranges)
        assert download(source, PART, folder).read_bytes() == DATA
        assert source.asked == [cut]


def test_cut_again_and_again_nothing_is_fetched_twice(blobs: Path, tmp_path: Path) -> None:
    for turn in range(12):
        source = CutSource(blobs, 100)
        with pytest.raises(LinkError):
            download(source, PART, tmp_path / "in")
        assert source.asked == [100 * turn]
    assert download(CutSource(blobs, 100), PART, tmp_path / "in").read_bytes() == DATA


@pytest.mark.parametrize("old", [b"x" * 700, DATA[:700] + b"x", DATA + b"more", b"x" * len(DATA)])
def test_what_was_wrong_from_before_is_fetched_anew(blobs: Path, tmp_path: Path, old: bytes) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / f"{PART.sha256}.part").write_bytes(old)
    assert download(CutSource(blobs, 10 * len(DATA)), PART, folder).read_bytes() == DATA
    assert [path.name for path in folder.iterdir()] == [PART.sha256]


def test_a_link_in_the_place_of_the_part_is_not_followed(blobs: Path, tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "in", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.write_bytes(b"mine")
    (folder / f"{PART.sha256}.part").symlink_to(elsewhere)
    with pytest.raises(AssayError):
        download(CutSource(blobs, 10 * len(DATA)), PART, folder)
    assert elsewhere.read_bytes() == b"mine"


@pytest.mark.parametrize("ranges", [True, False])
def test_over_http_it_goes_on(server: FileServer, tmp_path: Path, ranges: bool) -> None:
    server.ranges, server.cut_after = ranges, 500
    with pytest.raises(LinkError) as caught:
        download(HttpSource(server.url), PART, tmp_path)
    assert caught.value.status is ExitStatus.ERROR
    have = (tmp_path / f"{PART.sha256}.part").stat().st_size
    assert have == 500
    server.cut_after = -1
    assert download(HttpSource(server.url), PART, tmp_path).read_bytes() == DATA
    assert server.asked[-1].endswith(" from 500") is ranges


@pytest.mark.parametrize("evil", ["redirect", "wrong_range"])
def test_a_server_that_gives_something_else(server: FileServer, tmp_path: Path, evil: str) -> None:
    (tmp_path / f"{PART.sha256}.part").write_bytes(DATA[:10])
    setattr(server, evil, PART.sha256 if evil == "redirect" else True)
    with pytest.raises(NotVerified, match=r"leads elsewhere|another part"):
        download(HttpSource(server.url), PART, tmp_path)


def test_a_server_that_fails_says_nothing_of_the_file(server: FileServer, tmp_path: Path) -> None:
    server.status = 503
    with pytest.raises(LinkError, match="503"):
        download(HttpSource(server.url), PART, tmp_path)
    with pytest.raises(LinkError):
        download(HttpSource("http://127.0.0.1:9"), PART, tmp_path)


@pytest.mark.parametrize(
    "url",
    ["https://u:s3cret@files.example/x", "http://t0ken-s3cret@files.example", "https://files.example/?k=s3cret",
     "https:///s3cret", "https://[s3cret/x", "https://files.example:s3cret/"],
)  # fmt: skip
def test_a_password_in_the_url_of_a_repository_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(UsageFault) as caught:
        open_source(url)
    assert "s3cret" not in f"{caught.value}{caught.value.remedy}"


def test_a_release_over_http(served: Pair) -> None:
    with FileServer(served.folder).running() as server:
        server.cut_after = 300
        with pytest.raises(LinkError):
            served.fetch(where=server.url)
        assert not served.station.store.releases()
        server.cut_after = -1
        assert served.fetch(where=server.url).release is not None
        server.asked.clear()
        server.redirect = "timestamp.json"
        with pytest.raises(NotVerified, match="leads elsewhere"):
            served.fetch(where=server.url)
        assert not [path for path in server.asked if path == "elsewhere"]


def test_a_release_over_https(served: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the system's authorities, which SSL_CERT_FILE may name; cut off, it goes on."""
    key, authority = certified(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    with FileServer(served.folder, tls=(key, authority)).running() as server:
        assert server.url.startswith("https:")
        server.cut_after = 300
        with pytest.raises(LinkError):
            served.fetch(where=server.url)
        server.cut_after = -1
        assert served.fetch(where=server.url).release is not None
        assert any(" from 300" in path for path in server.asked)


@pytest.mark.parametrize(("host", "said"), [("127.0.0.1", "self-signed"), ("localhost", "not valid for 'localhost'")])
def test_a_server_that_does_not_prove_who_it_is(
    served: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, said: str
) -> None:
    """Another CA's certificate, and one for another name: refused before anything is asked for."""
    key, authority = certified(tmp_path)
    if host == "localhost":
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    with FileServer(served.folder, tls=(key, authority)).running() as server:
        with pytest.raises(NotVerified, match=f"does not prove who it is: .*{said}"):
            served.fetch(where=server.url.replace("127.0.0.1", host))
        assert server.asked == [] and not served.station.store.releases()
