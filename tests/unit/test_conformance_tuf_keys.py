# SPDX-License-Identifier: Apache-2.0
"""The public suite's groups on keys, made anew: thresholds, one key counted twice, and rotations of the root and of
every other role.

A version of a role is written `KEYS/THRESHOLD/SIGNATURES`, a letter for each key: `abc/2/ax` has three keys of which
two have to sign, and is signed by one of them and a stranger.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from securesystemslib.signer import CryptoSigner
from tuf_simulator import TOP, Client, Simulated

ROOTS_TAKEN = {
    "another key": ("a/1/a", "b/1/ab", "b/1/b"),
    "another key, strangers sign beside": ("a/1/xay", "b/1/xbay", "b/1/xby"),
    "any three of five": ("abcde/3/ace", "abcde/3/dab", "abcde/3/bec", "abcde/3/bec"),
    "one of five, by three who stay": ("abcde/3/abd", "abdef/3/abd"),
    "one of five, by old and new": ("abcde/3/acd", "abdef/3/acdf", "abdef/3/adf"),
    "all five": ("abcde/3/bcd", "fghij/3/bcdfgi", "fghij/3/hij"),
    "a higher threshold": ("abc/1/b", "abc/2/bc"),
    "a lower threshold": ("abc/2/ac", "abc/1/ac", "abc/1/b"),
    "a second key that has to sign": ("a/1/a", "ab/2/ab"),
}
ROOTS_REFUSED = {
    "not by the old key": ("a/1/a", "b/1/bxy"),
    "not by the new key": ("a/1/a", "b/1/axy"),
    "by three old ones, two of which stay": ("abcde/3/acd", "abdef/3/acd"),
    "by three new ones, two of which were there": ("abcde/3/ace", "abdef/3/adf"),
    "too few for the new threshold": ("abc/1/a", "abc/2/b"),
    "too few for the old threshold": ("abc/2/ab", "abc/1/a"),
    "one signature twice": ("ab/2/ab", "ab/2/aa"),
}
ROLES_TAKEN = ("b/1/b", "a/1/xay", "abcde/3/ace", "abcde/3/eba", "abcde/3/bcd", "abcde/3/abcde")
ROLES_REFUSED = ("b/1/axy", "abdef/3/acd", "abdef/3/ad", "ab/2/aa", "ab/2/ax")


@pytest.fixture(scope="module")
def signers() -> Mapping[str, CryptoSigner]:
    return {letter: CryptoSigner.generate_ed25519() for letter in "abcdefghijxy"}


def put(simulated: Simulated, role: str, version: str, signers: Mapping[str, CryptoSigner]) -> None:
    """The role has these keys, as the next root has it; who signs it from now on."""
    keys, threshold, signatures = version.split("/")
    simulated.only_key(role, *(signers[letter] for letter in keys), threshold=int(threshold))
    simulated.by[role] = [signers[letter] for letter in signatures]


def roots(simulated: Simulated, client: Client, versions: tuple[str, ...], signers: Mapping[str, CryptoSigner]) -> None:
    """A repository that begins with the first of `versions`, and the client trusts that one."""
    for number, version in enumerate(versions, 1):
        put(simulated, "root", version, signers)
        simulated.root.version = number
        simulated.put(f"{number}.root.json", simulated.root)
    assert client.init(simulated.folder / "metadata" / "1.root.json") == 0


@pytest.mark.parametrize("versions", ROOTS_TAKEN.values(), ids=ROOTS_TAKEN)
def test_a_root_is_replaced(
    tuf_client: Client, simulated: Simulated, signers: Mapping[str, CryptoSigner], versions: tuple[str, ...]
) -> None:
    roots(simulated, tuf_client, versions, signers)
    assert tuf_client.refresh() == 0
    newest = simulated.folder / "metadata" / f"{len(versions)}.root.json"
    assert (tuf_client.metadata / "root.json").read_bytes() == newest.read_bytes()


@pytest.mark.parametrize("versions", ROOTS_REFUSED.values(), ids=ROOTS_REFUSED)
def test_a_root_is_not_replaced(
    tuf_client: Client, simulated: Simulated, signers: Mapping[str, CryptoSigner], versions: tuple[str, ...]
) -> None:
    roots(simulated, tuf_client, versions, signers)
    assert tuf_client.refresh() == 1
    before = simulated.folder / "metadata" / f"{len(versions) - 1}.root.json"
    assert (tuf_client.metadata / "root.json").read_bytes() == before.read_bytes()


def test_a_root_that_is_left_out_or_there_twice(
    tuf_client: Client, simulated: Simulated, signers: Mapping[str, CryptoSigner]
) -> None:
    """Under the next number lies the one after it, or the same again."""
    roots(simulated, tuf_client, ("a/1/a", "a/1/a", "a/1/a"), signers)
    folder = simulated.folder / "metadata"
    for other in ("3", "1"):
        (folder / "2.root.json").write_bytes((folder / f"{other}.root.json").read_bytes())
        assert tuf_client.refresh() == 1
        assert tuf_client.versions()["root"] == 1


@pytest.mark.parametrize("version", ROLES_TAKEN)
@pytest.mark.parametrize("role", TOP[1:])
def test_keys_of_a_role_are_replaced(
    tuf_client: Client, simulated: Simulated, signers: Mapping[str, CryptoSigner], role: str, version: str
) -> None:
    put(simulated, role, version, signers)
    simulated.next_root()
    simulated.publish()
    assert tuf_client.refresh() == 0
    name = "timestamp.json" if role == "timestamp" else f"1.{role}.json"
    assert (tuf_client.metadata / f"{role}.json").read_bytes() == (simulated.folder / "metadata" / name).read_bytes()


@pytest.mark.parametrize("version", ROLES_REFUSED)
@pytest.mark.parametrize("role", TOP[1:])
def test_a_role_by_other_keys_is_refused(
    tuf_client: Client, simulated: Simulated, signers: Mapping[str, CryptoSigner], role: str, version: str
) -> None:
    assert tuf_client.refresh() == 0
    put(simulated, role, version, signers)
    simulated.next_root()
    simulated.targets.version += 1
    simulated.next()
    assert tuf_client.refresh() == 1
    assert tuf_client.versions()[role] == 1 and tuf_client.versions()["root"] == 2


def test_a_threshold_that_the_root_raises_holds_for_the_snapshot_that_is_there(
    tuf_client: Client, simulated: Simulated, signers: Mapping[str, CryptoSigner]
) -> None:
    """The root comes in; what it no longer vouches for is not gone on from, until enough sign."""
    put(simulated, "snapshot", "abc/3/abc", signers)
    simulated.next_root()
    simulated.next()
    assert tuf_client.refresh() == 0
    put(simulated, "snapshot", "abcd/4/abc", signers)
    simulated.next_root()
    assert tuf_client.refresh() == 1
    assert tuf_client.versions() == {"root": 3, "timestamp": 2, "snapshot": 2, "targets": 1}
    simulated.by["snapshot"].append(signers["d"])
    simulated.next()
    assert tuf_client.refresh() == 0
    assert tuf_client.versions()["snapshot"] == 3


def test_more_than_there_are_keys_is_never_reached(
    tuf_client: Client, simulated: Simulated, signers: Mapping[str, CryptoSigner]
) -> None:
    assert tuf_client.refresh() == 0
    put(simulated, "snapshot", "abcde/6/abcdex", signers)
    simulated.next_root()
    simulated.next()
    assert tuf_client.refresh() == 1
    assert tuf_client.versions()["snapshot"] == 1


@pytest.mark.parametrize("how", ["one id many times", "one key under many ids"])
def test_one_key_is_one_key(tuf_client: Client, simulated: Simulated, how: str) -> None:
    """However often the root names it, and whatever it calls it there; each name signs."""
    assert tuf_client.refresh() == 0
    signer, path = simulated.signer, simulated.folder / "metadata" / "2.root.json"
    keyid, names = signer.public_key.keyid, [f"{number:064x}" for number in range(3)]
    simulated.next_root()
    document = json.loads(path.read_bytes())
    role = document["signed"]["roles"]["snapshot"]
    role["threshold"] = 2
    role["keyids"] = [keyid] * 3 if how.startswith("one id") else names
    document["signed"]["keys"].update(dict.fromkeys(names, document["signed"]["keys"][keyid]))
    simulated.by["root"] = [signer]
    _sign_again(document, signer)
    path.write_text(json.dumps(document))
    simulated.next()
    snapshot = simulated.folder / "metadata" / "2.snapshot.json"
    signed = json.loads(snapshot.read_bytes())
    (signature,) = signed["signatures"]
    signed["signatures"] = [{**signature, "keyid": each} for each in role["keyids"]]
    snapshot.write_text(json.dumps(signed))
    assert tuf_client.refresh() == 1
    assert tuf_client.versions()["snapshot"] == 1


def _sign_again(document: dict[str, object], signer: CryptoSigner) -> None:
    """The root as it stands in `document`, which python-tuf might not write."""
    from securesystemslib.formats import encode_canonical

    data = encode_canonical(document["signed"])
    document["signatures"] = [signer.sign(str(data).encode()).to_dict()]
