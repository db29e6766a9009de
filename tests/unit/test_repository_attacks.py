# SPDX-License-Identifier: Apache-2.0
"""The table of attacks in docs/reference/attacks.md: each is refused with status 4, and nothing is left behind."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from repository_attack import CACHE, TARGET, YEAR, attacker_of, copy_of, kept, refused
from repository_attacker import EndlessSource, bin_with
from repository_pair import BOARD, REFERENCE, ROOT, Pair
from tuf.api.metadata import MetaFile

from assay.errors import AssayError, ExitStatus, NotVerified, UsageFault
from assay.model.repository import RepositoryRole
from assay.model.trust import Role
from assay.pipeline import repository_fetch
from assay.pipeline.release_gate import verify_release
from assay.pipeline.repository_publish import publish_withdrawals
from assay.pipeline.repository_setup import KeyChange, refresh, rotate
from assay.pipeline.trust_file import write_trust
from assay.pipeline.withdrawing import withdraw


def test_rollback(served: Pair) -> None:
    old = copy_of(served, "old")
    served.refresh()
    served.fetch(None)
    with refused(served, "BadVersionNumber"):
        served.fetch(where=str(old))


def test_rollback_after_a_power_cut_that_emptied_the_cache(served: Pair) -> None:
    old = copy_of(served, "old")
    served.refresh()
    served.fetch(None)
    for path in (served.station.folder / CACHE).rglob("*.json"):
        if not path.is_symlink():
            path.write_bytes(b"")
    with refused(served, "BadVersionNumber"):
        served.fetch(where=str(old))
    shutil.rmtree(served.station.folder / CACHE)
    with refused(served, "BadVersionNumber"):
        served.fetch(where=str(old))
    served.fetch()


def test_a_damaged_floor_is_no_reason_to_begin_again(served: Pair) -> None:
    served.fetch(None)
    floor = served.station.folder / "repositories" / "releases" / "floor"
    data = bytearray(floor.read_bytes())
    data[len(data) // 2] ^= 1
    floor.write_bytes(data)
    with refused(served, "is damaged"):
        served.fetch()


def test_freeze(served: Pair) -> None:
    """Nobody can tell an old copy from the newest while it is good; the time stamp is good for a week."""
    frozen = copy_of(served, "frozen")
    served.at(timedelta(days=6))
    served.fetch(None, where=str(frozen))
    served.refresh()
    served.at(timedelta(days=8))
    with refused(served, r"timestamp.json is expired"):
        served.fetch(where=str(frozen))
    served.fetch()


def test_mix_and_match_of_snapshots(served: Pair) -> None:
    attacker = attacker_of(served)
    old = attacker.newest("snapshot").read_bytes()
    served.publish("1.1.0")
    attacker.newest("snapshot").write_bytes(old)
    with refused(served, "LengthOrHashMismatch"):
        served.fetch()


def test_mix_and_match_of_bins(served: Pair) -> None:
    served.fetch(None)
    attacker, name = attacker_of(served), bin_with(served, TARGET)
    version = json.loads(attacker.newest(name).read_bytes())["signed"]["version"]
    empty = (attacker.metadata / f"{version - 1}.{name}.json").read_bytes()
    attacker.newest(name).write_bytes(empty)
    with refused(served, f"Expected {name} v{version}, got v{version - 1}"):
        served.fetch()


@pytest.mark.parametrize("path", ["metadata/timestamp.json", ".snapshot.json", ".targets.json", "2.root.json"])
def test_endless_metadata(served: Pair, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rotate(served.owner, KeyChange())
    source = EndlessSource(served.folder, path)
    monkeypatch.setattr(repository_fetch, "open_source", lambda _where: source)
    with refused(served, "data without end"):
        served.fetch()
    assert source.given < 8 * 1024 * 1024


def test_an_endless_file(served: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    image = served.owner.store.find("tiny", "1.0.0", BOARD).image.file_sha256
    source = EndlessSource(served.folder, image)
    monkeypatch.setattr(repository_fetch, "open_source", lambda _where: source)
    served.fetch(None)
    with refused(served, "gives other bytes than"):
        served.fetch()
    assert source.given < 1024 * 1024


@pytest.mark.parametrize("how", ["changed", "truncated", "repeated"])
def test_a_file_with_other_bytes(served: Pair, how: str) -> None:
    image = served.owner.store.find("tiny", "1.0.0", BOARD).image.file_sha256
    path = served.folder / "targets" / "blobs" / image
    data = path.read_bytes()
    path.write_bytes({"changed": b"\0" + data[1:], "truncated": data[:-1], "repeated": data + data}[how])
    served.fetch(None)
    with refused(served, "gives other bytes than"):
        served.fetch()


def test_the_wrong_keys(served: Pair) -> None:
    """A repository of somebody else, with the same names."""
    root = served.first_root.read_bytes()
    stranger = Pair.__new__(Pair)
    stranger.__dict__ |= served.__dict__ | {"folder": served.published.root / "stranger"}
    stranger.owner = served.new_station("stranger-site")
    stranger.owner.__dict__["store"] = served.owner.store
    stranger.init()
    stranger.publish()
    served.first_root.write_bytes(root)
    with refused(served, "UnsignedMetadata"):
        served.fetch(where=str(stranger.folder))
    served.fetch()
    with refused(served, "UnsignedMetadata"):
        served.fetch(where=str(stranger.folder))


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "releases-0", "root"])
def test_every_role_has_to_be_signed_by_its_own_key(served: Pair, role: str) -> None:
    """Each is changed and signed by the key of another role, and everything above it by the right ones."""
    served.fetch(None)
    attacker, wrong = attacker_of(served), "repository-targets" if role != "targets" else "repository-releases"
    version = attacker.change(role, lambda signed: None, wrong)
    if role in ("targets", "releases-0"):
        attacker.with_online_keys(lambda signed: signed.meta.update({f"{role}.json": MetaFile(version)}))
    elif role == "snapshot":
        attacker.change(
            "timestamp", lambda signed: setattr(signed, "snapshot_meta", MetaFile(version)), "repository-timestamp"
        )
    name = "tiny" if role != "releases-0" else _name_in("releases-0", served)
    with refused(served, "UnsignedMetadata", floor=role != "releases-0"):
        served.fetch(name + "@1.0.0")


def _name_in(name: str, pair: Pair) -> str:
    return next(each for each in (f"n{i}" for i in range(999)) if bin_with(pair, f"{BOARD}/{each}/1.0.0.json") == name)


def _three_roots(pair: Pair) -> None:
    uris = [pair.owner.keys.repository_key(f"root-{number}").uri for number in range(3)]
    others = [role for role in RepositoryRole if role is not ROOT]
    rest = [(role, pair.owner.keys.repository_key(f"repository-{role}").uri) for role in others]
    pair.init(keys=(*((ROOT, uri) for uri in uris), *rest), thresholds={ROOT: 2})
    pair.publish()


@pytest.mark.parametrize("how", ["once", "twice", "by two names"])
def test_a_threshold_of_one_key_twice(pair: Pair, how: str) -> None:
    """The next root, by one of the two keys that it needs: signed once, its signature twice, its key by two ids."""
    _three_roots(pair)
    pair.fetch(None)
    attacker = attacker_of(pair)
    attacker.change("root", lambda signed: None, "root-0")
    path = attacker.newest("root")
    document = json.loads(path.read_bytes())
    signature = document["signatures"][0]
    if how == "twice":
        document["signatures"] = [signature, signature]
    elif how == "by two names":
        document["signatures"] = [signature, {**signature, "keyid": "00" * 32}]
    path.write_text(json.dumps(document))
    with refused(pair, "UnsignedMetadata|Multiple signatures"):
        pair.fetch()


def test_one_key_given_twice_is_one_key(pair: Pair) -> None:
    uri = pair.owner.keys.repository_key("one").uri
    keys = ((ROOT, uri), *((role, uri) for role in RepositoryRole))
    with pytest.raises(UsageFault, match="1 keys are left for root, and 2 have to sign"):
        pair.init(keys=keys, thresholds={ROOT: 2})


def test_who_goes_by_summaries_learns_of_withdrawals_by_the_repository(served: Pair) -> None:
    trust = served.published.trust()
    keys = tuple(key for key in trust.keys if key.role is not Role.BUILDER)
    builder = next(key for key in trust.keys if key.role is Role.BUILDER)
    verifier = builder.model_copy(update={"role": Role.VERIFIER})
    write_trust(served.trust, trust.model_copy(update={"keys": (*keys, verifier)}), replace=True)
    withdraw(served.owner, REFERENCE, BOARD, "the watchdog is off")
    publish_withdrawals(served.owner)
    assert [each.says.reason for each in served.fetch(None).withdrawn] == ["the watchdog is off"]


def test_a_clock_at_1970_and_at_2100(served: Pair) -> None:
    now = timedelta()
    served.at(now - 56 * YEAR)
    with refused(served, "the clock is wrong"):
        served.fetch()
    served.at(now)
    served.fetch(None)
    served.at(now + 74 * YEAR)
    with refused(served, "root.json is expired"):
        served.fetch()
    served.at(now - timedelta(days=1))
    with refused(served, "the clock is wrong"):
        served.fetch()
    served.at(now)
    served.fetch()


def test_a_unit_that_was_offline_for_a_year(served: Pair) -> None:
    """What it has stays good; what it is given has to be fresh; new roots are followed, however old its own is."""
    served.fetch()
    stick = copy_of(served, "stick")
    withdraw(served.owner, "tiny@1.0.0", BOARD, "the watchdog is off")
    for days in (200, 400):
        served.at(timedelta(days=days))
        rotate(served.owner, KeyChange())
        refresh(served.owner, everything=True)
    with refused(served, "expired"):
        served.fetch(where=str(stick))
    board, trust = served.published.board, served.published.trust()
    assert verify_release(served.station.store, trust, "tiny", None, board).release.reference == REFERENCE
    publish_withdrawals(served.owner)
    assert [each.says.reason for each in served.fetch(None).withdrawn] == ["the watchdog is off"]


@pytest.mark.parametrize("name", ["../../etc/passwd", "..", "/etc/passwd", "a/../../b", "a\0b", "x" * 600, ".tmp-x"])
def test_target_names_that_escape(served: Pair, name: str) -> None:
    served.fetch(None)
    before = kept(served)
    with pytest.raises(UsageFault, match="cannot be the name of a release"):
        served.fetch(f"{name}@1.0.0")
    assert kept(served) == before


def test_a_link_in_the_repository_leads_nowhere(served: Pair, tmp_path: Path) -> None:
    served.fetch(None)
    image = served.owner.store.find("tiny", "1.0.0", BOARD).image.file_sha256
    path = served.folder / "targets" / "blobs" / image
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with refused(served, "leads out of the repository"):
        served.fetch()


@pytest.mark.parametrize("lie", ["counter", "provenance", "another release"])
def test_a_target_that_says_something_else_than_its_release(served: Pair, lie: str) -> None:
    """By a stolen release key: the trust file still has its say, and the two have to be one."""
    served.fetch(None)
    attacker, name = attacker_of(served), bin_with(served, TARGET)

    def change(signed: Any) -> None:
        custom = signed.targets[TARGET].custom
        if lie == "another release":
            custom.update(image_sha256="1" * 64, image_hash="2" * 64)
        else:
            custom.update({"release_counter": 99} if lie == "counter" else {"provenance_sha256": "0" * 64})

    version = attacker.change(name, change, "repository-releases")
    attacker.with_online_keys(lambda signed: signed.meta.update({f"{name}.json": MetaFile(version)}))
    served.fetch(None)
    with refused(served, "is another release than its target says"):
        served.fetch()


def test_what_the_trust_file_refuses_does_not_come_in(served: Pair) -> None:
    trust = served.published.trust(name="station")
    strict = trust.model_copy(update={"keys": trust.keys_for(Role.IMAGE)})
    write_trust(served.trust, strict, replace=True)
    served.fetch(None)
    before = kept(served)
    with pytest.raises(NotVerified, match="must be signed by builder"):
        served.fetch()
    assert {path for path in kept(served) if "store/" in path} == {path for path in before if "store/" in path}


def test_development_keys_have_to_be_allowed(served: Pair) -> None:
    write_trust(served.trust, served.published.trust(name="station", allow_development=False), replace=True)
    with pytest.raises(AssayError, match="signed by UNSAFE-DEVELOPMENT keys, which 'station' refuses") as caught:
        served.fetch()
    assert caught.value.status is ExitStatus.REFUSED
    assert not (served.station.folder / "store").exists()


def test_who_changes_the_folder_gets_nothing_signed(served: Pair) -> None:
    """An entry that somebody put into a bin is not signed with the next publication; an old folder is not built on."""
    attacker, name, old = attacker_of(served), bin_with(served, TARGET), copy_of(served, "old")
    path = attacker.newest(name)
    kept = path.read_bytes()
    path.write_bytes(kept.replace(b'"release_counter":', b'"release_countes":'))
    with pytest.raises(NotVerified, match="does not verify"):
        served.publish()
    path.write_bytes(kept)
    served.refresh()
    shutil.rmtree(served.folder)
    shutil.copytree(old, served.folder)
    with pytest.raises(AssayError, match="was put back: timestamp is version") as caught:
        served.refresh()
    assert caught.value.status is ExitStatus.REFUSED
