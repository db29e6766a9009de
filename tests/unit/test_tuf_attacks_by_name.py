# SPDX-License-Identifier: Apache-2.0
"""What python-tuf's own tests try by name and the public suite does not, against the client of `assay fetch`: roots
without end, rollback behind metadata that expired here, a poisoned cache, a role of two parents, names that escape.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import DelegatedRole, Delegations
from tuf.ngclient.config import UpdaterConfig
from tuf_simulator import TOP, Client, Simulated, days

FAKETIME = pytest.mark.skipif(shutil.which("faketime") is None, reason="faketime is not installed")


def test_roots_without_end(tuf_client: Client, simulated: Simulated, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many at a time and no more (`test_max_root_rotations`); the next call goes on."""
    monkeypatch.setattr(UpdaterConfig, "__init__", lambda self: vars(self).update(FEW_ROOTS))
    for _ in range(7):
        simulated.next_root()
    assert tuf_client.refresh() == 0
    assert [name for name in tuf_client.asked() if name.endswith("root.json")] == [f"{n}.root.json" for n in (2, 3, 4)]
    assert tuf_client.versions()["root"] == 4
    assert tuf_client.refresh() == 0
    assert tuf_client.versions()["root"] == 7


FEW_ROOTS = {**vars(UpdaterConfig()), "max_root_rotations": 3}


@FAKETIME
@pytest.mark.parametrize("role", ["timestamp", "snapshot"])
def test_rollback_behind_what_expired_here(tuf_client: Client, simulated: Simulated, role: str) -> None:
    """What is expired in the cache still says which version there was (`test_expired_timestamp_version_rollback`,
    `test_expired_timestamp_snapshot_rollback`).
    """
    simulated.timestamp.expires = days(7)
    simulated.next()
    assert tuf_client.refresh() == 0
    before = tuf_client.versions()
    getattr(simulated, role).version -= 1
    simulated.timestamp.version += role == "snapshot"
    simulated.timestamp.expires = days(21)
    simulated.publish()
    assert tuf_client.refresh(later=18) == 1
    assert tuf_client.versions() == before


@pytest.mark.parametrize("role", [*TOP, "part"])
@pytest.mark.parametrize("how", ["by a stranger", "unsigned", "no JSON", "a folder"])
def test_a_poisoned_cache_is_not_believed(tuf_client: Client, simulated: Simulated, role: str, how: str) -> None:
    """Of a much higher version, so that it would stay (`test_intermediate_root_cache_poisoning`, and every role)."""
    simulated.delegate("targets", "part")
    simulated.artifact("one", b"1", role="part")
    simulated.next_root()
    simulated.targets.version += 1
    simulated.next()
    assert tuf_client.download("one") == 0
    before = tuf_client.versions()
    signed = simulated.delegated["part"] if role == "part" else getattr(simulated, role)
    for file in [path for path in tuf_client.metadata.rglob(f"*{role}.json") if path.is_file()]:
        signed.version = 99
        by = [CryptoSigner.generate_ed25519()]
        data = simulated.put("99.x.json", signed, by=by)
        signed.version = before[role]
        file.unlink()
        if how == "a folder":
            file.mkdir()
            continue
        text = data.replace(b'"sig": "', b'"sig": "00') if how == "unsigned" else data
        file.write_bytes(b"{" if how == "no JSON" else text)
    shutil.rmtree(tuf_client.targets)
    tuf_client.targets.mkdir()
    done = tuf_client.download("one")
    assert done == 1 if how == "a folder" else done == 0
    if how != "a folder":
        assert tuf_client.versions() == before and tuf_client.got() == [b"1"]


def test_a_role_of_two_parents_needs_the_keys_of_each(tuf_client: Client, simulated: Simulated) -> None:
    """Loaded for one parent it is not there for the other (`test_shared_delegation_signature_check`)."""
    simulated.delegate("targets", "A", ["a"])
    simulated.delegate("targets", "B", ["b"])
    shared = simulated.delegate("A", "S", ["a"])
    other = CryptoSigner.generate_ed25519().public_key
    role = DelegatedRole("S", [other.keyid], 1, terminating=False, paths=["b"])
    simulated.delegated["B"].delegations = Delegations({other.keyid: other}, {"S": role})
    simulated.artifact("a", b"of A", role="S")
    simulated.artifact("b", b"of nobody whom B lets", role="S")
    shared.version += 1
    simulated.targets.version += 1
    simulated.next()
    assert tuf_client.download("a") == 0
    assert tuf_client.download("a", "b") == 1
    assert tuf_client.download("b") == 1
    assert tuf_client.got() == [b"of A"]


def test_a_delegated_role_goes_back(tuf_client: Client, simulated: Simulated) -> None:
    """In the snapshot, and in a file that the snapshot does not name (`test_new_snapshot_version_rollback`)."""
    part = simulated.delegate("targets", "part")
    simulated.artifact("one", b"1", role="part")
    part.version = 5
    simulated.targets.version += 1
    simulated.next()
    assert tuf_client.download("one") == 0
    part.version = 4
    simulated.next()
    assert tuf_client.refresh() == 1
    part.version = 6
    simulated.next()
    simulated.put("6.part.json", simulated.delegate("targets", "older"))  # version 1 under the name of 6
    assert tuf_client.refresh() == 0
    assert tuf_client.download("one") == 1
    assert tuf_client.versions()["part"] == 5


def test_a_role_that_the_snapshot_does_not_have(tuf_client: Client, simulated: Simulated) -> None:
    """Whatever its file says (`test_meta_missing_delegated_role`, `test_update_targets_no_meta_in_snapshot`)."""
    simulated.delegate("targets", "part")
    simulated.artifact("one", b"1", role="part")
    simulated.put("1.part.json", simulated.delegated.pop("part"))
    simulated.targets.version += 1
    simulated.next()
    assert tuf_client.download("one") == 1
    assert tuf_client.got() == []


@pytest.mark.parametrize(
    "name",
    ["../escaped", "../../escaped", "a/../../../escaped", "/tmp/escaped", "..", "a/..", "./escaped", "a//escaped",
     "..\\escaped", "%2e%2e/escaped", "esc\x1b[2Japed", "e\u202escaped", "esc\naped", "escaped\0"],
)  # fmt: skip
def test_a_listed_name_that_escapes(tuf_client: Client, simulated: Simulated, tmp_path: Path, name: str) -> None:
    """Signed or not: a file goes nowhere but into the folder, and what is not plain is refused or quoted."""
    good = simulated.targets.targets
    simulated.artifact("plain", b"right")
    good[name] = type(good["plain"])(**{**vars(good["plain"]), "path": name})
    simulated.targets.version += 1
    simulated.next()
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    tuf_client.download(name)
    new = {path for path in tmp_path.rglob("*") if path.is_file()} - before
    assert {path.parent for path in new} <= {tuf_client.targets, tuf_client.metadata, *tuf_client.metadata.rglob("*")}
    assert not Path("/tmp/escaped").exists() and not Path("/tmp/aped").exists()
    assert tuf_client.download("plain") == 0


def test_a_key_of_one_role_is_none_of_another(tuf_client: Client, simulated: Simulated) -> None:
    """Used again for another role it signs for both by itself; taken from one it is not taken from the other."""
    online = CryptoSigner.generate_ed25519()
    for role in ("timestamp", "snapshot"):
        simulated.only_key(role, online)
    simulated.next_root()
    simulated.next()
    assert tuf_client.refresh() == 0
    simulated.targets.version += 1
    simulated.by["targets"] = [online]
    simulated.next()
    assert tuf_client.refresh() == 1, "the online key signs no targets"
    simulated.by["targets"] = [simulated.signer]
    simulated.only_key("snapshot", simulated.signer)
    simulated.next_root()
    simulated.by["snapshot"] = [online]
    simulated.next()
    assert tuf_client.refresh() == 1, "it was taken from the snapshot, and is still there for the time stamp"
    simulated.by["snapshot"] = [simulated.signer]
    simulated.next()
    assert tuf_client.refresh() == 0
