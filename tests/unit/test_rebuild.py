# SPDX-License-Identifier: Apache-2.0
"""A release is built again from its provenance alone: the same, the difference, or why it cannot be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rebuild_house import SCRIPT, House, again, git, house, predicate, site_in, stranger, tampered

from assay.backends.builders import diffoscope_program, git_fetch, toolchain
from assay.backends.builders.git_fetch import fetch_tree
from assay.cli.main import main
from assay.cli.rebuild import _text
from assay.errors import InfrastructureError, NotVerified, Refused, UsageFault
from assay.formats import sigstore_bundle
from assay.model.artifact import ToolIdentity
from assay.pipeline.publishing import publish_signed
from assay.pipeline.rebuild import RebuildOrder, rebuild
from assay.pipeline.site import Site

__all__ = ["house", "stranger"]


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
    assert said["source"]["commit"] == git(house.root, "rev-parse", "HEAD")
    assert [entry.type.value for _, entry in stranger.records.entries()] == ["rebuild"]


def test_a_release_of_a_project_that_commits_what_it_builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With every file among the sources: what was built is no input, for the builder and for the stranger."""
    theirs = House(tmp_path / "theirs")
    manifest = theirs.root / "mod" / "module.toml"
    manifest.write_text(manifest.read_text().replace('["mod/*.py", "mod/data"]', '["**"]'))
    theirs.publish(monkeypatch)
    shutil.copytree(theirs.root.parent / "artifact", theirs.root / "out")
    shutil.copytree(theirs.bundle.parent, theirs.root / "out.signed")
    git(theirs.root, "rm", "-q", "--cached", "mod/link")
    git(theirs.root, "add", ".")
    git(theirs.root, "commit", "-qm", "what was built, too")
    theirs.publish(monkeypatch)
    rebuilt = again(theirs, site_in(tmp_path / "stranger"), tmp_path)
    assert rebuilt.identical and rebuilt.recipe.source.dirty is False
    theirs.site.signers.close()  # type: ignore[attr-defined]


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
    said = [again(house, site_in(tmp_path / name), tmp_path).bundle for name in ("one", "other")]
    payloads = [sigstore_bundle.decode(each).envelope.payload for each in said]
    assert payloads[0] == payloads[1]


def test_the_same_build_gives_the_same_provenance_bytes(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In another folder, at another time, for another site, from a clone."""
    first = sigstore_bundle.decode(house.bundle.read_bytes()).envelope.payload
    git(tmp_path, "clone", "-q", str(house.root), "clone")
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
    monkeypatch.setattr(diffoscope_program, "PROGRAM", "no-such-diffoscope")
    without = again(house, house.site, tmp_path, original=rebuilt.recipe.reference.encode())
    assert "diffoscope is not installed" in str(without.no_diffoscope) and without.difference is not None
    assert "diffoscope is not installed" in _text(without, None)


@pytest.mark.skipif(shutil.which("diffoscope") is None, reason="diffoscope is not installed")
def test_what_differs_is_shown_by_diffoscope() -> None:
    said = diffoscope_program.report("payload.bin", b"one\ntwo\n", b"one\nthree\n")
    assert said.why_not is None and said.text is not None
    assert "--- attested/payload.bin" in said.text and "-two\n+three\n" in said.text
    assert "said nothing" in str(diffoscope_program.report("payload.bin", b"same", b"same").why_not)


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
    monkeypatch.setattr("rebuild_house.MODULE_CHANGES", ('"{out}", "{defines}"', '"{out}", "{cache}", "{defines}"'))
    house = House(tmp_path / "house", CACHING.format(outside=outside))
    house.publish(monkeypatch)
    outside.write_text("2")
    rebuilt = again(house, house.site, tmp_path)
    assert not rebuilt.identical
    assert (tmp_path / "rebuilt" / "payload.bin").read_text() == "2"


def _other_payload(statement: dict[str, Any]) -> None:
    """In the subject and in the outputs."""
    statement["subject"][1]["digest"]["sha256"] = "ab" * 32
    for output in statement["predicate"]["runDetails"]["byproducts"]:
        if output["name"] == "payload.bin":
            output["digest"]["sha256"] = "ab" * 32


def test_a_payload_that_the_commit_does_not_give_is_different(house: House, stranger: Site, tmp_path: Path) -> None:
    lied = tampered(house.bundle.read_bytes(), house, _other_payload)
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
    lied = tampered(house.bundle.read_bytes(), house, change)
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
    git(tmp_path, "init", "-q", "empty")
    with pytest.raises(InfrastructureError, match="cannot be had from") as told:
        again(house, stranger, tmp_path, source=str(tmp_path / "empty"))
    assert "--source" in told.value.remedy
    with pytest.raises(UsageFault, match="does not say where"):
        again(house, stranger, tmp_path, source=None)


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
