# SPDX-License-Identifier: Apache-2.0
"""Attacks on a repository by who has one of its keys: what a stolen online or release key can do, and what not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from repository_attack import TARGET, attacker_of, copy_of, refused
from repository_attacker import bin_with
from repository_pair import BOARD, REFERENCE, RELEASES, SNAPSHOT, TIMESTAMP, Pair
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import MetaFile, TargetFile

from assay.errors import NotVerified
from assay.formats import canonical_json
from assay.model.repository import RepositoryRole
from assay.pipeline.repository_publish import publish_withdrawals
from assay.pipeline.repository_setup import KeyChange, refresh, rotate, status
from assay.pipeline.withdrawals import withdrawals
from assay.pipeline.withdrawing import withdraw


def test_a_stolen_online_key_adds_no_release(served: Pair) -> None:
    served.fetch(None)
    attacker, name = attacker_of(served), bin_with(served, TARGET)

    def forge(signed: Any) -> None:
        signed.targets[TARGET] = TargetFile.from_data(TARGET, b"{}", ["sha256"])

    version = attacker.change(name, forge, "repository-timestamp", "repository-snapshot")
    attacker.with_online_keys(lambda signed: signed.meta.update({f"{name}.json": MetaFile(version)}))
    with refused(served, "UnsignedMetadata", floor=False):
        served.fetch()


@pytest.mark.parametrize("how", ["older", "gone"])
def test_a_stolen_online_key_takes_nothing_back(served: Pair, how: str) -> None:
    """Bins are never older than they were, or gone, for who has seen them."""
    served.fetch(None)
    name = f"{bin_with(served, TARGET)}.json"

    def take_back(signed: Any) -> None:
        signed.meta.update({name: MetaFile(1)}) if how == "older" else signed.meta.pop(name)

    attacker_of(served).with_online_keys(take_back)
    with refused(served, "BadVersionNumber|is missing info"):
        served.fetch()


def test_a_stolen_online_key_is_rotated_away(served: Pair) -> None:
    """The thief can hold stations at a version that nobody will ever reach; a new root ends that for all of them."""
    served.fetch(None)
    stolen = copy_of(served, "stolen")
    attacker_of(served, stolen).with_online_keys(lambda signed: None, version=2**31)
    served.fetch(None, where=str(stolen))
    with refused(served, "BadVersionNumber"):
        served.fetch()
    keys = [(role, served.owner.keys.repository_key(f"new-{role}").uri) for role in (SNAPSHOT, TIMESTAMP)]
    old = [(RepositoryRole(each.role), each.keys[0][:16]) for each in status(served.owner).roles]
    gone = tuple(pair for pair in old if pair[0] in (SNAPSHOT, TIMESTAMP))
    rotate(served.owner, KeyChange(add=tuple(keys), remove=gone))
    served.fetch()
    with refused(served, "UnsignedMetadata"):
        attacker_of(served).change("timestamp", lambda signed: None, "repository-timestamp")
        served.fetch()


def test_a_next_root_that_the_root_did_not_sign_brings_nothing(served: Pair) -> None:
    """Whoever holds a stranger's root and time stamp does not get them taken for a change that was cut short."""
    key = CryptoSigner.generate_ed25519()

    def own(signed: Any) -> None:
        for role in ("root", "timestamp"):
            signed.revoke_key(signed.roles[role].keyids[0], role)
            signed.add_key(key.public_key, role)

    attacker = attacker_of(served)
    attacker.change("root", own, by=key)
    forged = attacker.metadata / "2.root.json"
    forged.rename(served.owner.folder / "published-repository-next-root")
    attacker.change("timestamp", lambda signed: None, by=key)
    for verb in (status, refresh):
        with pytest.raises(NotVerified, match="does not verify"):
            verb(served.owner)
    assert not forged.exists()


def test_a_snapshot_in_the_place_of_the_time_stamp(served: Pair) -> None:
    """Signed by the stolen key of the time stamp: the right key, and metadata of another type."""
    attacker = attacker_of(served)
    number = attacker.change("snapshot", lambda signed: None, "repository-timestamp")
    (attacker.metadata / f"{number}.snapshot.json").rename(attacker.metadata / "timestamp.json")
    with pytest.raises(NotVerified, match="does not verify"):
        status(served.owner)
    with refused(served, "refused"):
        served.fetch()


def test_a_stolen_release_key_is_rotated_away(served: Pair) -> None:
    served.fetch(None)
    old = next(each for each in status(served.owner).roles if each.role == RELEASES).keys[0][:16]
    new = served.owner.keys.repository_key("new").uri
    rotate(served.owner, KeyChange(add=((RELEASES, new),), remove=((RELEASES, old),)))
    served.fetch(None)
    name, attacker = bin_with(served, TARGET), attacker_of(served)
    version = attacker.change(name, lambda signed: None, "repository-releases")
    attacker.with_online_keys(lambda signed: signed.meta.update({f"{name}.json": MetaFile(version)}))
    with refused(served, "UnsignedMetadata", floor=False):
        served.fetch()


def test_a_stolen_release_key_withdraws_nothing(served: Pair) -> None:
    """A withdrawal that nobody signed who may is not kept, nor are those beside it: in a store each is for ever."""
    withdraw(served.owner, REFERENCE, BOARD, "the watchdog is off")
    bundle = json.loads(served.owner.store.withdrawals()[0])
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = "A" * 86 + "=="
    forged = canonical_json.encode(bundle)
    served.owner.store.withdraw((withdrawals(served.owner.store)[0].says.manifest_sha256, 0), forged)
    publish_withdrawals(served.owner)
    assert len(served.owner.store.withdrawals()) == 2
    with refused(served, "the withdrawal of tiny@1.0.0 for ast1030-evb is not to be kept", floor=False):
        served.fetch(None)
    assert served.station.store.withdrawals() == ()
