# SPDX-License-Identifier: Apache-2.0
"""A registry whose answers are one thing for us and another for somebody else, or change from one to the next."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from mock_registry import MANIFEST, MockRegistry, Request
from published_release import Published
from registry_bench import (
    BOARD,
    left,
    new_mock,
    no_passwords,
    other_site,
    published,
    pull,
    push,
    quiet,
    refused_and_nothing_kept,
)

from assay.backends.registries.connection import RegistryConnection
from assay.cli.main import main
from assay.errors import NotVerified
from assay.formats.oci_layout import read_index, read_manifest
from assay.formats.registry_address import parse_address
from assay.pipeline.registry_transfer import Registry, pull_release
from assay.pipeline.trust_file import write_trust

__all__ = ["new_mock", "no_passwords", "published"]

INDEX = "application/vnd.oci.image.index.v1+json"
Answerer = Callable[[Request, bytes], None]


def on_tag(mock: MockRegistry, change: Callable[[dict[str, Any]], None], media_type: str = MANIFEST) -> None:
    """The release's manifest comes changed, with its statements about the changed one."""
    old = mock.tags["1.0.0"]
    document = json.loads(mock.manifests[old])
    change(document)
    data = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    new = f"sha256:{hashlib.sha256(data).hexdigest()}"
    mock.manifests[new], mock.tags["1.0.0"] = data, new
    for name, each in list(mock.manifests.items()):
        statement = json.loads(each)
        if statement.get("subject", {}).get("digest") == old:
            statement["subject"] |= {"digest": new, "size": len(data)}
            again = json.dumps(statement).encode()
            mock.manifests[f"sha256:{hashlib.sha256(again).hexdigest()}"] = again
            del mock.manifests[name]

    def twist(request: Request) -> bool:
        if request.command == "GET" and request.path.endswith("/manifests/1.0.0"):
            request.answer(200, mock.manifests[mock.tags["1.0.0"]], {"Content-Type": media_type})
            return True
        return False

    mock.twist = twist


def _two_sizes(document: dict[str, Any]) -> None:
    document["layers"].append({**document["layers"][0], "size": document["layers"][0]["size"] + 1})


def _config_is_the_image(document: dict[str, Any]) -> None:
    document["config"] = {**document["layers"][0], "size": 2}


CONFUSED: dict[str, tuple[Callable[[dict[str, Any]], None], str, str]] = {
    "one digest with two sizes": (_two_sizes, MANIFEST, "and it has"),
    "one digest as config and layer with two sizes": (_config_is_the_image, MANIFEST, "it is said to have 2"),
    "a manifest given as an index": (lambda _document: None, INDEX, "was given as .*index.*, and says that it is"),
    "a manifest that says that it is an index": (lambda it: it.update(mediaType=INDEX), MANIFEST, "and says that it"),
    "a manifest without its type given as an index": (lambda it: it.pop("mediaType"), INDEX, "as another type has"),
    "an index inside of a manifest": (lambda it: it.update(manifests=[]), MANIFEST, "has 'manifests' as another"),
    "a schema of before": (lambda it: it.update(schemaVersion=1), MANIFEST, "damaged: schemaVersion"),
    "a type that is a number": (lambda it: it.update(artifactType=1), MANIFEST, "damaged: artifactType"),
    "layers without end": (lambda it: it.update(layers=it["layers"] * 300), MANIFEST, "layers; 256 are taken"),
    "a digest of another kind": (lambda it: it["layers"][0].update(digest="md5:00"), MANIFEST, "damaged: layers.0"),
    "a size below nothing": (lambda it: it["layers"][0].update(size=-1), MANIFEST, "damaged: layers.0.size"),
}  # fmt: skip


@pytest.mark.parametrize("attack", CONFUSED)
def test_a_manifest_that_is_read_in_two_ways(
    published: Published, new_mock: MockRegistry, tmp_path: Path, attack: str
) -> None:
    push(published, new_mock)
    change, media_type, reason = CONFUSED[attack]
    on_tag(new_mock, change, media_type)
    refused_and_nothing_kept(published, new_mock, other_site(tmp_path), reason)


def test_an_index_is_no_manifest_and_a_manifest_no_index(published: Published, new_mock: MockRegistry) -> None:
    """CVE-2021-41190: also in a folder, where nobody says what a document is given as."""
    push(published, new_mock)
    manifest = json.loads(new_mock.manifests[new_mock.tags["1.0.0"]])
    manifest.pop("mediaType")
    both = json.dumps({**manifest, "manifests": []}).encode()
    for read in (read_manifest, read_index):
        with pytest.raises(NotVerified, match="as another type has"):
            read(both)
    with pytest.raises(NotVerified, match="has 'config' as another type has"):
        read_index(json.dumps(manifest).encode())


def lists(mock: MockRegistry, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
    real = mock._index
    mock._index = lambda digest: {**(found := real(digest)), "manifests": change(found["manifests"])}  # type: ignore[method-assign]


def test_referrers_in_a_circle(published: Published, new_mock: MockRegistry, tmp_path: Path) -> None:
    """The release as a statement about itself, and a statement about a statement: nobody goes round."""
    push(published, new_mock)
    tag = new_mock.tags["1.0.0"]
    release = {"mediaType": MANIFEST, "digest": tag, "size": len(new_mock.manifests[tag])}
    lists(new_mock, lambda rows: [*rows, release])
    site = other_site(tmp_path)
    assert pull(published, new_mock, site).statements == 2
    asked = [path for command, path, _ in new_mock.seen if command == "GET" and "/referrers/" in path]
    assert {path.rpartition("/")[2] for path in asked} == {tag}
    rows = new_mock._index(tag)["manifests"]
    inner = json.loads(new_mock.manifests[rows[0]["digest"]])
    inner["subject"] |= {"digest": rows[1]["digest"]}
    data = json.dumps(inner).encode()
    about_other = f"sha256:{hashlib.sha256(data).hexdigest()}"
    new_mock.manifests[about_other] = data
    lists(new_mock, lambda found: [*found, {**rows[0], "digest": about_other, "size": len(data)}])
    refused_and_nothing_kept(published, new_mock, other_site(tmp_path / "next"), "about something else")


def test_pages_of_statements_in_a_circle(published: Published, new_mock: MockRegistry, tmp_path: Path) -> None:
    push(published, new_mock)
    empty = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": []}).encode()

    def twist(request: Request) -> bool:
        if "/referrers/" not in request.path:
            return False
        request.answer(200, empty, {"Link": f'<{request.path}>; rel="next"'})
        return True

    new_mock.twist = twist
    refused_and_nothing_kept(published, new_mock, other_site(tmp_path), "on more than 16 pages")


def test_a_tag_that_changes_between_two_requests(published: Published, new_mock: MockRegistry, tmp_path: Path) -> None:
    """It is asked for once; everything after it has a digest."""
    push(published, new_mock)
    asked = 0

    def twist(request: Request) -> bool:
        nonlocal asked
        if not request.path.endswith("/manifests/1.0.0"):
            return False
        asked += 1
        if asked > 1:
            request.answer(200, b'{"another": "release"}')
        return asked > 1

    new_mock.twist = twist
    assert pull(published, new_mock, other_site(tmp_path)).statements == 2
    assert asked == 1


def _to(location: str) -> Answerer:
    return lambda request, _data: request.answer(307, headers={"Location": location})


ELSEWHERE: dict[str, tuple[Answerer, str]] = {
    "another host": (_to("https://elsewhere.example/x"), "https://elsewhere.example, which nobody named"),
    "another port": (_to("http://127.0.0.1:1/x"), "which nobody named"),
    "this machine without encryption": (_to("http://localhost/x"), "which nobody named"),
    "a host without its scheme": (_to("//elsewhere.example/x"), "which nobody named"),
    "a file": (_to("file:///etc/passwd"), "which is no address"),
    "a file with a password": (_to("file://ci:word@localhost/etc/passwd"), "which is no address"),
    "a password in the address": (_to("https://ci:word@elsewhere.example/x"), "which is no address"),
    "FTP": (_to("ftp://elsewhere.example/x"), "which is no address"),
    "data": (_to("data:application/json,{}"), "which is no address"),
    "control characters": (_to("https://elsewhere.example/\x1b[2J"), "which is no address"),
    "a bomb": (
        lambda request, data: request.answer(200, gzip.compress(data + b" " * 2**24), {"Content-Encoding": "gzip"}),
        "with something packed"),
    "a bomb that nobody names": (
        lambda request, data: request.answer(200, gzip.compress(data + b" " * 2**24)), "."),
}  # fmt: skip


@pytest.mark.parametrize("what", ["/manifests/1.0.0", "/referrers/"])
@pytest.mark.parametrize("attack", ELSEWHERE)
def test_what_is_asked_for_is_elsewhere_or_packed(
    published: Published, new_mock: MockRegistry, tmp_path: Path, attack: str, what: str
) -> None:
    push(published, new_mock)
    act, reason = ELSEWHERE[attack]

    def twist(request: Request) -> bool:
        if request.command == "GET" and what in request.path:
            act(request, new_mock.manifests[new_mock.tags["1.0.0"]])
            return True
        return False

    new_mock.twist = twist
    refused_and_nothing_kept(published, new_mock, other_site(tmp_path), reason)


def test_nothing_leads_from_encrypted_to_not_encrypted() -> None:
    """Also the same host, and one that was allowed."""
    connection = RegistryConnection(parse_address("r.example").origin, None, also=frozenset({"cdn.example"}))
    assert connection.leads("https://cdn.example/x", "/v2/")[0].scheme == "https"
    for there in ("http://r.example/x", "http://cdn.example/x", "http://r.example:443/x", "http://cdn.example:443/x"):
        with pytest.raises(NotVerified, match="which nobody named"):
            connection.leads(there, "/v2/")


@pytest.mark.parametrize("lie", ["as something else", "as a withdrawal", "about another predicate"])
def test_what_a_statement_is_called_is_a_lie(
    published: Published, new_mock: MockRegistry, tmp_path: Path, lie: str
) -> None:
    """In the list it hides the statement, or says nothing; in the statement's manifest the signature says otherwise."""
    push(published, new_mock)
    site = other_site(tmp_path)
    if lie == "about another predicate":
        tag = new_mock.tags["1.0.0"]
        row = new_mock._index(tag)["manifests"][0]
        document = json.loads(new_mock.manifests.pop(row["digest"]))
        document["annotations"] = {"dev.sigstore.bundle.predicateType": "https://slsa.dev/verification_summary/v1"}
        data = json.dumps(document).encode()
        new_mock.manifests[f"sha256:{hashlib.sha256(data).hexdigest()}"] = data
        refused_and_nothing_kept(published, new_mock, site, "must be signed by verifier")
        return
    kind = "application/x" if lie == "as something else" else "application/vnd.assay.withdrawal.v1"
    lists(new_mock, lambda rows: [{**row, "artifactType": kind} for row in rows])
    if lie == "as something else":
        refused_and_nothing_kept(published, new_mock, site, "statement of tiny@1.0.0 is not there")
    else:
        assert pull(published, new_mock, site).statements == 2, "the manifest itself counts"


@pytest.mark.parametrize("where", ["artifactType", "annotation", "answer"])
def test_what_a_registry_says_does_nothing_to_a_terminal(
    published: Published, new_mock: MockRegistry, tmp_path: Path, where: str
) -> None:
    """Escape sequences and turned text are written out, in what the verb says."""
    push(published, new_mock)
    evil = "x\x1b[2J\x1b]0;gone\x07\u202e\x9b1A"
    trust = tmp_path / "trust.toml"
    write_trust(trust, published.trust(), replace=True)
    if where == "artifactType":
        on_tag(new_mock, lambda it: it.update(artifactType=evil))
    elif where == "annotation":
        tag = new_mock.tags["1.0.0"]
        row = new_mock._index(tag)["manifests"][0]
        document = json.loads(new_mock.manifests[row["digest"]])
        document["annotations"] = {"dev.sigstore.bundle.predicateType": evil}
        data = json.dumps(document).encode()
        new_mock.manifests[f"sha256:{hashlib.sha256(data).hexdigest()}"] = data
    else:
        new_mock.twist = lambda request: request.answer(418, evil.encode()) is None
    words = ["oci", "pull", "tiny@1.0.0", new_mock.url, "--board", BOARD, "--trust", str(trust)]
    done = CliRunner().invoke(main, [*words, "--site", str(tmp_path / "site")])
    assert done.exit_code == 4 and done.stdout == ""
    assert "\x1b" not in done.stderr and "\u202e" not in done.stderr and "\x9b" not in done.stderr, done.stderr
    if where != "answer":
        assert "\\u{1b}[2J" in done.stderr and "\\u{202e}" in done.stderr
    assert left(other_site(tmp_path)) == set()


def test_a_release_under_the_name_of_another_board(
    published: Published, new_mock: MockRegistry, tmp_path: Path
) -> None:
    """The right signatures, in the repository of a board that the project has, too."""
    push(published, new_mock)
    reason = r"tiny@1\.0\.0 for ast1030-evb, not tiny@1\.0\.0 for rv32-virt"
    with pytest.raises(NotVerified, match=reason):
        pull_release(
            other_site(tmp_path), "tiny", "1.0.0", "rv32-virt", Registry(new_mock.url), published.trust(), quiet
        )
