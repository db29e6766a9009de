# SPDX-License-Identifier: Apache-2.0
"""A release is built again from its provenance alone: the same, or the difference; and who agrees is a fact."""

from __future__ import annotations

import json
import random
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from memory_signer import MemorySigner
from tiny_build import NoPause, request_for, tiny_project

from assay.backends.builders import diffoscope_program, git_fetch, toolchain
from assay.backends.builders.git_fetch import fetch_tree
from assay.backends.stores.oci_layout import OciLayoutStore
from assay.cli.main import main
from assay.cli.rebuild import _text
from assay.errors import InfrastructureError, NotVerified, Refused, UsageFault
from assay.formats import canonical_json, sigstore_bundle
from assay.model.artifact import ToolIdentity
from assay.model.policy import Point
from assay.model.signer_limits import Threshold
from assay.model.statement import PredicateType
from assay.model.trust import Role, TrustFile
from assay.pipeline.image_signing import sign_artifact
from assay.pipeline.manifest_files import load_board
from assay.pipeline.module_build import build_module
from assay.pipeline.policy_adoption import adopt
from assay.pipeline.policy_facts import facts_of
from assay.pipeline.policy_files import policy_engine
from assay.pipeline.policy_gate import Question, enforce
from assay.pipeline.publishing import publish_signed
from assay.pipeline.rebuild import RebuildOrder, Rebuilt, rebuild
from assay.pipeline.rebuild_statements import rebuilds_of, take_in
from assay.pipeline.release_gate import verify_release
from assay.pipeline.site import Site
from assay.pipeline.trust_file import site_trust

MODULE_CHANGES = ('"{out}", "{defines}"', '"{out}", "{image_pubkey}", "{defines}"')
SCRIPT = """\
import base64, sys
key, blob = open(sys.argv[2]).read(), open('mod/data/blob').read()
raw = base64.b64decode(''.join(key.splitlines()[1:-1]))
open(sys.argv[1] + '/payload.bin', 'wb').write(raw + (str(sys.argv[3:]) + blob).encode())
"""


class House:
    """Somebody's project in git, with a site, and one module built, signed and published: `tiny`, with a key inside."""

    def __init__(self, root: Path, script: str = SCRIPT) -> None:
        self.root = tiny_project(root)
        self.site = _site(root / "site")
        text = (self.root / "mod" / "module.toml").read_text()
        (self.root / "mod" / "module.toml").write_text(text.replace(*MODULE_CHANGES))
        (self.root / "mod" / "data" / "blob").write_text("text")
        (self.root / "mod" / "build.py").write_text(script)
        (self.root / "mod" / "link").symlink_to("/etc/passwd")
        for words in (("init", "-q"), ("add", "."), ("commit", "-qm", "x")):
            _git(self.root, *words)
        (self.root / "mod" / "link").unlink()

    def publish(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Build and sign; publishing is left to the test."""
        monkeypatch.chdir(self.root)
        keys = {"image": self.site.signers.public_key(Role.IMAGE).public}
        out = self.root.parent / "artifact"
        build_module(replace(request_for(self.root), keys=keys, defines={"A": "1"}), self.site, out, lambda _line: None)
        sign_artifact(out, self.site, self.root.parent / "signed")

    @property
    def bundle(self) -> Path:
        return self.root.parent / "signed" / "provenance.sigstore.json"

    def trust(self, *others: Site) -> TrustFile:
        mine = site_trust(self.site, "test", allow_development=True, allow_emulated=True)
        keys = tuple(key for other in others for key in site_trust(other, "x").keys if key.role is Role.BUILDER)
        return mine.model_copy(update={"keys": (*mine.keys, *keys)})


def _site(folder: Path) -> Site:
    site = Site(folder)
    site.__dict__["clock"] = NoPause()
    return site


def _git(root: Path, *words: str) -> str:
    command = ["git", "-C", str(root), "-c", "user.name=t", "-c", "user.email=t@t", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Made once: no test changes what is in its commit."""
    made = House(tmp_path_factory.mktemp("house"))
    with pytest.MonkeyPatch.context() as patch:
        made.publish(patch)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made.root)
        publish_signed(made.root.parent / "signed", made.site)
    yield made


@pytest.fixture
def stranger(tmp_path: Path) -> Site:
    return _site(tmp_path / "stranger")


def again(house: House, site: Site, tmp_path: Path, **changes: Any) -> Rebuilt:
    order = RebuildOrder(house.bundle.read_bytes(), house.trust(), source=str(house.root), builder="host")
    return rebuild(replace(order, **changes), site, tmp_path / "rebuilt", lambda _line: None)


def predicate(bundle: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(sigstore_bundle.decode(bundle).envelope.payload)["predicate"]
    return found


def test_a_stranger_builds_the_same_from_the_provenance_alone(
    house: House, stranger: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The working tree is not what is built: the commit is; the public key comes from the provenance."""
    (house.root / "mod" / "data" / "blob").write_text("changed since")
    monkeypatch.chdir(tmp_path)
    rebuilt = again(house, stranger, tmp_path)
    assert rebuilt.identical and rebuilt.other_tools == () and rebuilt.difference is None
    assert {part.name for part in rebuilt.compared} == {"payload.bin", "sbom.cdx.json", "image"}
    assert (tmp_path / "rebuilt" / "payload.bin").read_bytes() == (
        house.root.parent / "artifact/payload.bin"
    ).read_bytes()
    said = predicate(rebuilt.bundle)
    assert (said["result"], said["release"], said["builder_id"]) == (
        "identical",
        "tiny@1.0.0",
        "urn:assay:builder:host",
    )
    assert said["source"]["commit"] == _git(house.root, "rev-parse", "HEAD")
    assert [entry.type.value for _, entry in stranger.records.entries()] == ["rebuild"]


def test_other_tools_are_told_and_are_no_difference(
    house: House, stranger: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another machine has another Python: the bytes are the same; the bill is made with the tools that were there."""
    other = ToolIdentity(name="python", version="CPython 9.9", sha256="ab" * 32)
    monkeypatch.setattr(toolchain, "_python", lambda _known: other)
    rebuilt = again(house, stranger, tmp_path)
    assert rebuilt.identical
    assert len(rebuilt.other_tools) == 1 and "CPython 9.9 (abababababab) here" in rebuilt.other_tools[0]
    assert predicate(rebuilt.bundle)["other_tools"] == list(rebuilt.other_tools)


def test_the_same_rebuild_gives_the_same_statement_bytes(house: House, tmp_path: Path) -> None:
    said = [again(house, _site(tmp_path / name), tmp_path).bundle for name in ("one", "other")]
    payloads = [sigstore_bundle.decode(each).envelope.payload for each in said]
    assert payloads[0] == payloads[1]


def test_the_same_build_gives_the_same_provenance_bytes(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In another folder, at another time, for another site, from a clone."""
    first = sigstore_bundle.decode(house.bundle.read_bytes()).envelope.payload
    _git(tmp_path, "clone", "-q", str(house.root), "clone")
    other = House.__new__(House)
    other.root, other.site = tmp_path / "clone", house.site
    (other.root / "mod" / "link").unlink()
    monkeypatch.chdir(other.root)
    shutil.rmtree(house.site.cache_dir / "artifacts")
    other.publish(monkeypatch)
    assert sigstore_bundle.decode(other.bundle.read_bytes()).envelope.payload == first


def test_a_difference_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The build reads what nobody declared, and what is another thing when it is built again."""
    outside = tmp_path / "outside"
    outside.write_text("1")
    house = House(tmp_path / "house", SCRIPT.replace("+ blob", f"+ blob + open('{outside}').read()"))
    house.publish(monkeypatch)
    publish_signed(house.root.parent / "signed", house.site)
    outside.write_text("2")
    rebuilt = again(house, house.site, tmp_path, release=house.site.store.find("tiny", None, "ast1030-evb"))
    assert "31 '1' in the release, 32 '2' in the rebuild" in str(rebuilt.difference)
    differ = {part.name for part in rebuilt.compared if part.attested != part.found}
    assert differ == {"payload.bin", "image", "sbom.cdx.json"}
    assert rebuilt.report is not None and (rebuilt.report / "attested" / "payload.bin").read_bytes().endswith(b"1")
    if shutil.which("diffoscope"):
        assert "payload.bin" in (rebuilt.report / "diffoscope.txt").read_text()
    monkeypatch.setattr(diffoscope_program, "PROGRAM", "no-such-diffoscope")
    without = again(house, house.site, tmp_path, original=rebuilt.recipe.reference.encode())
    assert "diffoscope is not installed" in str(without.no_diffoscope) and without.difference is not None
    assert "diffoscope is not installed" in _text(without, None)


CACHING = """\
import pathlib, sys
kept = pathlib.Path(sys.argv[2]) / 'object'
if not kept.exists():
    kept.write_text(open('{outside}').read())
open(sys.argv[1] + '/payload.bin', 'w').write(kept.read_text())
"""
"""A build that takes its result from the compiler's cache where it finds it, as compilers do."""


def test_a_rebuild_takes_nothing_from_an_earlier_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the site that built the release, whose caches hold the very objects of the release."""
    outside = tmp_path / "outside"
    outside.write_text("1")
    monkeypatch.setattr(f"{__name__}.MODULE_CHANGES", ('"{out}", "{defines}"', '"{out}", "{cache}", "{defines}"'))
    house = House(tmp_path / "house", CACHING.format(outside=outside))
    house.publish(monkeypatch)
    outside.write_text("2")
    rebuilt = again(house, house.site, tmp_path)
    assert not rebuilt.identical
    assert (tmp_path / "rebuilt" / "payload.bin").read_text() == "2"


def _tampered(bundle: bytes, house: House, change: Any) -> bytes:
    """The provenance with a change, signed again by the house: what a rebuilder meets when the builder lies."""
    statement = json.loads(sigstore_bundle.decode(bundle).envelope.payload)
    change(statement)
    return house.site.signers.sign_statement(Role.BUILDER, canonical_json.encode(statement))


def _other_payload(statement: dict[str, Any]) -> None:
    """In the subject and in the outputs."""
    statement["subject"][1]["digest"]["sha256"] = "ab" * 32
    for output in statement["predicate"]["runDetails"]["byproducts"]:
        if output["name"] == "payload.bin":
            output["digest"]["sha256"] = "ab" * 32


def test_a_payload_that_the_commit_does_not_give_is_different(house: House, stranger: Site, tmp_path: Path) -> None:
    lied = _tampered(house.bundle.read_bytes(), house, _other_payload)
    rebuilt = again(house, stranger, tmp_path, provenance=lied)
    assert not rebuilt.identical
    assert predicate(rebuilt.bundle)["result"] == "different"
    assert [part.name for part in rebuilt.compared if part.attested != part.found] == ["payload.bin"]


def _definition(statement: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = statement["predicate"]["buildDefinition"]
    return found


def _source_digest(statement: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = _definition(statement)["resolvedDependencies"][0]["digest"]
    return found


def _one_more_output(statement: dict[str, Any]) -> None:
    statement["predicate"]["runDetails"]["byproducts"].append({"name": "x", "digest": {"sha256": "0" * 64}})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: _source_digest(s).pop("gitCommit"), "in no commit"),
        (lambda s: _source_digest(s).update(sha256="ab" * 32), "does not hold the inputs"),
        (lambda s: _definition(s)["externalParameters"].pop("manifest"), "older assay"),
        (lambda s: _definition(s)["externalParameters"].update(manifest="../x"), "the commit has no"),
        (lambda s: _definition(s)["externalParameters"].update(manifest="mod/x"), "the commit has no"),
        (_one_more_output, "other outputs"),
        (lambda s: s["subject"][1]["digest"].update(sha256="ab" * 32), "two payloads"),
        (lambda s: s["subject"].pop(), "a form that is not ours"),
    ],
)
def test_a_provenance_that_cannot_be_followed_is_refused(
    house: House, stranger: Site, tmp_path: Path, change: Any, said: str
) -> None:
    lied = _tampered(house.bundle.read_bytes(), house, change)
    with pytest.raises(NotVerified, match=said):
        again(house, stranger, tmp_path, provenance=lied)
    assert not (stranger.folder / "log").exists()


def test_a_provenance_of_nobody_is_refused_before_anything_is_fetched(
    house: House, stranger: Site, tmp_path: Path
) -> None:
    nobody = house.trust().model_copy(update={"keys": ()})
    with pytest.raises(Refused):
        again(house, stranger, tmp_path, trust=nobody, source="/does/not/exist")


def test_a_repository_without_the_commit_is_an_error_that_says_what_to_do(
    house: House, stranger: Site, tmp_path: Path
) -> None:
    _git(tmp_path, "init", "-q", "empty")
    with pytest.raises(InfrastructureError, match="cannot be had from") as told:
        again(house, stranger, tmp_path, source=str(tmp_path / "empty"))
    assert "--source" in told.value.remedy
    with pytest.raises(UsageFault, match="does not say where"):
        again(house, stranger, tmp_path, source=None)


def test_only_ordinary_files_of_a_commit_are_written(house: House, tmp_path: Path) -> None:
    fetch_tree(str(house.root), _git(house.root, "rev-parse", "HEAD"), tmp_path / "tree")
    assert not (tmp_path / "tree" / "mod" / "link").exists()
    assert (tmp_path / "tree" / "mod" / "build.py").is_file()
    with pytest.raises(NotVerified, match="is no commit"):
        fetch_tree(str(house.root), "--upload-pack=x", tmp_path / "other")


def test_what_is_fetched_has_a_bound(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _git(tmp_path, "init", "-q", "large")
    (tmp_path / "large" / "file").write_bytes(random.Random(1).randbytes(300_000))
    for words in (("add", "."), ("commit", "-qm", "x")):
        _git(tmp_path / "large", *words)
    commit = _git(tmp_path / "large", "rev-parse", "HEAD")
    fetch_tree(str(tmp_path / "large"), commit, tmp_path / "whole")
    monkeypatch.setattr(git_fetch, "FETCHED_BYTES_MAX", 100_000)
    with pytest.raises(InfrastructureError, match="cannot be had"):
        fetch_tree(str(tmp_path / "large"), commit, tmp_path / "tree")
    assert not (tmp_path / "tree").exists()


def test_a_commit_of_endless_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trees of ten entries that are the same tree, seven times over: ten million files in eight objects."""
    _git(tmp_path, "init", "-q", "bomb")
    bomb = tmp_path / "bomb"
    blob = subprocess.run(
        ["git", "-C", str(bomb), "hash-object", "-w", "--stdin"], input=b"x", check=True, capture_output=True
    )
    kind, inside = "100644 blob", blob.stdout.decode().strip()
    for _ in range(7):
        rows = "".join(f"{kind} {inside}\t{name}\n" for name in "abcdefghij")
        made = subprocess.run(["git", "-C", str(bomb), "mktree"], input=rows.encode(), check=True, capture_output=True)
        kind, inside = "040000 tree", made.stdout.decode().strip()
    commit = _git(bomb, "commit-tree", inside, "-m", "x")
    _git(bomb, "branch", "x", commit)
    monkeypatch.setattr(git_fetch, "LISTING_BYTES_MAX", 2**20)
    with pytest.raises(NotVerified, match="list of the commit's files"):
        fetch_tree(str(bomb), commit, tmp_path / "tree")
    assert not (tmp_path / "tree").exists()


def test_a_server_that_never_answers_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_fetch, "FETCH_TIMEOUT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(InfrastructureError, match=r"did not end in"):
            fetch_tree(f"git://127.0.0.1:{port}/x", "0" * 40, tmp_path / "tree")


def test_a_file_that_a_repository_lost_is_told(house: House, tmp_path: Path) -> None:
    """A clone of which a disk lost a file: the tree names it, and it is not there."""
    _git(tmp_path, "clone", "-q", "--no-local", str(house.root), "clone")
    clone, commit = tmp_path / "clone", _git(house.root, "rev-parse", "HEAD")
    for pack in list((clone / ".git" / "objects" / "pack").glob("*.pack")):
        data = pack.read_bytes()
        for file in pack.parent.glob(pack.stem + ".*"):
            file.unlink()
        subprocess.run(["git", "-C", str(clone), "unpack-objects", "-q"], input=data, check=True)
    lost = _git(clone, "rev-parse", "HEAD:mod/data/blob")
    (clone / ".git" / "objects" / lost[:2] / lost[2:]).unlink()
    with pytest.raises(InfrastructureError, match="mod/data/blob is missing") as told:
        git_fetch._write_tree(clone, commit, tmp_path / "tree")
    assert "git fsck" in told.value.remedy


@pytest.mark.parametrize(
    "source", ["https://me:s3cret@host/x", "https://s3cret@host/x", "ssh://git:s3cret@host/x", "http::http://s3cret@h"]
)
def test_a_password_in_the_address_of_sources_is_refused_and_not_repeated(
    house: House, stranger: Site, tmp_path: Path, source: str
) -> None:
    """It would be in the arguments of git, which every user of the machine can read, and in what is printed."""
    said: list[str] = []
    order = RebuildOrder(house.bundle.read_bytes(), house.trust(), source=source, builder="host")
    with pytest.raises(UsageFault, match="password") as told:
        rebuild(order, stranger, None, said.append)
    assert "credential helper" in told.value.remedy and told.value.status == 2
    assert "s3cret" not in told.value.message + told.value.remedy + "".join(said)
    with pytest.raises(UsageFault, match="password"):
        fetch_tree(source, "ab" * 20, tmp_path / "tree")


def test_the_user_of_an_ssh_address_is_no_secret(tmp_path: Path) -> None:
    for source in ("ssh://git@host.invalid/x", "git@host.invalid:x", "https://host.invalid/a@b"):
        git_fetch.refuse_passwords(source)


def test_the_verb_for_a_file_and_its_statement(house: House, tmp_path: Path) -> None:
    trust = tmp_path / "trust.toml"
    words = ["keys", "trust", "--out", str(trust), "--name", "t", "--allow-development", "--allow-emulated"]
    assert CliRunner().invoke(main, [*words, "--site", str(house.site.folder)]).exit_code == 0
    statement = tmp_path / "statement.json"
    words = ["rebuild", str(house.bundle), "--trust", str(trust), "--source", str(house.root), "--builder", "host"]
    told = CliRunner().invoke(main, [*words, "--statement", str(statement), "--json", "--site", str(tmp_path / "s")])
    assert told.exit_code == 0, told.output
    answer = json.loads(told.stdout)
    assert answer["identical"] and predicate(statement.read_bytes())["release"] == "tiny@1.0.0"
    told = CliRunner().invoke(main, [*words[:2], "--json", "--site", str(tmp_path / "s")])
    assert told.exit_code == 2 and "--trust" in told.stdout


PACK = """\
schema = "assay.policy/1"
name = "two-builders"
version = "1.0.0"
at = ["flash"]

[[checks]]
id = "two-agree"
version = 1
deny_if = "!has(release.builders_agree) || release.builders_agree < 2"
message = "only one builder says that this is what the commit gives"
remedy = "assay rebuild, by somebody else"

[[checks]]
id = "nobody-disagrees"
version = 1
deny_if = "has(release.rebuilds) && release.rebuilds.exists(r, r.result == 'different')"
message = "somebody built it again and got something else"
remedy = "find out why"
"""


def test_a_policy_asks_for_two_builders_that_agree(
    house: House, stranger: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The house's own rebuild does not make it two; the stranger's does, once its key is trusted."""
    monkeypatch.chdir(house.root)
    board = load_board(house.root / "boards" / "ast1030-evb.toml")
    trust = house.trust(stranger)
    image = verify_release(house.site.store, trust, "tiny", None, board)
    (tmp_path / "pack.toml").write_text(PACK)
    adopt(house.site, tmp_path / "pack.toml", "for the test", house.trust(), policy_engine(), untested="for the tests")

    def ask(by: TrustFile) -> None:
        enforce(house.site, Question(Point.FLASH, image, board, by), skip=None, say=lambda _line: None)

    with pytest.raises(Refused, match="two-agree"):
        ask(trust)
    own = again(house, house.site, tmp_path, release=image.release)
    assert own.identical
    facts = facts_of(house.site, trust, Point.FLASH, image, board)
    assert facts.release.builders_agree == 1 and facts.release.rebuilds is not None
    assert [each.other_builder for each in facts.release.rebuilds] == [False]
    theirs = again(house, stranger, tmp_path)
    with pytest.raises(NotVerified):
        take_in(house.site, house.trust(), image.release, theirs.bundle)
    take_in(house.site, trust, image.release, theirs.bundle)
    assert len(rebuilds_of(house.site, trust, image.release)) == 2
    ask(trust)
    with pytest.raises(Refused, match="two-agree"):
        ask(house.trust())


def test_a_threshold_counts_who_built_it_again_and_who_vouches_for_what_is_followed(
    house: House, stranger: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = house.site.store.find("tiny", None, "ast1030-evb")
    other, mine = MemorySigner(), house.trust(stranger)

    def wanting(kind: PredicateType) -> TrustFile:
        two = (Threshold(predicate_type=kind.value, count=2),)
        return mine.model_copy(update={"keys": (*mine.keys, other.public_key(Role.BUILDER)), "thresholds": two})

    def also(bundle: bytes) -> bytes:
        return other.sign_statement(Role.BUILDER, sigstore_bundle.decode(bundle).envelope.payload)

    wanted = wanting(PredicateType.PROVENANCE)
    with pytest.raises(NotVerified, match=r"wants 2 distinct signers of .*provenance/v1; there is 1"):
        again(house, stranger, tmp_path, trust=wanted)
    theirs = again(house, stranger, tmp_path, trust=wanted, beside=(also(house.bundle.read_bytes()),)).bundle

    def counted(*said: bytes) -> list[str]:
        monkeypatch.setattr(OciLayoutStore, "attached", lambda *_: said)
        return [each.said.result for each in rebuilds_of(house.site, wanting(PredicateType.REBUILD), release)]

    lied = json.loads(sigstore_bundle.decode(theirs).envelope.payload)
    lied["predicate"]["result"] = "different"
    lied["predicate"]["compared"][0]["found"] = "00" * 32
    different = other.sign_statement(Role.BUILDER, canonical_json.encode(lied))
    assert counted(theirs) == counted(theirs, theirs) == []
    assert counted(theirs, also(theirs)) == ["identical", "identical"]
    assert counted(theirs, different) == ["different"]


def test_a_statement_about_another_release_is_not_taken_in(
    house: House, stranger: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = house.site.store.find("tiny", None, "ast1030-evb")
    good = again(house, stranger, tmp_path)
    trust = house.trust(stranger)
    before = house.site.store.attached(release, PredicateType.REBUILD.value)
    for change, said in (
        (lambda s: s["predicate"].update(provenance="ab" * 32), "is not about tiny@1.0.0 and its provenance"),
        (lambda s: s["predicate"].update(result="different"), "says one thing and shows another"),
        (lambda s: s["predicate"].update(compared=s["predicate"]["compared"][:1]), "did not compare"),
        (lambda s: s["predicate"].update(more=1), "a form that is not ours"),
        (lambda s: s.update(subject=s["subject"][1:]), "not about the file"),
    ):
        statement = json.loads(sigstore_bundle.decode(good.bundle).envelope.payload)
        change(statement)  # type: ignore[no-untyped-call]
        lied = stranger.signers.sign_statement(Role.BUILDER, canonical_json.encode(statement))
        with pytest.raises(NotVerified, match=said):
            take_in(house.site, trust, release, lied)
    assert house.site.store.attached(release, PredicateType.REBUILD.value) == before
