# SPDX-License-Identifier: Apache-2.0
"""The tar with one spelling: other tools read it, and nothing but that spelling is read."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import NotVerified, UsageFault
from assay.formats import canonical_tar

FILES = {"index.json": b"{}", "log/checkpoint": b"x" * 512, "files/aa": bytes(range(256)) * 5, "empty": b""}


def test_other_tools_read_it() -> None:
    with tarfile.open(fileobj=io.BytesIO(canonical_tar.encode(FILES)), mode="r:") as tar:
        assert {member.name: tar.extractfile(member).read() for member in tar} == FILES  # type: ignore[union-attr]
        assert all(member.isfile() and member.mtime == 0 and member.mode == 0o644 for member in tar)


@given(st.dictionaries(st.from_regex(r"[a-z0-9]{1,8}(/[a-z0-9.]{1,8}){0,3}", fullmatch=True), st.binary(max_size=1500)))
def test_what_goes_in_comes_out(files: dict[str, bytes]) -> None:
    files = {name: data for name, data in files.items() if not any(part.startswith(".") for part in name.split("/"))}
    assert canonical_tar.decode(canonical_tar.encode(files)) == files


def test_any_changed_byte_changes_a_file_or_is_refused() -> None:
    good = canonical_tar.encode(FILES)
    for offset in range(len(good)):
        bad = bytearray(good)
        bad[offset] ^= 0x01
        try:
            assert canonical_tar.decode(bytes(bad)) != FILES, offset
        except NotVerified:
            continue


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_only_plain_files(kind: bytes) -> None:
    assert_refused(made_by_tarfile("a", kind=kind))


@pytest.mark.parametrize(
    "name", ["../a", "/a", "a/../b", "./a", "a//b", "a\\b", ".hidden", "a b", "é", "-a", "a" * 101]
)
def test_names_that_leave_the_archive(name: str) -> None:
    assert_refused(made_by_tarfile(name))
    with pytest.raises(UsageFault):
        canonical_tar.encode({name: b""})


def test_the_same_name_twice() -> None:
    one = canonical_tar.encode({"a": b"1"})[:1024]
    assert_refused(one + one + bytes(1024))


def test_a_size_beyond_the_end() -> None:
    header = bytearray(canonical_tar.encode({"a": b"1"})[:512])
    header[124:135] = b"77777777777"
    assert_refused(bytes(header))


@pytest.mark.parametrize("tail", [b"x", bytes(512), bytes(10240)])
def test_bytes_behind_the_end(tail: bytes) -> None:
    assert_refused(canonical_tar.encode(FILES) + tail)


@pytest.mark.parametrize("cut", [1, 512, 1024, 1025, 2000])
def test_cut_off(cut: int) -> None:
    assert_refused(canonical_tar.encode(FILES)[:-cut])


def test_extended_headers_and_sparse_files() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "x"}) as tar:
        tar.addfile(tarfile.TarInfo("a"))
    assert_refused(buffer.getvalue())


def made_by_tarfile(name: str, kind: bytes = tarfile.REGTYPE) -> bytes:
    buffer = io.BytesIO()
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = "b" if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        tar.addfile(info)
    return buffer.getvalue()


def assert_refused(data: bytes) -> None:
    with pytest.raises(NotVerified) as caught:
        canonical_tar.decode(data)
    assert caught.value.remedy
