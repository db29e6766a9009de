# SPDX-License-Identifier: Apache-2.0
"""Bundles for the air gap: what is exported comes in, and nothing else does; killed anywhere, nothing is half kept."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from crashing_files import Crash, CrashingFiles, memory_dir
from published_release import Published
from repository_pair import Pair

from assay.errors import NotVerified, Refused, StorageError, UsageFault
from assay.formats import canonical_json, canonical_tar
from assay.model.statement import PredicateType
from assay.model.trust import TrustFile
from assay.pipeline.bundle_export import export_bundle, find_releases
from assay.pipeline.bundle_import import import_bundle
from assay.pipeline.bundle_metadata import MetadataOrder
from assay.pipeline.image_signing import sign_artifact
from assay.pipeline.publishing import publish_signed
from assay.pipeline.site import Site
from assay.pipeline.withdrawing import withdraw

__all__ = ["memory_dir"]


@pytest.fixture
def published(published: Published, made_trust: TrustFile) -> Published:
    published.trust = lambda **changes: made_trust.model_copy(update=changes)  # type: ignore[method-assign]
    return published


@pytest.fixture
def bundle(published: Published, tmp_path: Path) -> Path:
    out = tmp_path / "bundle.tar"
    export(published, out)
    return out


def export(published: Published, out: Path, **more: object) -> None:
    export_bundle(published.site, find_releases(published.site, ["tiny"], None), out, **more)  # type: ignore[arg-type]


def other_site(tmp_path: Path) -> Site:
    return Site(tmp_path / "other-site")


def left(site: Site) -> set[str]:
    """What an import left in the site, other than its lock."""
    return {str(path.relative_to(site.folder)) for path in site.folder.rglob("*") if path.is_file()} - {"incoming.lock"}


def test_what_is_exported_comes_in_with_all_that_refers_to_it(
    published: Published, bundle: Path, tmp_path: Path
) -> None:
    site = other_site(tmp_path)
    done = import_bundle(site, bundle, published.trust())
    assert [each.reference for each, _ in done.releases] == ["tiny@1.0.0"]
    release = site.store.find("tiny", None, "ast1030-evb")
    assert release == published.site.store.find("tiny", None, "ast1030-evb")
    assert site.store.get(release.image.file_sha256) == published.site.store.get(release.image.file_sha256)
    assert len(site.store.attached(release, PredicateType.RELEASE.value)) == 1
    assert any("of the log" in check.what for _, checks in done.releases for check in checks)
    before = left(site)
    import_bundle(site, bundle, published.trust())
    assert left(site) == before, "the same bundle again is fine, and changes nothing"


def test_the_same_releases_give_the_same_bytes(published: Published, bundle: Path, tmp_path: Path) -> None:
    export(published, tmp_path / "again.tar")
    assert (tmp_path / "again.tar").read_bytes() == bundle.read_bytes()


def test_other_tools_read_it_as_an_oci_image_layout(bundle: Path) -> None:
    with tarfile.open(bundle) as tar:
        files = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    for descriptor in json.loads(files["index.json"])["manifests"]:
        manifest = json.loads(files[f"blobs/sha256/{descriptor['digest'][7:]}"])
        assert all(f"blobs/sha256/{each['digest'][7:]}" in files for each in manifest["layers"])


def test_check_keeps_nothing(published: Published, bundle: Path, tmp_path: Path) -> None:
    site = other_site(tmp_path)
    assert not import_bundle(site, bundle, published.trust(), keep=False).kept
    assert left(site) == set()


def test_who_does_not_trust_the_maker_keeps_nothing(published: Published, bundle: Path, tmp_path: Path) -> None:
    site = other_site(tmp_path)
    for changes in ({"keys": ()}, {"logs": ()}, {"allow_development": False}):
        with pytest.raises(Refused):
            import_bundle(site, bundle, published.trust(**changes))
        assert left(site) == set()


def changed(files: dict[str, bytes], *, tell: bool = True) -> bytes:
    """A bundle of `files`, whose index says so where `tell`."""
    if tell:
        index = json.loads(files["assay-bundle.json"])
        index["members"] = {name: len(data) for name, data in files.items() if name != "assay-bundle.json"}
        files = {**files, "assay-bundle.json": canonical_json.encode(index)}
    return canonical_tar.encode(files)


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


def test_a_bundle_from_before_what_was_seen_is_refused(published: Published, bundle: Path, tmp_path: Path) -> None:
    """Rollback: an old bundle hides what was said since."""
    site = other_site(tmp_path)
    seen = import_bundle(site, bundle, published.trust()).log.head.size
    proved = tmp_path / "proved.tar"
    _another_release(published)
    export(published, proved, since=seen)
    assert import_bundle(site, proved, published.trust()).log.continues == seen
    with pytest.raises(NotVerified, match=f"had {seen} entries; this site has seen"):
        import_bundle(site, bundle, published.trust())


def test_another_history_of_the_log_is_refused(published: Published, bundle: Path, tmp_path: Path) -> None:
    """Mix and match: the same key signed two histories."""
    site = other_site(tmp_path)
    import_bundle(site, bundle, published.trust())
    kept = next((site.folder / "imports").rglob("checkpoint"))
    lines = kept.read_text().split("\n")
    lines[2] = "A" * 43 + "="
    kept.write_text("\n".join(lines))
    with pytest.raises(NotVerified, match="two histories"):
        import_bundle(site, bundle, published.trust())
    _another_release(published)
    export(published, bundle, since=int(lines[1]))
    with pytest.raises(NotVerified, match="does not continue"):
        import_bundle(site, bundle, published.trust())


@pytest.mark.parametrize("since", [None, 1])
def test_a_log_that_grew_without_a_proof_is_refused(
    published: Published, bundle: Path, tmp_path: Path, since: int | None
) -> None:
    """Another history needs no proof that fails, where it may come without one, or with one from another size."""
    site = other_site(tmp_path)
    seen = import_bundle(site, bundle, published.trust()).log.head.size
    before = {path: path.read_bytes() for path in site.folder.rglob("*") if path.is_file()}
    _another_release(published)
    export(published, bundle, since=since)
    with pytest.raises(NotVerified, match=f"grew from the {seen} entries") as caught:
        import_bundle(site, bundle, published.trust())
    assert f"--since {seen}" in (caught.value.remedy or "")
    assert {path: path.read_bytes() for path in site.folder.rglob("*") if path.is_file()} == before
    assert import_bundle(Site(tmp_path / "new"), bundle, published.trust()).log.continues is None


def test_another_image_under_a_name_that_is_here_is_refused_before_anything_is_kept(
    published: Published, bundle: Path, tmp_path: Path
) -> None:
    there = Published(published.root)
    there.site = other_site(tmp_path)
    script = published.root / "mod" / "build.py"
    script.write_text(script.read_text().replace("'x'", "'y'"))
    there.build(tmp_path / "artifact-2")
    sign_artifact(tmp_path / "artifact-2", there.site, tmp_path / "signed-2")
    publish_signed(tmp_path / "signed-2", there.site)
    before = left(there.site)
    with pytest.raises(Refused, match="published with another image"):
        import_bundle(there.site, bundle, published.trust())
    assert left(there.site) == before
    there.site.signers.close()  # type: ignore[attr-defined]


def test_what_is_not_in_this_sites_log_is_not_exported(published: Published, bundle: Path, tmp_path: Path) -> None:
    site = other_site(tmp_path)
    import_bundle(site, bundle, published.trust())
    shutil.copytree(published.site.folder / "log", site.folder / "log")
    (site.folder / "log" / "checkpoint").write_bytes(_empty_checkpoint(published))
    with pytest.raises(UsageFault, match="its log does not know it"):
        export_bundle(site, find_releases(site, ["tiny"], None), tmp_path / "onward.tar")
    assert not (tmp_path / "onward.tar").exists()


def _empty_checkpoint(published: Published) -> bytes:
    text = published.site.records.log.note().decode().split("\n")
    return "\n".join([text[0], "0", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", *text[3:]]).encode()


def test_what_was_withdrawn_travels_and_refuses_older_bundles(
    published: Published, bundle: Path, tmp_path: Path
) -> None:
    site, trust, late = other_site(tmp_path), published.trust(), tmp_path / "late.tar"
    seen = import_bundle(site, bundle, trust).log.head.size
    withdraw(published.site, "tiny@1.0.0", "ast1030-evb", "it overheats")
    with pytest.raises(Refused, match="overheats"):
        export(published, late)
    export_bundle(published.site, (), late, since=seen)
    fresh = Site(tmp_path / "fresh")
    for each in (site, fresh):
        assert [said.reason for said in import_bundle(each, late, published.trust()).withdrawn] == ["it overheats"]
        with pytest.raises(Refused, match=r"overheats|this site has seen"):
            import_bundle(each, bundle, trust)
    stranger = published.trust(keys=())
    with pytest.raises(NotVerified):
        import_bundle(Site(tmp_path / "third"), late, stranger)
    published.site.signers.close()  # type: ignore[attr-defined]


def test_a_file_that_is_no_bundle_is_not_overwritten(published: Published, tmp_path: Path) -> None:
    letter = tmp_path / "letter.txt"
    letter.write_text("dear all")
    with pytest.raises(UsageFault, match="not overwritten"):
        export(published, letter)
    assert letter.read_text() == "dear all"


def test_without_room_nothing_is_copied(
    published: Published, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(0, 0, 1000))  # type: ignore[attr-defined]
    with pytest.raises(StorageError, match="are free"):
        import_bundle(other_site(tmp_path), bundle, published.trust())
    assert left(other_site(tmp_path)) == set()


@pytest.mark.parametrize("torn", [False, True])
def test_killed_at_any_operation_nothing_is_half_kept_and_the_next_import_goes_on(
    published: Published, bundle: Path, memory_dir: Path, monkeypatch: pytest.MonkeyPatch, torn: bool
) -> None:
    """A death before a file operation, or in the middle of a write: the store has the release whole, or not at all."""
    trust = published.trust()
    with monkeypatch.context() as patch:
        files = CrashingFiles(patch, memory_dir)
        files.arm(None)
        import_bundle(Site(memory_dir / "whole"), bundle, trust)
        count = len(files.operations)
        assert count > 20
        for die_at in range(int(torn), count, 3):
            site = Site(memory_dir / f"site-{die_at}")
            files.arm(die_at, torn=torn)
            with pytest.raises(Crash):
                import_bundle(site, bundle, trust)
            files.arm(None)
            _whole_or_nothing(Site(site.folder), published)
            import_bundle(Site(site.folder), bundle, trust)
            assert left(site) == left(Site(memory_dir / "whole")), die_at
            shutil.rmtree(site.folder)


def test_an_export_that_is_killed_leaves_the_bundle_of_before_or_the_new_one(
    published: Published, bundle: Path, memory_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the next one is whole, whatever lies beside it."""
    out = memory_dir / "stick" / "bundle.tar"
    with monkeypatch.context() as patch:
        files = CrashingFiles(patch, memory_dir)
        export(published, out)  # makes the folder
        files.arm(None)
        export(published, out)
        count, new = len(files.operations), out.read_bytes()
        assert {name for name, _ in files.operations} >= {"open", "fsync", "replace"}
        for die_at in range(count):
            out.write_bytes(old := bundle.read_bytes()[:-512])
            files.arm(die_at)
            with pytest.raises(Crash):
                export(published, out)
            files.arm(None)
            assert out.read_bytes() in (old, new), die_at
            export(published, out)
            assert [path.name for path in out.parent.iterdir()] == [out.name] and out.read_bytes() == new


def test_what_a_killed_import_left_is_gone_with_the_next(published: Published, bundle: Path, tmp_path: Path) -> None:
    site = other_site(tmp_path)
    (site.folder / "incoming" / "blobs").mkdir(parents=True)
    (site.folder / "incoming" / "blobs" / "half").write_bytes(b"x")
    import_bundle(site, bundle, published.trust(), keep=False)
    assert left(site) == set()


def _whole_or_nothing(site: Site, published: Published) -> None:
    for release in site.store.releases():
        assert release.reference == "tiny@1.0.0"
        for digest in site.store.blobs_of(site.store.part_of([release])):
            assert site.store.get(digest)


def _another_release(published: Published) -> None:
    root = published.root
    published.build(root / "artifact-2", "1.0.1")
    sign_artifact(root / "artifact-2", published.site, root / "signed-2")
    publish_signed(root / "signed-2", published.site)
    published.site.signers.close()  # type: ignore[attr-defined]


def test_the_trust_file_decides_and_not_the_bundle(published: Published, bundle: Path, tmp_path: Path) -> None:
    stranger = TrustFile(schema="assay.trust/1", name="stranger", logs=published.trust().logs, allow_development=True)
    with pytest.raises(Refused):
        import_bundle(other_site(tmp_path), bundle, stranger)


@pytest.fixture
def pair(published: Published, monkeypatch: pytest.MonkeyPatch) -> Pair:
    made = Pair(published, monkeypatch)
    made.init()
    made.publish()
    return made


def with_metadata(pair: Pair, out: Path) -> None:
    releases = find_releases(pair.owner, ["tiny"], None)
    export_bundle(pair.owner, releases, out, metadata=pair.folder / "metadata")


def test_trust_metadata_travels_and_is_verified_from_the_root_that_the_site_has(pair: Pair, tmp_path: Path) -> None:
    out, older, trust = tmp_path / "bundle.tar", tmp_path / "older.tar", pair.published.trust()
    with_metadata(pair, out)
    with pytest.raises(UsageFault, match="whose repository"):
        import_bundle(pair.station, out, trust)
    assert pair.station.store.releases() == ()
    order = MetadataOrder(root=pair.first_root)
    assert import_bundle(pair.station, out, trust, repository=order, keep=False).metadata
    assert not (pair.station.folder / "repositories").exists(), "--check moves nothing"
    assert import_bundle(pair.station, out, trust, repository=order).metadata
    shutil.copy(out, older)
    pair.refresh()
    with_metadata(pair, out)
    import_bundle(pair.station, out, trust)
    with pytest.raises(NotVerified, match="refused"):
        import_bundle(pair.station, older, trust)


def test_metadata_that_expired_or_is_of_another_repository(pair: Pair, tmp_path: Path) -> None:
    out, trust, order = tmp_path / "bundle.tar", pair.published.trust(), MetadataOrder(root=pair.first_root)
    with_metadata(pair, out)
    pair.at(timedelta(days=400))
    with pytest.raises(NotVerified, match="expired"):
        import_bundle(pair.station, out, trust, repository=order)
    pair.at(timedelta())
    files = canonical_tar.decode(out.read_bytes())
    data = files["metadata/timestamp.json"]
    out.write_bytes(changed({**files, "metadata/timestamp.json": data.replace(b'"version":', b'"version":1', 1)}))
    with pytest.raises(NotVerified, match="refused"):
        import_bundle(pair.station, out, trust, repository=order)
    assert pair.station.store.releases() == ()


def test_a_release_that_the_repository_in_the_bundle_does_not_name(pair: Pair, tmp_path: Path) -> None:
    """Mix and match: the metadata of one state, and a release that was never published there."""
    out, trust = tmp_path / "bundle.tar", pair.published.trust()
    pair.published.build(pair.published.artifact, "1.0.1")
    sign_artifact(pair.published.artifact, pair.owner, pair.published.signed)
    publish_signed(pair.published.signed, pair.owner)
    with_metadata(pair, out)
    with pytest.raises(NotVerified, match=r"does not have tiny@1\.0\.1"):
        import_bundle(pair.station, out, trust, repository=MetadataOrder(root=pair.first_root))
    assert pair.station.store.releases() == ()
