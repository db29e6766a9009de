# SPDX-License-Identifier: Apache-2.0
"""Whoever changes a repository, or fetches from one, dies at any write: clients see the old state or the new one, and
the same again brings it to its end.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from crashing_files import Crash, CrashingFiles, memory_dir
from published_release import Published
from repository_pair import BOARD, TIMESTAMP, Pair

from assay.backends.repository.metadata_signer import tuf_key
from assay.cli.main import main
from assay.errors import ExitStatus, NotVerified
from assay.pipeline.repository_publish import publish_withdrawals
from assay.pipeline.repository_setup import KeyChange, refresh, rotate, status
from assay.pipeline.site_repository import SiteRepository
from assay.pipeline.withdrawing import withdraw

__all__ = ["memory_dir"]

LAST = 8
"""Operations at the end, at each of which there is a death: the time stamp and the floor are written there."""

Work = Callable[[Pair], object]

STEP = 12
"""Deaths are at every twelfth operation, from another first one for each work and for whole and torn writes."""


def _publish(pair: Pair) -> None:
    pair.publish()


def _rotate(pair: Pair) -> None:
    new = pair.owner.keys.repository_key("new").uri
    old = next(each for each in status(pair.owner).roles if each.role == TIMESTAMP).keys[0][:16]
    known = {key.uri for key in SiteRepository(pair.owner).settings.keys}
    gone = () if new in known else ((TIMESTAMP, old),)
    rotate(pair.owner, KeyChange(add=((TIMESTAMP, new),), remove=gone))


WORKS: dict[str, Work] = {
    "publish": _publish,
    "refresh": lambda pair: refresh(pair.owner, everything=True),
    "rotate": _rotate,
    "withdraw": lambda pair: publish_withdrawals(pair.owner),
}


@pytest.fixture
def before(made_release: Path, memory_dir: Path) -> Path:
    """A repository without a release, a release that is to be published, and one withdrawal that is to be told."""
    root = memory_dir / "before"
    shutil.copytree(made_release, root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        pair = Pair(Published(root), patch)
        pair.init(bins=2)
        pair.fetch(None)
        withdraw(pair.owner, "tiny@1.0.0", BOARD, "to be told")
    return root


def _at(before: Path, root: Path, patch: pytest.MonkeyPatch) -> Pair:
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(before, root, symlinks=True)
    patch.chdir(root)
    pair = Pair(Published(root), patch)
    repository = SiteRepository(pair.owner)
    repository.save(repository.settings.model_copy(update={"folder": str(pair.folder)}))
    return pair


@pytest.mark.parametrize("name", list(WORKS))
def test_a_death_at_any_write(name: str, before: Path, memory_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work, root = WORKS[name], memory_dir / "turn"
    files = CrashingFiles(monkeypatch, root)
    pair = _at(before, root, monkeypatch)
    files.arm(None)
    work(pair)
    count = len(files.operations)
    assert count > 10
    for torn in (False, True):
        for die_at in (*range(len(name) % STEP + torn, count - LAST, STEP), *range(count - LAST, count)):
            pair = _at(before, root, monkeypatch)
            files.arm(die_at, torn=torn)
            with pytest.raises(Crash):
                work(pair)
            files.arm(None)
            pair.fetch(None)
            work(pair)
            pair.fetch(None)
            assert not list(pair.folder.rglob(".tmp-*"))
            assert status(pair.owner).expired == ()


def _old_key_lost(pair: Pair) -> Work:
    """The key of the time stamps is gone, and another one takes its place."""
    key = next(each for each in SiteRepository(pair.owner).settings.keys if each.role == TIMESTAMP)
    (pair.owner.keys_dir / "repository-timestamp-UNSAFE-DEVELOPMENT.pem").unlink()
    new = pair.owner.keys.repository_key("new").uri
    change = KeyChange(add=((TIMESTAMP, new),), remove=((TIMESTAMP, tuf_key(key.public).keyid),))
    return lambda pair: rotate(pair.owner, change)


@pytest.mark.parametrize("end", ["rotate", "refresh"])
def test_a_death_in_a_rotation_whose_old_key_is_lost(
    end: str, before: Path, memory_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is signed by both keys then: between time stamp and root clients wait, and any verb ends that."""
    root = memory_dir / "turn"
    files = CrashingFiles(monkeypatch, root)
    pair = _at(before, root, monkeypatch)
    work = _old_key_lost(pair)
    files.arm(None)
    work(pair)
    count, between = len(files.operations), 0
    for die_at in range(count):
        pair = _at(before, root, monkeypatch)
        work = _old_key_lost(pair)
        files.arm(die_at, torn=bool(die_at % 2))
        with pytest.raises(Crash):
            work(pair)
        files.arm(None)
        unfinished = status(pair.owner).unfinished
        if unfinished:
            between += 1
            answer = CliRunner().invoke(main, ["repo", "status", "--site", str(pair.owner.folder)])
            assert (answer.exit_code, "assay repo refresh ends it" in answer.stdout) == (ExitStatus.FAIL, True)
            with pytest.raises(NotVerified, match="UnsignedMetadata"):
                pair.fetch(None)
            if end == "refresh":
                assert not refresh(pair.owner).unfinished
                pair.fetch(None)
        else:
            pair.fetch(None)
        work(pair)
        pair.fetch(None)
        assert status(pair.owner).expired == ()
        assert not list(pair.owner.folder.glob("*next-root*"))
    assert between > 2


def test_a_death_while_fetching(before: Path, memory_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = memory_dir / "turn"
    pair = _at(before, before.parent / "published", monkeypatch)
    pair.publish()
    source = before.parent / "published"
    shutil.rmtree(pair.owner.folder / "store")  # the withdrawal was not told to anybody
    files = CrashingFiles(monkeypatch, root)
    pair = _at(source, root, monkeypatch)
    files.arm(None)
    pair.fetch()
    count = len(files.operations)
    for die_at in range(1, count, STEP):
        pair = _at(source, root, monkeypatch)
        files.arm(die_at, torn=bool(die_at % 2))
        with pytest.raises(Crash):
            pair.fetch()
        files.arm(None)
        done = pair.fetch()
        assert done.release is not None
        assert pair.station.store.releases() == (done.release,)


def test_a_death_in_the_middle_of_the_beginning(
    made_release: Path, memory_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = memory_dir / "turn"
    files = CrashingFiles(monkeypatch, root)
    count, die_at = 1, 0
    while die_at < count:
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(made_release, root)
        monkeypatch.chdir(root)
        pair = Pair(Published(root), monkeypatch)
        if count == 1:
            files.arm(None)
            pair.init(bins=2)
            count = len(files.operations)
            continue
        files.arm(die_at)
        with pytest.raises(Crash):
            pair.init(bins=2)
        files.arm(None)
        pair.init(bins=2)
        pair.publish()
        assert pair.fetch().release is not None
        die_at += STEP
