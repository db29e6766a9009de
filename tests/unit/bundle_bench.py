# SPDX-License-Identifier: Apache-2.0
"""A release on its way over an air gap: its bundle, the site that it goes to, and what an import left there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from published_release import Published

from assay.formats import canonical_json, canonical_tar
from assay.model.trust import TrustFile
from assay.pipeline.bundle_export import export_bundle, find_releases
from assay.pipeline.site import Site


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


def changed(files: dict[str, bytes], *, tell: bool = True) -> bytes:
    """A bundle of `files`, whose index says so where `tell`."""
    if tell:
        index = json.loads(files["assay-bundle.json"])
        index["members"] = {name: len(data) for name, data in files.items() if name != "assay-bundle.json"}
        files = {**files, "assay-bundle.json": canonical_json.encode(index)}
    return canonical_tar.encode(files)
