# SPDX-License-Identifier: Apache-2.0
"""A repository of releases: published, fetched, refreshed, its keys rotated; what a generic TUF client sees of it."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from no_collection import no_collection
from repository_pair import BOARD, REFERENCE, Pair, files_below
from soft_token import LABEL, SoftToken, make_keys, needs_softhsm
from tuf.ngclient.updater import Updater

from assay.backends.repository.repository_folder import RepositoryFolder
from assay.backends.repository.sources import FolderSource
from assay.backends.repository.tuf_client import BASE, source_fetcher
from assay.backends.signers.service import SignerProcess
from assay.cli.main import main
from assay.errors import ExitStatus, Refused, StorageError, UsageFault
from assay.model.record import RecordType
from assay.model.repository import RepositoryRole
from assay.model.statement import PredicateType, Statement, Subject
from assay.model.trust import Role
from assay.pipeline.release_gate import verify_release
from assay.pipeline.repository_publish import publish_withdrawals
from assay.pipeline.repository_setup import KeyChange, NewRepository, init, refresh, rotate, status
from assay.pipeline.site import Site
from assay.pipeline.withdrawing import withdraw


def test_a_station_fetches_what_was_published(served: Pair) -> None:
    done = served.fetch()
    assert done.release == served.owner.store.find("tiny", "1.0.0", BOARD)
    assert served.station.store.releases() == served.owner.store.releases()
    assert not list((served.station.folder / "repositories" / "releases" / "incoming").glob("*"))
    assert served.fetch().manifest_sha256 == done.manifest_sha256


def test_without_a_version_the_highest_that_is_left(served: Pair) -> None:
    served.publish("1.10.0")
    assert served.fetch("tiny").release.version == "1.10.0"  # type: ignore[union-attr]
    withdraw(served.owner, "tiny@1.10.0", BOARD, "too warm")
    publish_withdrawals(served.owner)
    other = served.new_station("other")
    assert served.fetch("tiny", station=other).release.version == "1.0.0"  # type: ignore[union-attr]


def generic(served: Pair) -> Updater:
    """python-tuf's own client, as anybody would use it."""
    state = served.published.root / "generic"
    (state / "targets").mkdir(parents=True)
    return Updater(
        str(state),
        f"{BASE}metadata",
        str(state / "targets"),
        f"{BASE}targets",
        source_fetcher(FolderSource(served.folder)),
        bootstrap=served.first_root.read_bytes(),
    )


def test_the_signed_target_says_what_it_is_for(served: Pair) -> None:
    updater = generic(served)
    info = updater.get_targetinfo(f"{BOARD}/tiny/1.0.0.json")
    assert info is not None
    release = served.owner.store.find("tiny", "1.0.0", BOARD)
    custom = info.custom
    assert custom["hardware_ids"] == [BOARD]
    assert custom["release_counter"] == release.security_counter
    assert custom["provenance_sha256"] == release.attestations["https://slsa.dev/provenance/v1"]
    assert custom["tests_sha256"] == []
    document = json.loads(Path(updater.download_target(info)).read_bytes())
    assert document["image"]["file_sha256"] == custom["image_sha256"]
    blob = (served.folder / "targets" / "blobs" / custom["image_sha256"]).read_bytes()
    assert hashlib.sha256(blob).hexdigest() == custom["image_sha256"]


def test_results_of_tests_are_listed_by_their_digests_and_travel(served: Pair) -> None:
    """Those on this very image, in the order of the log, when it is published again after them."""
    release = served.owner.store.find("tiny", "1.0.0", BOARD)
    images = (release.image.file_sha256, "0" * 64, release.image.file_sha256)
    bundles = [passed_on(served.owner, sha256, f"test_{number}") for number, sha256 in enumerate(images)]
    served.publish()
    info = generic(served).get_targetinfo(f"{BOARD}/tiny/1.0.0.json")
    assert info is not None
    mine = [bundles[0], bundles[2]]
    assert info.custom["tests_sha256"] == [hashlib.sha256(bundle).hexdigest() for bundle in mine]
    served.fetch()
    assert served.station.store.attached(release, PredicateType.TEST_RESULT.value) == tuple(mine)


def passed_on(site: Site, sha256: str, test: str) -> bytes:
    """The record of a test on that image."""
    subject = Subject(name="tiny@1.0.0", digest={"sha256": sha256})
    said = {"result": "PASSED", "configuration": [], "passedTests": [test]}
    statement = Statement(subject=(subject,), predicateType=PredicateType.TEST_RESULT.value, predicate=said)
    return site.recorder.bundle(site.recorder.record(statement, RecordType.TEST, Role.BENCH))


def test_the_same_again_changes_nothing(served: Pair) -> None:
    before = files_below(served.folder)
    served.publish()
    served.init()
    assert files_below(served.folder) == before


def test_a_withdrawal_reaches_who_has_the_release_already(served: Pair) -> None:
    served.fetch()
    withdraw(served.owner, REFERENCE, BOARD, "the watchdog is off")
    assert publish_withdrawals(served.owner)
    assert not publish_withdrawals(served.owner)
    done = served.fetch(None)
    assert [each.says.reason for each in done.withdrawn] == ["the watchdog is off"]
    assert served.fetch(None).withdrawn == ()
    with pytest.raises(Refused, match="the watchdog is off"):
        verify_release(served.station.store, served.published.trust(), "tiny", None, served.published.board)
    key = next(key for key in served.published.trust().keys if key.role is Role.BUILDER)
    with pytest.raises(Refused, match=rf"the watchdog is off \(signed by {re.escape(key.name)}\)"):
        served.fetch()


def test_refresh_keeps_it_fresh_without_the_offline_keys(served: Pair) -> None:
    keys = served.owner.keys_dir
    for role in ("root", "targets", "releases"):
        (keys / f"repository-{role}-UNSAFE-DEVELOPMENT.pem").rename(keys / f"away-{role}")
    served.at(timedelta(days=6))
    before = status(served.owner)
    served.refresh()
    after = {role.role: role.version for role in status(served.owner).roles}
    assert after["timestamp"] == {role.role: role.version for role in before.roles}["timestamp"] + 1
    served.at(timedelta(days=12))
    served.fetch()
    with pytest.raises(Refused, match=r"needs 1 of 1 keys, and 0 sign: .*the key file .* is missing"):
        refresh(served.owner, everything=True)


@pytest.mark.parametrize("role", list(RepositoryRole))
def test_every_key_can_be_rotated_and_clients_follow(served: Pair, role: RepositoryRole) -> None:
    served.fetch()
    old = next(each for each in status(served.owner).roles if each.role == role)
    new = served.owner.keys.repository_key("another").uri
    change = KeyChange(add=((role, new),), remove=((role, old.keys[0][:16]),))
    state = rotate(served.owner, change)
    found = next(each for each in state.roles if each.role == role)
    assert len(found.keys) == 1 and found.keys != old.keys
    assert rotate(served.owner, change).roles == state.roles
    served.fetch()
    served.refresh()
    served.fetch()


def test_a_rotation_without_a_root_key_changes_nothing(served: Pair) -> None:
    """The old time stamp key is lost, so whatever the new one signs counts for the next root alone."""
    served.fetch()
    keys = served.owner.keys_dir
    root = keys / "repository-root-UNSAFE-DEVELOPMENT.pem"
    (keys / "repository-timestamp-UNSAFE-DEVELOPMENT.pem").unlink()
    root.rename(keys / "away")
    role = RepositoryRole.TIMESTAMP
    old = next(each for each in status(served.owner).roles if each.role == role).keys[0][:16]
    change = KeyChange(add=((role, served.owner.keys.repository_key("new").uri),), remove=((role, old),))
    folder, floor = files_below(served.folder), (served.owner.folder / "published-repository").read_bytes()
    with pytest.raises(Refused, match=r"root\.json needs 1 of 1 keys, and 0 sign"):
        rotate(served.owner, change)
    assert files_below(served.folder) == folder
    assert (served.owner.folder / "published-repository").read_bytes() == floor
    served.fetch(None)
    (keys / "away").rename(root)
    rotate(served.owner, change)
    served.fetch(None)
    served.refresh()
    served.fetch(None)


def test_a_rotation_that_was_begun_and_given_up_leaves_nothing(served: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next root waits beside the floor, and is gone once something else is signed."""
    pending = served.owner.folder / "published-repository-next-root"

    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(RepositoryFolder, "_write", cut)
        rotate(served.owner, KeyChange(add=((RepositoryRole.SNAPSHOT, served.owner.keys.repository_key("new").uri),)))
    assert pending.is_file() and not status(served.owner).unfinished
    served.refresh()
    assert not pending.exists()
    assert status(served.owner).roles[0].version == 1


@pytest.mark.parametrize("what", ["withdraw", "publish"])
def test_a_key_that_is_away_says_what_is_kept_all_the_same(served: Pair, what: str) -> None:
    key = served.owner.keys_dir / "repository-timestamp-UNSAFE-DEVELOPMENT.pem"
    key.rename(key.with_name("away"))
    before = files_below(served.folder / "metadata")

    def act() -> object:
        if what == "withdraw":
            withdraw(served.owner, REFERENCE, BOARD, "too warm")
            return publish_withdrawals(served.owner)
        return served.publish("1.0.1")

    kept = "a withdrawal" if what == "withdraw" else r"tiny@1\.0\.1"
    with pytest.raises(
        Refused, match=f"^the store has {kept}.*the repository does not have it yet: .*0 sign"
    ) as caught:
        act()
    assert "nothing was changed" not in caught.value.remedy
    assert files_below(served.folder / "metadata") == before
    key.with_name("away").rename(key)
    act()
    assert files_below(served.folder / "metadata") != before


def test_a_root_with_a_threshold_wants_as_many_keys(pair: Pair) -> None:
    uris = [pair.owner.keys.repository_key(f"root-{number}").uri for number in range(3)]
    online = pair.owner.keys.repository_key("online").uri
    named = [(RepositoryRole.ROOT, uri) for uri in uris]
    named += [(role, online) for role in RepositoryRole if role is not RepositoryRole.ROOT]
    pair.init(keys=tuple(named), thresholds={RepositoryRole.ROOT: 2})
    pair.publish()
    pair.fetch()
    keys = pair.owner.keys_dir
    (keys / "root-0-UNSAFE-DEVELOPMENT.pem").unlink()
    rotate(pair.owner, KeyChange())
    (keys / "root-1-UNSAFE-DEVELOPMENT.pem").unlink()
    with pytest.raises(Refused, match="needs 2 of 3 keys, and 1 sign"):
        rotate(pair.owner, KeyChange())
    pair.fetch()


def test_init_says_what_cannot_be(pair: Pair) -> None:
    with pytest.raises(UsageFault, match="12 bins cannot be"):
        pair.init(bins=12)
    with pytest.raises(UsageFault, match="2 keys cannot sign for root"):
        pair.init(thresholds={RepositoryRole.ROOT: 2})
    pair.init()
    with pytest.raises(UsageFault, match="somebody else"):
        init(pair.new_station("third"), pair.folder, NewRepository())


def run(*words: str) -> Result:
    return CliRunner().invoke(main, [*words])


def test_the_verbs(pair: Pair) -> None:
    site, folder = ["--site", str(pair.owner.folder), "--json"], str(pair.folder)
    assert run("repo", "init", folder, "--bins", "4", "--expires", "timestamp=3", *site).exit_code == 0
    answer = run("publish", str(pair.published.signed), "--repo", *site)
    assert answer.exit_code == 0, answer.output
    assert json.loads(answer.stdout)["target"]["changed"] is True
    words = ["fetch", "tiny", "--repo", folder, "--board", BOARD, "--trust", str(pair.trust), "--json"]
    words += ["--site", str(pair.station.folder), "--root", f"{folder}/metadata/1.root.json"]
    answer = run(*words)
    assert answer.exit_code == 0, answer.output
    assert json.loads(answer.stdout)["reference"] == REFERENCE
    answer = run("withdraw", REFERENCE, "--board", BOARD, "--reason", "too warm", *site)
    assert json.loads(answer.stdout)["in_repository"] is True
    answer = run(*words)
    assert answer.exit_code == ExitStatus.REFUSED and "too warm" in answer.output
    assert run("repo", "refresh", *site).exit_code == 0
    assert run("repo", "rotate", *site).exit_code == 0
    roles = json.loads(run("repo", "status", *site).stdout)["roles"]
    assert next(role for role in roles if role["role"] == "root")["version"] == 2
    assert run("repo", "rotate", "--remove", "root=00000000", *site).exit_code == ExitStatus.USAGE


@needs_softhsm
def test_a_key_in_a_token_signs_by_its_uri(pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = SoftToken(tmp_path / "token").make()
    monkeypatch.setenv("SOFTHSM2_CONF", token.environment["SOFTHSM2_CONF"])
    keys = SignerProcess(pair.owner.keys_dir)
    pair.owner.__dict__["keys"] = keys
    keys.set_token(LABEL, token.described())
    make_keys(keys, (Role.BUILDER,))
    uri, online = keys.uri(Role.BUILDER), keys.repository_key("online").uri
    named = [(role, uri if role is RepositoryRole.RELEASES else online) for role in RepositoryRole]
    pair.init(keys=tuple(named), bins=2)
    pair.publish()
    assert pair.fetch().release is not None
    keys.close()


def test_a_beginning_that_failed_is_no_repository(pair: Pair) -> None:
    """In a folder that cannot be: the next one may be elsewhere, with other options."""
    with pytest.raises(StorageError, match="cannot be written"):
        init(pair.owner, Path("/proc/nowhere"), NewRepository())
    assert init(pair.owner, pair.folder, NewRepository(bins=4)).bins == 4
    with pytest.raises(UsageFault, match="publishes to"):
        init(pair.owner, pair.published.root / "elsewhere", NewRepository())


@pytest.mark.parametrize("reference", ["../x@1", "", "tiny@", "tiny@../1"])
def test_a_name_that_cannot_be_is_who_asks_for_it(served: Pair, reference: str) -> None:
    with pytest.raises(UsageFault, match="cannot be the name of a release"):
        served.fetch(reference)


def test_a_root_that_is_none_is_told(served: Pair) -> None:
    for text in ("# read me", '{"signed": []}', '{"signed": {"_type": "targets"}}', "[" * 100_000):
        served.first_root.write_text(text)
        with pytest.raises(UsageFault, match="is no root metadata"), no_collection():
            served.fetch()
