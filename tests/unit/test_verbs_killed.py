# SPDX-License-Identifier: Apache-2.0
"""Whoever publishes, withdraws, exports, pulls or migrates dies at any file operation, or in the middle of a write:
what is seen then is the old state or the new one, and the same again brings it to its end.

Repositories and fetches: `test_repository_kills`; imports of bundles: `test_bundle_killed`; transfers that are cut at
any byte: `test_registry_goes_on`, `test_repository_leftovers`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from crashing_files import Crash, CrashingFiles, memory_dir
from keys_in_process import KeysInProcess
from mock_registry import MockRegistry
from published_release import Published
from tiny_build import ROOT

from assay.model.record import RecordType
from assay.model.trust import TrustFile
from assay.pipeline.bundle_export import export_bundle, find_releases
from assay.pipeline.bundle_import import import_bundle
from assay.pipeline.image_signing import sign_artifact
from assay.pipeline.manifest_files import load_module
from assay.pipeline.migration import migrate, plan_migration
from assay.pipeline.publishing import publish_signed
from assay.pipeline.registry_transfer import Registry, pull_release, push_release
from assay.pipeline.site import Site
from assay.pipeline.withdrawing import withdraw

__all__ = ["memory_dir"]

BOARD = "ast1030-evb"
DEATHS = 8
"""Of each verb, whole and torn by turns; where the first one is depends on the verb."""


@dataclass
class Scene:
    """A copy of what was before, and those who work in it."""

    published: Published
    trust: TrustFile
    mock: MockRegistry

    @property
    def owner(self) -> Site:
        """The site that publishes."""
        return self.published.site

    @property
    def station(self) -> Site:
        """Another site, as a process of its own sees it."""
        return Site(self.published.root / "station")

    @property
    def manifest(self) -> Path:
        """A manifest of an older version."""
        return self.published.root / "old" / "module.toml"


@dataclass(frozen=True)
class Verb:
    """`does` it; `holds`: what is true whenever; `done`: what is true afterwards."""

    does: Callable[[Scene], object]
    holds: Callable[[Scene], object]
    done: Callable[[Scene], object]


def whole(site: Site) -> int:
    """How many releases are listed; every blob of each is there, and is what it is called."""
    releases = site.store.releases()
    for digest in site.store.blobs_of(site.store.part_of(releases)):
        site.store.get(digest)
    return len(releases)


def records(site: Site, kind: RecordType) -> int:
    site.recorder.recover()
    return sum(entry.type is kind for _, entry in site.records.entries())


def pull(scene: Scene) -> None:
    pull_release(scene.station, "tiny", "1.0.0", BOARD, Registry(scene.mock.url), scene.trust, quiet)


def export(scene: Scene) -> None:
    export_bundle(scene.owner, find_releases(scene.owner, ["tiny@1.0.0"], None), scene.published.root / "out.tar")


def bundle_is_whole(scene: Scene) -> None:
    """Or none is there."""
    bundle = scene.published.root / "out.tar"
    if bundle.exists():
        import_bundle(scene.station, bundle, scene.trust, keep=False)


def quiet(_line: str) -> None:
    return


def checked(condition: bool) -> None:
    assert condition


VERBS = {
    "publish": Verb(
        lambda scene: publish_signed(scene.published.root / "signed-2", scene.owner),
        lambda scene: checked(whole(scene.owner) in (1, 2)),
        lambda scene: checked((whole(scene.owner), records(scene.owner, RecordType.RELEASE)) == (2, 2)),
    ),
    "withdraw": Verb(
        lambda scene: withdraw(scene.owner, "tiny@1.0.0", BOARD, "it overheats"),
        lambda scene: checked(whole(scene.owner) == 1),
        lambda scene: checked(records(scene.owner, RecordType.WITHDRAWAL) == len(scene.owner.store.withdrawals()) == 1),
    ),
    "export": Verb(export, bundle_is_whole, lambda scene: checked((scene.published.root / "out.tar").is_file())),
    "pull": Verb(
        pull,
        lambda scene: checked(whole(scene.station) in (0, 1)),
        lambda scene: checked(whole(scene.station) == 1),
    ),
    "migrate": Verb(
        lambda scene: migrate(plan_migration([scene.manifest])),
        lambda scene: load_module(scene.manifest),
        lambda scene: checked(scene.manifest.read_text().count("assay.module/2") == 1),
    ),
}


@pytest.fixture(scope="module")
def mock() -> Iterator[MockRegistry]:
    registry = MockRegistry()
    yield registry
    registry.close()


@pytest.fixture(scope="module")
def before(made_release: Path, mock: MockRegistry, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One release is published and in a registry, and another one is signed."""
    root = tmp_path_factory.mktemp("before") / "copy"
    shutil.copytree(made_release, root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        published = Published(root)
        signs_itself(published.site)
        release = published.site.store.find("tiny", None, BOARD)
        push_release(published.site, release, Registry(mock.url), quiet)
        published.build(root / "artifact-2", "1.0.1")
        sign_artifact(root / "artifact-2", published.site, root / "signed-2")
    (root / "old").mkdir()
    shutil.copy(ROOT / "tests" / "data" / "formats" / "assay.module.1.toml", root / "old" / "module.toml")
    return root


def signs_itself(site: Site) -> None:
    """No signer process is started for each copy."""
    keys = KeysInProcess(site.keys_dir)
    site.__dict__ |= {"keys": keys, "signers": keys}


@pytest.mark.parametrize("name", list(VERBS))
def test_a_death_at_any_operation(
    name: str, before: Path, made_trust: TrustFile, mock: MockRegistry, memory_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    verb, root = VERBS[name], memory_dir / "turn"

    def copied() -> Scene:
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(before, root)
        monkeypatch.chdir(root)
        scene = Scene(Published(root), made_trust, mock)
        signs_itself(scene.owner)
        return scene

    scene = copied()
    files = CrashingFiles(monkeypatch, root)
    files.arm(None)
    verb.does(scene)
    verb.done(scene)
    count = len(files.operations)
    assert count > 3
    for turn, die_at in enumerate(range(len(name) % 3, count, max(1, count // DEATHS))):
        scene = copied()
        files.arm(die_at, torn=bool(turn % 2))
        with pytest.raises(Crash):
            verb.does(scene)
        files.arm(None)
        verb.holds(scene)
        verb.does(scene)
        verb.done(scene)
        assert not list(root.rglob(".tmp-*"))
