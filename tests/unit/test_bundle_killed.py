# SPDX-License-Identifier: Apache-2.0
"""Bundles where there is no room, and where export or import is killed at any operation: nothing is half kept."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from bundle_bench import bundle, export, left, other_site, published
from crashing_files import Crash, CrashingFiles, memory_dir
from published_release import Published

from assay.errors import StorageError
from assay.pipeline.bundle_import import import_bundle
from assay.pipeline.site import Site

__all__ = ["bundle", "memory_dir", "published"]


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
