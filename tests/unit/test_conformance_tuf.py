# SPDX-License-Identifier: Apache-2.0
"""The contract of the public conformance suite for TUF clients, as `python -m assay.conformance.tuf` keeps it: what is
asked for and kept, downloads, names. Expiry and rollback, keys, and delegations are in files of their own
(`test_conformance_tuf_*.py`).
"""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import pytest
from no_collection import no_collection
from tuf.api.metadata import MetaFile
from tuf_simulator import TOP, Client, Simulated


def test_refresh_asks_in_the_order_of_the_workflow(tuf_client: Client) -> None:
    assert tuf_client.refresh() == 0
    assert tuf_client.asked() == ["2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"]
    assert tuf_client.versions() == dict.fromkeys(TOP, 1)
    assert tuf_client.refresh() == 0
    assert tuf_client.asked() == ["2.root.json", "timestamp.json"]


@pytest.mark.parametrize("fault", ["signature", "no version", "no JSON"])
def test_an_initial_root_that_is_none_leads_to_no_request(
    tuf_client: Client, simulated: Simulated, tmp_path: Path, fault: str
) -> None:
    document = json.loads((simulated.folder / "metadata" / "1.root.json").read_bytes())
    if fault == "signature":
        document["signatures"][0]["sig"] = "00" * 70
    else:
        del document["signed"]["version"]
    (tmp_path / "bad.json").write_text("{" if fault == "no JSON" else json.dumps(document))
    tuf_client.init(tmp_path / "bad.json")  # may say so already, and need not
    assert tuf_client.refresh() == 1
    assert tuf_client.asked() == []


@pytest.mark.parametrize("name", ["2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"])
@pytest.mark.parametrize(
    "data", [b"", b"{", b"[" * 15_000, b'{"signed":' * 1_500, b'{"signed": {"_type": "root"}}', b"\xff"]
)
def test_what_is_no_metadata_is_refused(tuf_client: Client, simulated: Simulated, name: str, data: bytes) -> None:
    """Beyond the public suite. Also nested so deep that a reader of JSON gives up."""
    (simulated.folder / "metadata" / name).write_bytes(data)
    with no_collection():
        assert tuf_client.refresh() == 1
    (simulated.folder / "metadata" / name).unlink()
    if name == "2.root.json":
        assert tuf_client.refresh() == 0


def test_fields_that_nobody_knows_are_signed_too(tuf_client: Client, simulated: Simulated) -> None:
    """In the document, in a key and in a role; `keyid_hash_algorithms` of old repositories is one."""
    assert tuf_client.refresh() == 0
    simulated.root.unrecognized_fields["custom"] = {"a": [1, None]}
    key = simulated.root.keys[simulated.signer.public_key.keyid]
    key.unrecognized_fields.update({"keyid_hash_algorithms": ["md5"], "owner": "somebody"})
    simulated.root.roles["timestamp"].unrecognized_fields["period"] = 5
    simulated.next_root()
    simulated.next()
    assert tuf_client.refresh() == 0
    assert tuf_client.versions() == {"root": 2, "timestamp": 2, "snapshot": 2, "targets": 1}


def test_a_time_stamp_that_changed_under_its_version_is_not_taken(tuf_client: Client, simulated: Simulated) -> None:
    assert tuf_client.refresh() == 0
    before = (tuf_client.metadata / "timestamp.json").read_bytes()
    simulated.timestamp.snapshot_meta = MetaFile(77)
    simulated.put("timestamp.json", simulated.timestamp)
    tuf_client.refresh()  # goes by what it has, or says so
    assert (tuf_client.metadata / "timestamp.json").read_bytes() == before


@pytest.mark.parametrize("what", ["hash", "length", "version"])
@pytest.mark.parametrize("role", ["snapshot", "targets"])
def test_a_file_that_is_not_the_one_its_list_names(
    tuf_client: Client, simulated: Simulated, role: str, what: str
) -> None:
    """Signed by the right key, and under the right name."""
    simulated.hashes = what != "version"
    assert tuf_client.refresh() == 0
    simulated.targets.version += 1
    simulated.next()
    path = simulated.folder / "metadata" / f"2.{role}.json"
    signed = getattr(simulated, role)
    if what == "version":
        signed.version += 1
    elif what == "hash":
        signed.unrecognized_fields["pad"] = "a"
        simulated.publish()
        signed.unrecognized_fields["pad"] = "b"
    else:
        signed.unrecognized_fields["pad"] = "longer"
    simulated.put(path.name, signed)
    assert tuf_client.refresh() == 1
    assert tuf_client.versions()[role] == 1


def test_a_download_refreshes_first(tuf_client: Client, simulated: Simulated) -> None:
    assert tuf_client.download("nothing") == 1
    assert tuf_client.asked() == ["2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"]
    assert tuf_client.versions() == dict.fromkeys(TOP, 1)
    for name, algorithm in (("a/b/c.txt", "sha256"), ("d.txt", "sha512")):
        simulated.artifact(name, name.encode(), algorithm)
    simulated.targets.version += 1
    simulated.next()
    assert tuf_client.refresh() == 0 and tuf_client.got() == []
    assert tuf_client.download("a/b/c.txt", "d.txt") == 0
    assert tuf_client.got() == [b"a/b/c.txt", b"d.txt"]


def test_a_repository_without_consistent_snapshots(tuf_client: Client, simulated: Simulated) -> None:
    """Nothing but roots has its version in its name then, and no target its digest."""
    simulated.artifact("a/b.txt", b"plain")
    simulated.root.consistent_snapshot = False
    simulated.next_root()
    simulated.publish()
    for role in ("snapshot", "targets"):
        (simulated.folder / "metadata" / f"1.{role}.json").rename(simulated.folder / "metadata" / f"{role}.json")
    folder = simulated.folder / "targets" / "a"
    next(folder.iterdir()).rename(folder / "b.txt")
    assert tuf_client.download("a/b.txt") == 0
    expected = ["2.root.json", "3.root.json", "timestamp.json", "snapshot.json", "targets.json", "b.txt"]
    assert tuf_client.asked() == expected
    assert tuf_client.got() == [b"plain"]


def test_what_is_there_is_not_fetched_again(tuf_client: Client, simulated: Simulated) -> None:
    simulated.artifact("one", b"first")
    simulated.targets.version += 1
    simulated.next()
    assert tuf_client.download("one") == 0
    tuf_client.asked()
    assert tuf_client.download("one") == 0
    assert tuf_client.asked() == ["2.root.json", "timestamp.json"]
    simulated.artifact("one", b"second")
    simulated.targets.version += 1
    simulated.next()
    assert tuf_client.download("one") == 0
    assert tuf_client.got() == [b"second"]


def test_a_file_that_changes_again_and_again_and_lies_in_between(tuf_client: Client, simulated: Simulated) -> None:
    """Some versions are never seen by the client; after each that is, the server gives other bytes of that length."""
    others = []
    for number in range(1, 13):
        simulated.artifact("app", b"app %02d" % number)
        simulated.artifact(f"new-{number}", b"new %02d" % number)
        simulated.targets.version += 1
        simulated.next()
        if number % 4:
            continue
        others.append(b"new %02d" % number)
        assert tuf_client.download(f"new-{number}", "app") == 0
        assert tuf_client.got() == [b"app %02d" % number, *others]
        simulated.artifact("app", b"lie %02d" % number)
        good, lie = b"app %02d" % number, simulated.targets.targets["app"]
        simulated.artifact("app", good)
        simulated.serve(simulated.targets.targets["app"], b"lie %02d" % number)
        simulated.targets.version += 1
        simulated.next()
        assert lie.hashes != simulated.targets.targets["app"].hashes
        tuf_client.download("app")  # has it, or finds that the server lies
        assert tuf_client.got() == [good, *others]


def test_it_stops_at_the_first_failure_and_keeps_no_wrong_bytes(tuf_client: Client, simulated: Simulated) -> None:
    for name in ("one", "two", "three"):
        simulated.artifact(name, name.encode())
    simulated.targets.version += 1
    simulated.next()
    simulated.serve(simulated.targets.targets["two"], b"owt")
    assert tuf_client.download("one", "two", "three") == 1
    assert tuf_client.got() == [b"one"]


@pytest.mark.parametrize("role", ["?", "#", "/delegated", "../delegated"])
def test_role_names_that_need_quotes(tuf_client: Client, simulated: Simulated, role: str) -> None:
    simulated.delegate("targets", role)
    simulated.targets.version += 1
    simulated.next()
    assert tuf_client.download("nothing") == 1
    assert tuf_client.asked()[-1] == f"1.{quote(role, '')}.json"
    assert len(tuf_client.versions()) == 5
    assert len(list(tuf_client.metadata.parent.rglob("*delegated*"))) <= 2  # below the repository and in the folder
