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


def _pax_record(headers: dict[str, str], kind: bytes = tarfile.XHDTYPE) -> bytes:
    return tarfile.TarInfo._create_pax_generic_header(headers, kind, "utf-8")  # type: ignore[attr-defined, no-any-return]


def _pax(files: dict[str, bytes], headers: dict[str, str], kind: bytes = tarfile.XHDTYPE) -> bytes:
    """A PAX header before the last file of the bundle, as other tars write it."""
    last = max(files)
    before = canonical_tar.encode({name: data for name, data in files.items() if name != last})[:-1024]
    return before + _pax_record(headers, kind) + canonical_tar.encode({last: files[last]})


def _patched(files: dict[str, bytes], at: int, data: bytes) -> bytes:
    """Bytes of the last header are others, and its checksum is right."""
    last = max(files)
    before = canonical_tar.encode({name: data for name, data in files.items() if name != last})[:-1024]
    tail = bytearray(canonical_tar.encode({last: files[last]}))
    tail[at : at + len(data)] = data
    tail[148:156] = b"        "
    tail[148:156] = b"%06o\0 " % sum(tail[:512])
    return before + bytes(tail)


def _one_blob(files: dict[str, bytes]) -> str:
    return max((name for name in files if name.startswith("blobs/")), key=lambda name: len(files[name]))


def _a_manifest(files: dict[str, bytes]) -> str:
    digest = json.loads(files["index.json"])["manifests"][0]["digest"]
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


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
    **{f"a {what}": (
        lambda files, kind=kind: _by_tarfile(files, (_special("zz", kind), b"x" * 512)), "no plain file")
       for what, kind in {
           "pipe": tarfile.FIFOTYPE, "block device": tarfile.BLKTYPE, "contiguous file": tarfile.CONTTYPE,
           "sparse file": tarfile.GNUTYPE_SPARSE, "long name of GNU": tarfile.GNUTYPE_LONGNAME,
           "long link of GNU": tarfile.GNUTYPE_LONGLINK, "header of Solaris": tarfile.SOLARIS_XHDTYPE,
           "volume label": b"V", "file with a type that nobody has": b"Z"}.items()},
    "a PAX header that gives the next file another path": (
        lambda files: _pax(files, {"path": "../../x"}), "no plain file"),
    "a PAX header that gives the next file another size": (
        lambda files: _pax(files, {"size": "1"}), "no plain file"),
    "a PAX header of a sparse file": (
        lambda files: _pax(files, {"GNU.sparse.realsize": "1099511627776", "GNU.sparse.major": "1"}), "no plain file"),
    "a PAX header for all": (
        lambda files: _pax(files, {"path": "../../x"}, tarfile.XGLTYPE), "no plain file"),
    "a PAX header first of all": (
        lambda files: _pax_record({"path": "assay-bundle.json"}) + canonical_tar.encode(files), "no plain file"),
    "a path in the prefix of the header": (lambda files: _patched(files, 345, b"../../../tmp"), "no plain file"),
    "a program with the rights of its owner": (lambda files: _patched(files, 100, b"0004755\0"), "no plain file"),
    "a size in the base of 256": (lambda files: _patched(files, 124, b"\x80" + bytes(10) + b"\x01"), "no plain file"),
    "a name behind a null": (lambda files: _patched(files, 20, b"../../x"), "no plain file"),
    "the same file twice, the one inside of the other's name": (
        lambda files: canonical_tar.encode(files)[:-1024] + canonical_tar.encode({"index.json/x": b"x"}), "out of or"),
    "an archive behind the archive": (lambda files: canonical_tar.encode(files) * 2, "behind the end"),
    "an archive inside of the archive": (
        lambda files: changed({"assay-bundle.json": files["assay-bundle.json"], **{
            name: files[name] for name in ("index.json", "oci-layout", "log/checkpoint")},
            f"blobs/sha256/{hashlib.sha256(inner := canonical_tar.encode(files)).hexdigest()}": inner}), "lacks the"),
    "names that differ in case": (
        lambda files: changed({**files, "metadata/Root.json": b"1", "metadata/root.json": b"2"}), "in case alone"),
    "the name of a file of ours in capitals": (
        lambda files: changed({**files, "log/CHECKPOINT": b"x"}), "which none has"),
    **{f"a name in {form}": (
        lambda files, name=name: _with_index(files, members={
            **json.loads(files["assay-bundle.json"])["members"], name: 1}), "which none has")
       for form, name in {"NFC": "metadata/\u00e9.json", "NFD": "metadata/e\u0301.json", "letters like others":
                          "metadata/r\u043e\u043et.json", "turned text": "metadata/\u202etoor.json",
                          "blanks": "metadata/root.json ", "a null": "metadata/root.json\0",
                          "Windows": "metadata\\root.json", "a stream of Windows": "index.json:x"}.items()},
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
    "a manifest that is left out": (
        lambda files: _without(files, _a_manifest(files), tell=True), "the bundle lacks the blob"),
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
