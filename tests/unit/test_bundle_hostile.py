# SPDX-License-Identifier: Apache-2.0
"""Hostile bundles: archives and indexes that somebody made or cut are refused with the reason, and leave nothing."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from bundle_bench import bundle, changed, left, other_site, published
from published_release import Published

from assay.errors import NotVerified, Refused
from assay.formats import canonical_json, canonical_tar
from assay.pipeline.bundle_import import import_bundle

__all__ = ["bundle", "published"]


def _with_index(files: dict[str, bytes], **changes: object) -> bytes:
    index = {**json.loads(files["assay-bundle.json"]), **changes}
    return canonical_tar.encode({**files, "assay-bundle.json": canonical_json.encode(index)})


def _by_tarfile(files: dict[str, bytes], *extra: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """The members of a bundle, and more of them, as Python's tarfile writes them."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        tar.fileobj.write(canonical_tar.encode(files)[:-1024])  # type: ignore[union-attr]
        for info, data in extra:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def _special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def _one_blob(files: dict[str, bytes]) -> str:
    return max((name for name in files if name.startswith("blobs/")), key=lambda name: len(files[name]))


def _flipped(files: dict[str, bytes]) -> bytes:
    name = _one_blob(files)
    return changed({**files, name: files[name][:-1] + bytes([files[name][-1] ^ 1])})


def _without(files: dict[str, bytes], name: str, *, tell: bool) -> bytes:
    return changed({other: data for other, data in files.items() if other != name}, tell=tell)


def _more_blob(files: dict[str, bytes]) -> bytes:
    data = b"nobody needs this"
    return changed({**files, f"blobs/sha256/{hashlib.sha256(data).hexdigest()}": data})


def _layout(files: dict[str, bytes], change: Callable[[list[dict[str, object]]], None]) -> bytes:
    document = json.loads(files["index.json"])
    change(document["manifests"])
    return changed({**files, "index.json": canonical_json.encode(document)})


ATTACKS: dict[str, tuple[Callable[[dict[str, bytes]], bytes], str]] = {
    "a path that climbs out": (
        lambda files: _by_tarfile(files, (_special("../../x", tarfile.REGTYPE), b"x")), "no plain file"),
    "an absolute path": (
        lambda files: _by_tarfile(files, (_special("/etc/x", tarfile.REGTYPE), b"x")), "no plain file"),
    "a symbolic link": (
        lambda files: _by_tarfile(files, (_special("zlink", tarfile.SYMTYPE, "/etc"), b"")), "no plain file"),
    "a hard link": (
        lambda files: _by_tarfile(files, (_special("zlink", tarfile.LNKTYPE, "index.json"), b"")), "no plain file"),
    "a device": (lambda files: _by_tarfile(files, (_special("zdev", tarfile.CHRTYPE), b"")), "no plain file"),
    "a folder": (lambda files: _by_tarfile(files, (_special("zdir", tarfile.DIRTYPE), b"")), "no plain file"),
    "a file that the index does not name": (lambda files: changed({**files, "zz": b"x"}, tell=False), "does not name"),
    "a name that no bundle has": (lambda files: changed({**files, "zz": b"x"}), "which none has"),
    "a size that is too large": (
        lambda files: _with_index(files, members={**json.loads(files["assay-bundle.json"])["members"],
                                                  "log/checkpoint": 2**40}), "at most"),
    "sizes that are too large together": (
        lambda files: _with_index(files, members={
            **json.loads(files["assay-bundle.json"])["members"],
            **{f"blobs/sha256/{number:064x}": 2**30 for number in range(70)}}), "a bundle has at most"),
    "a size below nothing": (
        lambda files: _with_index(files, members={**json.loads(files["assay-bundle.json"])["members"],
                                                  "log/checkpoint": -1}), "at most"),
    "a size that is not the file's": (
        lambda files: _with_index(files, members={**json.loads(files["assay-bundle.json"])["members"],
                                                  "log/checkpoint": 7}), "does not name"),
    "the same file twice": (
        lambda files: canonical_tar.encode(files)[:-1024] + canonical_tar.encode({"oci-layout": b"x"}), "twice"),
    "files out of order": (
        lambda files: canonical_tar.encode(files)[:-1024] + canonical_tar.encode({"aa": b"x"}), "out of order"),
    "a bomb: compressed": (
        lambda files: __import__("gzip").compress(canonical_tar.encode(files), mtime=0), "no plain file"),
    "a blob that was changed": (_flipped, "another digest"),
    "a blob that is left out": (lambda files: _without(files, _one_blob(files), tell=True), "lacks the blob"),
    "a file that is left out": (lambda files: _without(files, _one_blob(files), tell=False), "lacks 'blobs"),
    "no checkpoint": (lambda files: _without(files, "log/checkpoint", tell=True), "lacks 'log/checkpoint'"),
    "a blob that nobody needs": (_more_blob, "without any need"),
    "a manifest twice": (lambda files: _layout(files, lambda rows: rows.append(rows[0])), "twice"),
    "a statement that refers to nothing": (lambda files: _layout(files, lambda rows: rows.pop(0)), "(lacks|without)"),
    "a release without its record": (
        lambda files: _with_index(files, records=[]), "is not shown to hold"),
    "a proof of another entry": (
        lambda files: _with_index(files, records=[
            {**json.loads(files["assay-bundle.json"])["records"][0], "index": 1}]), "."),
    "an index in another spelling": (
        lambda files: canonical_tar.encode({**files, "assay-bundle.json": files["assay-bundle.json"] + b" "}),
        "one spelling"),
    "no index": (lambda files: canonical_tar.encode({n: d for n, d in files.items() if "assay" not in n}), "no bundle"),
    "bytes behind the end": (lambda files: canonical_tar.encode(files) + b"x", "behind the end"),
    "an empty file": (lambda _files: b"", "cut off"),
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_hostile_bundle_is_refused_with_its_reason_and_leaves_nothing(
    published: Published, bundle: Path, tmp_path: Path, attack: str
) -> None:
    make, reason = ATTACKS[attack]
    bundle.write_bytes(make(canonical_tar.decode(bundle.read_bytes())))
    site = other_site(tmp_path)
    with pytest.raises(Refused, match=reason) as refused:
        import_bundle(site, bundle, published.trust())
    assert refused.value.status == 4
    assert refused.value.remedy
    assert left(site) == set()


def test_cut_off_anywhere_it_is_refused(published: Published, bundle: Path, tmp_path: Path) -> None:
    data, site = bundle.read_bytes(), other_site(tmp_path)
    trust = published.trust()
    for cut in [*range(0, len(data), 1499), *range(len(data) - 1025, len(data), 64)]:
        bundle.write_bytes(data[:cut])
        with pytest.raises(NotVerified, match=r"cut off|no bundle|lacks"):
            import_bundle(site, bundle, trust)
        assert left(site) == set()
