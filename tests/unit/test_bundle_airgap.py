# SPDX-License-Identifier: Apache-2.0
"""Bundles for the air gap: what is exported comes in, its log and metadata go on from what was seen, and no other."""

from __future__ import annotations

import json
import shutil
import tarfile
from datetime import timedelta
from pathlib import Path

import pytest
from bundle_bench import bundle, changed, export, left, other_site, published
from published_release import Published
from repository_pair import Pair

from assay.errors import NotVerified, Refused, UsageFault
from assay.formats import canonical_tar
from assay.model.statement import PredicateType
from assay.model.trust import TrustFile
from assay.pipeline.bundle_export import export_bundle, find_releases
from assay.pipeline.bundle_import import import_bundle
from assay.pipeline.bundle_metadata import MetadataOrder
from assay.pipeline.image_signing import sign_artifact
from assay.pipeline.publishing import publish_signed
from assay.pipeline.site import Site
from assay.pipeline.withdrawing import withdraw

__all__ = ["bundle", "published"]


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
