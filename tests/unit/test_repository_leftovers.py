# SPDX-License-Identifier: Apache-2.0
"""What a repository and a station leave behind: nothing of what was refused, and no metadata that nobody asks for."""

from __future__ import annotations

import contextlib
import json
import os
import random
from datetime import timedelta
from pathlib import Path

import pytest
from byte_killer import NEVER, Killed, Killer, killer
from file_server import FileServer
from repository_pair import BOARD, REFERENCE, Pair

from assay.errors import LinkError, NotVerified, Refused, UsageFault
from assay.model.trust import Role, TrustFile
from assay.pipeline.bundle_export import export_bundle, find_releases
from assay.pipeline.bundle_import import import_bundle
from assay.pipeline.bundle_metadata import BundleMetadata, MetadataOrder
from assay.pipeline.repository_setup import NewRepository, init, refresh, status
from assay.pipeline.site import Site
from assay.pipeline.withdrawing import withdraw

__all__ = ["killer"]

KILLS = 1
"""Stations, each of which is killed three times."""


def incoming(pair: Pair) -> list[str]:
    folder = pair.station.folder / "repositories" / "releases" / "incoming"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.mark.parametrize("why", ["a clock at 1970", "expired", "no board", "no such release"])
def test_what_a_broken_link_left_goes_with_a_fetch_that_is_refused(served: Pair, why: str) -> None:
    """Also when it is refused before it comes to files, and when it was asked for what is not there."""
    with FileServer(served.folder).running() as server:
        server.cut_after = 300
        with pytest.raises(LinkError):
            served.fetch(where=server.url)
    assert incoming(served), "the next fetch goes on with it"
    if why in ("a clock at 1970", "expired"):
        served.at(timedelta(days=-56 * 365 if why == "a clock at 1970" else 400))
        with pytest.raises(NotVerified):
            served.fetch()
    else:
        with pytest.raises(UsageFault):
            served.fetch("tiny@9.9.9" if why == "no such release" else "other@1.0.0")
    assert incoming(served) == []


def test_a_fetch_that_is_killed_at_any_byte_goes_on(served: Pair, killer: Killer) -> None:
    """Over HTTP, at points drawn by seed: what came of a file is not asked for again."""
    dice = random.Random(5)
    with FileServer(served.folder).running() as server:
        served.fetch(where=server.url, station=served.new_station("whole"))
        total = NEVER - killer.left
        for turn in range(KILLS):
            station = served.new_station(f"killed-{turn}")
            folder = station.folder / "repositories" / "releases" / "incoming"
            for _ in range(3):
                killer.left = dice.randrange(total)
                with contextlib.suppress(Killed):
                    served.fetch(where=server.url, station=station)
                killer.left = NEVER
                have = {path.name: path.stat().st_size for path in folder.glob("*")}
                server.asked.clear()
            assert served.fetch(where=server.url, station=station).release is not None
            for name, size in have.items():
                asked = [path for path in server.asked if name.removesuffix(".part") in path]
                assert asked in ([], [f"targets/blobs/{name.removesuffix('.part')} from {size}"]), "from where it was"
            assert not folder.exists()


@pytest.mark.parametrize("name", ["timestamp.json", "1.snapshot.json", "1.targets.json", "1.releases-0.json"])
@pytest.mark.parametrize("shape", ["another role", "a list", "numbers", "nothing signed"])
def test_metadata_of_another_shape_is_refused_before_anything_is_signed(served: Pair, name: str, shape: str) -> None:
    at = max(served.folder.glob(f"metadata/{name.replace('1.', '*.', 1) if name[0] == '1' else name}"))
    root = json.loads((served.folder / "metadata" / "1.root.json").read_bytes())
    said = json.loads(at.read_bytes())
    wrong = {
        "another role": root,
        "a list": [],
        "numbers": {**said, "signed": {**said["signed"], "meta": 7, "delegations": 7, "targets": 7}},
        "nothing signed": {"signatures": []},
    }
    at.write_text(json.dumps(wrong[shape]))
    with pytest.raises((NotVerified, Refused)):
        refresh(served.owner, everything=True)


def test_old_metadata_is_pruned_a_day_after_it_was_replaced(served: Pair) -> None:
    for _ in range(3):
        refresh(served.owner, everything=True)
    folder = served.folder / "metadata"
    before = {path.name for path in folder.iterdir()}
    refresh(served.owner, prune=True)
    assert {path.name for path in folder.iterdir()} == before, "a client may be about to ask for them"
    for path in folder.iterdir():
        os.utime(path, (path.stat().st_mtime - 90_000, path.stat().st_mtime - 90_000))
    refresh(served.owner, everything=True, prune=True)
    left = sorted(path.name.partition(".")[2] for path in folder.iterdir())
    assert "1.root.json" in {path.name for path in folder.iterdir()}
    newest = {name for name in left if name}
    for name in newest - {"json"}:
        assert left.count(name) <= 2, f"{name}: the newest, and the one that it replaced just now"
    assert len(before) - len(left) >= 2
    assert served.fetch().release is not None
    assert status(served.owner).targets


@pytest.mark.parametrize("what", ["a broken link", "a file", "a link to a file"])
def test_a_repository_is_not_begun_where_no_folder_can_be(pair: Pair, tmp_path: Path, what: str) -> None:
    at = tmp_path / "place"
    (tmp_path / "file").write_bytes(b"mine")
    if what == "a file":
        at.write_bytes(b"mine")
    else:
        at.symlink_to(tmp_path / ("file" if what == "a link to a file" else "nowhere"))
    with pytest.raises(UsageFault, match=r"leads nowhere|no folder") as caught:
        init(pair.owner, at, NewRepository())
    assert "disk space" not in (caught.value.remedy or "")
    assert not (pair.owner.folder / "repository.json").exists()


@pytest.mark.parametrize("where", ["floor", "checkpoint", "store"])
def test_an_import_that_is_killed_after_it_verified_all(
    served: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Floor and checkpoint first, the releases last: what counts is never older than what is remembered."""
    releases, out = find_releases(served.owner, ["tiny"], None), tmp_path / "bundle.tar"
    export_bundle(served.owner, releases, out, metadata=served.folder / "metadata")
    trust, order = served.published.trust(), MetadataOrder("releases", served.first_root)
    site = served.new_station("factory")

    def kill(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        if where == "floor":
            patch.setattr(BundleMetadata, "keep", kill)
        elif where == "checkpoint":
            patch.setattr("assay.pipeline.bundle_import.write_durably", kill)
        else:
            patch.setattr(type(site.store), "adopt", kill)
        with pytest.raises(Killed):
            import_bundle(site, out, trust, repository=order)
    assert site.store.releases() == ()
    assert not (site.folder / "incoming").exists()
    again = import_bundle(Site(site.folder), out, trust, repository=order)
    assert [release.reference for release, _ in again.releases] == [REFERENCE]
    assert Site(site.folder).store.releases()


@pytest.mark.parametrize("logged", [True, False])
def test_a_withdrawal_without_builders_in_the_trust_file_needs_a_trusted_log(served: Pair, logged: bool) -> None:
    """One rule: where the trust file cannot tell who may withdraw, what it does trust has to vouch for it."""
    from assay.formats.release_bundle import LogPart
    from assay.pipeline.incoming_release import check_withdrawals

    made = withdraw(served.owner, REFERENCE, BOARD, "the watchdog is off")
    trust = _by_verifiers(served.published.trust())
    store, records = served.owner.store, {}
    if logged:
        import hashlib

        records = {hashlib.sha256(made.withdrawn.bundle).hexdigest(): 7}
    log = LogPart(served.owner.records.log.checkpoint(), records, None)
    here = served.station.store
    if logged:
        released = type(here)(served.published.root / "only-the-withdrawal")
        released.withdraw((made.withdrawn.says.manifest_sha256, 1), made.withdrawn.bundle)
        assert [each.reason for each in check_withdrawals(here, released, trust, log)] == ["the watchdog is off"]
    else:
        with pytest.raises(NotVerified, match="not to be kept"):
            check_withdrawals(here, store, trust, log)
        with pytest.raises(NotVerified, match="not to be kept"):
            check_withdrawals(here, store, trust)


def _by_verifiers(trust: TrustFile) -> TrustFile:
    keys = tuple(key for key in trust.keys if key.role is not Role.BUILDER)
    builder = next(key for key in trust.keys if key.role is Role.BUILDER)
    return trust.model_copy(update={"keys": (*keys, builder.model_copy(update={"role": Role.VERIFIER}))})
