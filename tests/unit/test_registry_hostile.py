# SPDX-License-Identifier: Apache-2.0
"""A registry that nobody trusts: each lie is refused with its reason and leaves nothing."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from mock_registry import MockRegistry, Request
from published_release import Published
from registry_bench import (
    BOARD,
    left,
    mock,
    new_mock,
    no_passwords,
    other_site,
    published,
    pull,
    push,
    quiet,
    refused_and_nothing_kept,
)

from assay.errors import NotVerified, Refused, UsageFault
from assay.formats.registry_address import parse_address
from assay.model.statement import PredicateType
from assay.pipeline.registry_transfer import Registry, pull_release

__all__ = ["mock", "new_mock", "no_passwords", "published"]


def test_what_is_pushed_is_pulled_with_its_statements(published: Published, mock: MockRegistry, tmp_path: Path) -> None:
    push(published, mock)
    site = other_site(tmp_path)
    done = pull(published, mock, site)
    assert done.release == published.site.store.find("tiny", None, BOARD) == site.store.find("tiny", None, BOARD)
    assert done.statements == 2
    before = left(site)
    pull(published, mock, site)
    assert left(site) == before
    sent = len(mock.seen)
    push(published, mock)
    assert not [each for each in mock.seen[sent:] if each[0] in ("POST", "PATCH")], "no blob is sent twice"


def test_a_pull_outside_of_a_project_asks_for_nothing(
    published: Published, new_mock: MockRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot be verified there: that is said before anything is loaded. So is a board that the project lacks."""
    push(published, new_mock)
    asked, site, empty = len(new_mock.seen), other_site(tmp_path), tmp_path / "empty"
    registry, trust = Registry(new_mock.url), published.trust()
    with pytest.raises(UsageFault, match=r"there is no boards/other\.toml"):
        pull_release(site, "tiny", "1.0.0", "other", registry, trust, quiet)
    empty.mkdir()
    monkeypatch.chdir(empty)
    with pytest.raises(UsageFault, match="lies in no project"):
        pull(published, new_mock, site)
    assert len(new_mock.seen) == asked and not site.folder.exists()


def _flip(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def largest(mock: MockRegistry) -> str:
    return max(mock.blobs, key=lambda each: len(mock.blobs[each]))


def on_blob(mock: MockRegistry, act: Callable[[Request, bytes], None]) -> None:
    """`act` answers for the largest blob, which is the image."""
    name = largest(mock)

    def twist(request: Request) -> bool:
        if request.command == "GET" and request.path.endswith(name):
            act(request, mock.blobs[name])
            return True
        return False

    mock.twist = twist


def on_manifest(mock: MockRegistry, tag: str, change: Callable[[bytes], bytes]) -> None:
    """The manifest under `tag` comes changed."""

    def twist(request: Request) -> bool:
        if request.command == "GET" and request.path.endswith(f"/manifests/{tag}"):
            request.answer(200, change(mock.manifests[mock.tags[tag]]))
            return True
        return False

    mock.twist = twist


def _elsewhere(request: Request, _data: bytes) -> None:
    request.answer(307, headers={"Location": "https://elsewhere.example/blob"})


def _ring(request: Request, _data: bytes) -> None:
    request.answer(302, headers={"Location": request.path})


def _endless(request: Request, data: bytes) -> None:
    """No length is said, and it goes on."""
    request.send_response(200)
    request.send_header("Connection", "close")
    request.end_headers()
    request.close_connection = True
    try:
        for _ in range(100_000):
            request.wfile.write(data)
    except OSError:
        return


ON_BLOB: dict[str, tuple[Callable[[Request, bytes], None], str]] = {
    "wrong digest": (lambda request, data: request.answer(200, _flip(data)), "gives other bytes"),
    "truncated, and it says so": (lambda request, data: request.answer(200, data[:-1]), "it is said to have"),
    "repeated": (lambda request, data: request.answer(200, data + data), "it is said to have"),
    "endless": (_endless, "gives more than"),
    "redirect elsewhere": (_elsewhere, "leads to https://elsewhere.example, which nobody named"),
    "redirect to a file": (
        lambda request, _data: request.answer(307, headers={"Location": "file:///etc/passwd"}), "is no address"),
    "redirect with a password": (
        lambda request, _data: request.answer(307, headers={"Location": "https://a:b@elsewhere.example/"}), "no addr"),
    "redirect in a ring": (_ring, "from one address to the next"),
    "packed": (
        lambda request, data: request.answer(200, gzip.compress(data), {"Content-Encoding": "gzip"}), "packed"),
    "missing": (lambda request, _data: request.answer(404), "lacks"),
}  # fmt: skip


@pytest.mark.parametrize("attack", ON_BLOB)
def test_a_registry_that_lies_about_a_blob(
    published: Published, new_mock: MockRegistry, tmp_path: Path, attack: str
) -> None:
    push(published, new_mock)
    act, reason = ON_BLOB[attack]
    on_blob(new_mock, act)
    refused_and_nothing_kept(published, new_mock, other_site(tmp_path), reason)
    new_mock.twist = lambda _request: False
    pull(published, new_mock, other_site(tmp_path))


def _changed(**changes: object) -> Callable[[bytes], bytes]:
    return lambda data: json.dumps({**json.loads(data), **changes}).encode()


def _huge(data: bytes) -> bytes:
    document = json.loads(data)
    document["layers"][0]["size"] = 2**40
    return json.dumps(document).encode()


ON_MANIFEST: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "another type": (_changed(artifactType="application/x"), "is no release"),
    "no JSON": (lambda _data: b"<html>", "strict JSON"),
    "too long": (lambda data: data + b" " * 5_000_000, "with more than"),
    "other layers": (_changed(layers=[]), "another image than its release"),
    "a size of a terabyte": (_huge, "more than a release may have"),
    "a manifest that was spelled anew": (lambda data: data + b" ", "statement of tiny@1.0.0 is not there"),
}


@pytest.mark.parametrize("attack", ON_MANIFEST)
def test_a_registry_that_lies_about_the_release(
    published: Published, new_mock: MockRegistry, tmp_path: Path, attack: str
) -> None:
    push(published, new_mock)
    change, reason = ON_MANIFEST[attack]
    on_manifest(new_mock, "1.0.0", change)
    refused_and_nothing_kept(published, new_mock, other_site(tmp_path), reason)


def test_a_digest_that_is_not_the_manifests(published: Published, new_mock: MockRegistry, tmp_path: Path) -> None:
    push(published, new_mock)

    def twist(request: Request) -> bool:
        if request.command == "GET" and request.path.endswith("/manifests/1.0.0"):
            data = new_mock.manifests[new_mock.tags["1.0.0"]]
            request.answer(200, data, {"Docker-Content-Digest": f"sha256:{'0' * 64}"})
            return True
        return False

    new_mock.twist = twist
    refused_and_nothing_kept(published, new_mock, other_site(tmp_path), "gives another manifest for 1.0.0")


def test_a_tag_that_was_moved_to_another_version(published: Published, new_mock: MockRegistry, tmp_path: Path) -> None:
    """Mix and match, and rollback: the right signatures under the wrong name."""
    push(published, new_mock)
    new_mock.tags["2.0.0"] = new_mock.tags["1.0.0"]
    with pytest.raises(NotVerified, match=r"tiny@1\.0\.0 for ast1030-evb, not tiny@2\.0\.0"):
        pull_release(other_site(tmp_path), "tiny", "2.0.0", BOARD, Registry(new_mock.url), published.trust(), quiet)


@pytest.mark.parametrize("how", ["hidden", "twice", "of something else", "another statement's bytes"])
def test_statements_that_are_hidden_repeated_or_exchanged(
    published: Published, new_mock: MockRegistry, tmp_path: Path, how: str
) -> None:
    push(published, new_mock)
    real = new_mock._index

    def index(digest: str) -> dict[str, object]:
        found = real(digest)
        rows = found["manifests"]
        if how == "hidden":
            found["manifests"] = rows[:1]
        elif how == "twice":
            found["manifests"] = [rows[0], *rows]
        elif how == "of something else":
            manifest = json.loads(new_mock.manifests[rows[0]["digest"]])
            manifest["subject"]["digest"] = f"sha256:{'1' * 64}"
            data = json.dumps(manifest).encode()
            other = f"sha256:{hashlib.sha256(data).hexdigest()}"
            new_mock.manifests[other] = data
            found["manifests"] = [{**rows[0], "digest": other, "size": len(data)}, *rows[1:]]
        else:
            new_mock.manifests[rows[0]["digest"]] = new_mock.manifests[rows[1]["digest"]]
        return found

    new_mock._index = index  # type: ignore[method-assign]
    reasons = {
        "hidden": "statement of tiny@1.0.0 is not there",
        "twice": "twice",
        "of something else": "about something else",
        "another statement's bytes": "gives another manifest",
    }
    refused_and_nothing_kept(published, new_mock, other_site(tmp_path), reasons[how])


@pytest.mark.parametrize("where", ["https://elsewhere.example/up", "//elsewhere.example/up"])
def test_an_upload_is_sent_nowhere_else(published: Published, new_mock: MockRegistry, where: str) -> None:
    def twist(request: Request) -> bool:
        if request.command == "POST":
            request.answer(202, headers={"Location": where})
            return True
        return False

    new_mock.twist = twist
    with pytest.raises(Refused, match=r"elsewhere\.example"):
        push(published, new_mock)


def test_a_tag_that_is_there_is_not_moved(published: Published, new_mock: MockRegistry) -> None:
    push(published, new_mock)
    new_mock.manifests["sha256:other"] = new_mock.manifests[new_mock.tags["1.0.0"]] + b" "
    new_mock.tags["1.0.0"] = "sha256:other"
    with pytest.raises(Refused, match="is another release"):
        push(published, new_mock)


@pytest.mark.parametrize(
    "address",
    ["http://registry.example.com/x", "https://ci:word@registry.example.com", "ftp://x", "", "x/UPPER", "x/../y",
     "x/y?z=1", "https://x:99999/y", "a b/c"],
)  # fmt: skip
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(UsageFault) as fault:
        parse_address(address)
    assert "word" not in str(fault.value).replace("password", "")


def test_who_is_withdrawn_is_not_pushed_and_not_pulled(
    published: Published, new_mock: MockRegistry, tmp_path: Path
) -> None:
    from assay.pipeline.withdrawing import withdraw

    push(published, new_mock)
    withdraw(published.site, "tiny@1.0.0", BOARD, "it overheats")
    fresh = MockRegistry()
    with pytest.raises(Refused, match="withdrawn"):
        push(published, fresh)
    push(published, new_mock)  # the withdrawal goes to where the release is
    refused_and_nothing_kept(published, new_mock, other_site(tmp_path), "overheats")
    published.site.signers.close()  # type: ignore[attr-defined]
    fresh.close()


def test_statements_that_nobody_trusted_signed(published: Published, new_mock: MockRegistry, tmp_path: Path) -> None:
    release = published.site.store.find("tiny", None, BOARD)
    published.site.store.attach(release, PredicateType.SUMMARY.value, b"{}")
    push(published, new_mock)
    refused_and_nothing_kept(published, new_mock, other_site(tmp_path), ".")
