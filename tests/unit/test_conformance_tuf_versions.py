# SPDX-License-Identifier: Apache-2.0
"""The public suite's groups on time and versions, made anew: expiry, also of delegated roles and under faketime;
rollback; the way back from a version that ran ahead.
"""

from __future__ import annotations

import shutil

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import MetaFile
from tuf_simulator import TOP, Client, Simulated, days

FAKETIME = pytest.mark.skipif(shutil.which("faketime") is None, reason="faketime is not installed")


def test_an_expired_root_is_kept_and_nothing_follows_it(tuf_client: Client, simulated: Simulated) -> None:
    assert tuf_client.refresh() == 0
    simulated.next_root()
    simulated.root.expires = days(-1)
    simulated.next_root()
    simulated.targets.version += 1
    simulated.next()
    assert tuf_client.refresh() == 1
    assert tuf_client.versions() == {"root": 3, "timestamp": 1, "snapshot": 1, "targets": 1}


def test_a_root_that_expired_in_between_is_passed_through(tuf_client: Client, simulated: Simulated) -> None:
    simulated.root.expires = days(-1)
    simulated.next_root()
    simulated.root.expires = days(1)
    simulated.next_root()
    assert tuf_client.refresh() == 0
    assert tuf_client.versions()["root"] == 3


@pytest.mark.parametrize("role", TOP[1:])
def test_an_expired_role_is_not_taken(tuf_client: Client, simulated: Simulated, role: str) -> None:
    assert tuf_client.refresh() == 0
    getattr(simulated, role).expires = days(-1)
    simulated.targets.version += 1
    simulated.next()
    assert tuf_client.refresh() == 1
    assert tuf_client.versions()[role] == 1


@FAKETIME
def test_what_expired_here_leads_to_what_is_newer_there(tuf_client: Client, simulated: Simulated) -> None:
    simulated.timestamp.expires = simulated.snapshot.expires = days(7)
    simulated.publish()
    assert tuf_client.refresh() == 0
    assert tuf_client.refresh(later=18) == 1
    simulated.targets.version += 1
    simulated.timestamp.expires = simulated.snapshot.expires = days(21)
    simulated.next()
    assert tuf_client.refresh(later=18) == 0
    assert tuf_client.versions() == {"root": 1, "timestamp": 2, "snapshot": 2, "targets": 2}


def delegated(simulated: Simulated, expires: int) -> None:
    simulated.delegate("targets", "part", ["part/*"]).expires = days(expires)
    for name in ("one", "two"):
        simulated.artifact(f"part/{name}", name.encode(), role="part")
    simulated.targets.version += 1
    simulated.next()


def test_a_delegated_role_that_expired_gives_nothing(tuf_client: Client, simulated: Simulated) -> None:
    delegated(simulated, -1)
    assert tuf_client.refresh() == 0
    assert tuf_client.download("part/one") == 1
    assert tuf_client.got() == [] and "part" not in tuf_client.versions()


@FAKETIME
def test_a_delegated_role_that_expires_here(tuf_client: Client, simulated: Simulated) -> None:
    """Is used no longer, unless there is a newer one."""
    delegated(simulated, 7)
    assert tuf_client.download("part/one") == 0
    assert tuf_client.download("part/two", later=18) == 1
    assert tuf_client.got() == [b"one"]
    simulated.delegated["part"].version += 1
    simulated.delegated["part"].expires = days(21)
    simulated.next()
    assert tuf_client.download("part/two", later=18) == 0
    assert tuf_client.got() == [b"one", b"two"]


def test_an_older_snapshot_under_the_same_time_stamp_is_not_asked_for(tuf_client: Client, simulated: Simulated) -> None:
    simulated.next()
    assert tuf_client.refresh() == 0
    tuf_client.asked()
    simulated.snapshot.version = 1
    simulated.put("2.snapshot.json", simulated.snapshot)
    assert tuf_client.refresh() == 0
    assert tuf_client.asked()[-1] == "timestamp.json"
    assert tuf_client.versions()["snapshot"] == 2


@pytest.mark.parametrize("hashes", [False, True])
@pytest.mark.parametrize("role", TOP[1:])
def test_rollback(tuf_client: Client, simulated: Simulated, role: str, hashes: bool) -> None:
    """Also where lists name digests: the role that the client has is what counts, and not only its digest."""
    simulated.hashes = hashes
    simulated.targets.version = 3
    simulated.next()
    assert tuf_client.refresh() == 0
    before = tuf_client.versions()
    if role == "targets":
        before["timestamp"] += 1  # which says nothing of targets
    getattr(simulated, role).version -= 1
    if role == "targets":
        simulated.next()
    else:
        simulated.timestamp.version += role == "snapshot"
        simulated.publish()
    tuf_client.asked()
    assert tuf_client.refresh() == 1
    assert tuf_client.versions() == before
    assert tuf_client.asked()[-1] == ("3.snapshot.json" if role == "targets" else "timestamp.json")


def test_a_snapshot_that_lost_a_role(tuf_client: Client, simulated: Simulated) -> None:
    """What a snapshot has named stays named: its version would be forgotten otherwise."""
    delegated(simulated, 7)
    assert tuf_client.refresh() == 0
    del simulated.delegated["part"]
    simulated.next()
    assert tuf_client.refresh() == 1
    assert tuf_client.versions()["snapshot"] == 2


def test_a_snapshot_of_another_version_than_the_time_stamp_says(tuf_client: Client, simulated: Simulated) -> None:
    simulated.snapshot.version = 2
    simulated.put("1.snapshot.json", simulated.snapshot)
    assert tuf_client.refresh() == 1
    assert tuf_client.versions() == {"root": 1, "timestamp": 1}
    assert tuf_client.asked()[-1] == "1.snapshot.json"


@pytest.mark.parametrize("role", TOP[1:])
def test_the_way_back_from_a_version_that_ran_ahead(tuf_client: Client, simulated: Simulated, role: str) -> None:
    """The keys of who lists it are replaced, and for a snapshot its own, too; then lower versions count again."""
    getattr(simulated, role).version = 99_999
    if role == "snapshot":
        simulated.timestamp.version += 1
        simulated.publish()
    else:
        simulated.next()
    assert tuf_client.refresh() == 0
    assert tuf_client.versions()[role] >= 99_999
    replaced = {"timestamp": ["timestamp"], "snapshot": ["snapshot", "timestamp"], "targets": ["snapshot"]}[role]
    for each in replaced:
        simulated.only_key(each, CryptoSigner.generate_ed25519())
    simulated.next_root()
    getattr(simulated, role).version = 1
    if role == "targets":
        simulated.next()
    else:
        simulated.timestamp.version += role == "snapshot"
        simulated.publish()
    assert tuf_client.refresh() == 0
    assert tuf_client.versions()[role] == 1


@pytest.mark.parametrize("role", ["timestamp", "snapshot"])
def test_there_is_no_way_back_by_the_old_keys(tuf_client: Client, simulated: Simulated, role: str) -> None:
    getattr(simulated, role).version = 99_999
    simulated.timestamp.version += role == "snapshot"
    simulated.publish()
    assert tuf_client.refresh() == 0
    simulated.next_root()
    getattr(simulated, role).version = 1
    simulated.timestamp.version += role == "snapshot"
    simulated.timestamp.snapshot_meta = MetaFile(simulated.snapshot.version)
    simulated.publish()
    assert tuf_client.refresh() == 1
    assert tuf_client.versions()[role] == 99_999


def test_the_cache_is_emptied_and_the_floor_holds(tuf_client: Client, simulated: Simulated) -> None:
    """Beyond the public suite: after a power cut the cached files may be empty."""
    old = (simulated.folder / "metadata" / "timestamp.json").read_bytes()
    simulated.next()
    assert tuf_client.refresh() == 0
    for path in tuf_client.metadata.glob("*.json"):
        if path.name != "root.json":
            path.write_bytes(b"")
    (simulated.folder / "metadata" / "timestamp.json").write_bytes(old)
    assert tuf_client.refresh() == 1
