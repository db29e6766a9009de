# SPDX-License-Identifier: Apache-2.0
"""A registry that nobody trusts: each lie is refused with its reason and leaves nothing; each stop goes on."""

from __future__ import annotations

import gzip
import hashlib
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mock_registry import MockRegistry, Request
from published_release import Published

from assay.backends.registries import download as downloading
from assay.backends.registries.connection import RegistryConnection
from assay.errors import InfrastructureError, NotVerified, Refused, UsageFault
from assay.formats.registry_address import parse_address
from assay.model.statement import PredicateType
from assay.model.trust import TrustFile
from assay.pipeline.registry_transfer import Pulled, Registry, pull_release, push_release
from assay.pipeline.site import Site

BOARD = "ast1030-evb"


def quiet(_line: str) -> None:
    return


@pytest.fixture
def published(published: Published, made_trust: TrustFile) -> Published:
    published.trust = lambda **changes: made_trust.model_copy(update=changes)  # type: ignore[method-assign]
    return published


@pytest.fixture(autouse=True)
def no_passwords(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("ASSAY_REGISTRY_USER", "DOCKER_CONFIG", "NETRC", "XDG_RUNTIME_DIR", "REGISTRY_AUTH_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=[True, False], ids=["referrers", "tags"])
def mock(request: pytest.FixtureRequest) -> Iterator[MockRegistry]:
    registry = MockRegistry(referrers=request.param)
    yield registry
    registry.close()


@pytest.fixture
def new_mock() -> Iterator[MockRegistry]:
    registry = MockRegistry()
    yield registry
    registry.close()


def push(published: Published, mock: MockRegistry) -> None:
    release = published.site.store.find("tiny", None, BOARD)
    push_release(published.site, release, Registry(mock.url), quiet)


def pull(published: Published, mock: MockRegistry, site: Site, **more: object) -> Pulled:
    return pull_release(site, "tiny", "1.0.0", BOARD, Registry(mock.url, **more), published.trust(), quiet)  # type: ignore[arg-type]


def other_site(tmp_path: Path) -> Site:
    return Site(tmp_path / "other-site")


def left(site: Site) -> set[str]:
    files = (path for path in site.folder.rglob("*") if path.is_file())
    return {str(path.relative_to(site.folder)) for path in files} - {"incoming.lock"}


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


def refused_and_nothing_kept(published: Published, mock: MockRegistry, site: Site, reason: str) -> None:
    with pytest.raises(Refused, match=reason) as refused:
        pull(published, mock, site)
    assert refused.value.status == 4
    assert refused.value.remedy
    assert left(site) == set()


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


def test_stopped_at_any_byte_a_download_goes_on(tmp_path: Path, new_mock: MockRegistry) -> None:
    """One connection for each byte: what came is kept, and the rest is asked for."""
    data = bytes(range(97))
    sha256 = hashlib.sha256(data).hexdigest()
    new_mock.blobs[sha256] = data
    asked: list[str] = []

    def one_byte(request: Request) -> bool:
        asked.append(request.headers.get("Range", ""))
        at = int((asked[-1] or "bytes=0-")[6:-1])
        headers = {"Content-Range": f"bytes {at}-96/97"} if at else {}
        request.cut(data[at:], 1, 206 if at else 200, headers)
        return True

    new_mock.twist = one_byte
    downloading.download(connection(new_mock), f"/v2/x/blobs/sha256:{sha256}", sha256, 97, tmp_path / "blob")
    assert (tmp_path / "blob").read_bytes() == data
    assert asked == ["", *(f"bytes={at}-" for at in range(1, 97))]


@pytest.mark.parametrize("have", [1, 50, 96, 97, 98])
@pytest.mark.parametrize("right", [True, False])
def test_a_part_from_before_is_gone_on_with_whatever_it_holds(
    tmp_path: Path, new_mock: MockRegistry, have: int, right: bool
) -> None:
    """A killed process leaves a part; one that is wrong is found by the digest, and costs one more download."""
    data = bytes(range(97))
    sha256 = hashlib.sha256(data).hexdigest()
    new_mock.blobs[sha256] = data
    (tmp_path / "blob.part").write_bytes(((data + b"x") if right else bytes(98))[:have])
    downloading.download(connection(new_mock), f"/v2/x/blobs/sha256:{sha256}", sha256, 97, tmp_path / "blob")
    assert (tmp_path / "blob").read_bytes() == data
    assert not (tmp_path / "blob.part").exists()


@pytest.mark.parametrize("wrong", ["bytes 0-96/97", "bytes 51-96/97", "bytes 50-90/97", "bytes 50-96/*, x", ""])
def test_other_bytes_than_those_asked_for(tmp_path: Path, new_mock: MockRegistry, wrong: str) -> None:
    data = bytes(range(97))
    sha256 = hashlib.sha256(data).hexdigest()
    (tmp_path / "blob.part").write_bytes(data[:50])

    def twist(request: Request) -> bool:
        request.answer(206, data[50:], {"Content-Range": wrong})
        return True

    new_mock.twist = twist
    with pytest.raises(NotVerified, match="other bytes of the blob"):
        downloading.download(connection(new_mock), "/v2/x/blobs/x", sha256, 97, tmp_path / "blob")


def test_a_registry_that_never_ends_a_blob_is_given_up(tmp_path: Path, new_mock: MockRegistry) -> None:
    def twist(request: Request) -> bool:
        request.cut(bytes(97), 0)
        return True

    new_mock.twist = twist
    with pytest.raises(InfrastructureError, match="before the blob is whole"):
        downloading.download(connection(new_mock), "/v2/x/blobs/x", "0" * 64, 97, tmp_path / "blob")
    assert len(new_mock.seen) == downloading.ATTEMPTS


def connection(mock: MockRegistry) -> RegistryConnection:
    return RegistryConnection(parse_address(mock.url).origin, None, timeout_s=5.0)


def test_an_upload_that_is_cut_goes_on_from_what_the_registry_has(
    published: Published, new_mock: MockRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assay.backends.registries.upload.UPLOAD_BYTES", 1000)
    cut: list[str] = []

    def twist(request: Request) -> bool:
        if request.command == "PATCH" and len(cut) < 3:
            cut.append(request.path)
            new_mock._uploads[request.path] += request.body  # it has the piece, and the answer is lost
            request.connection.shutdown(socket.SHUT_RDWR)
            request.close_connection = True
            return True
        return False

    new_mock.twist = twist
    push(published, new_mock)
    assert len(cut) == 3
    for name, data in new_mock.blobs.items():
        assert hashlib.sha256(data).hexdigest() == name
    pull(published, new_mock, other_site(tmp_path))


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


@pytest.mark.parametrize("kind", ["basic", "bearer"])
def test_the_password_goes_to_the_registry_and_to_nobody_else(
    published: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    secret = tmp_path / "password"
    secret.write_text("s3cret-w0rd\n")
    monkeypatch.setenv("ASSAY_REGISTRY_USER", "ci")
    monkeypatch.setenv("ASSAY_REGISTRY_PASSWORD_FILE", str(secret))
    mock, elsewhere = MockRegistry(), MockRegistry()
    realm = f"{mock.url}/token" if kind == "basic" else f"http://{elsewhere.host}/token"

    def twist(request: Request) -> bool:
        if request.headers.get("Authorization") == "Basic Y2k6czNjcmV0LXcwcmQ=":
            return False
        challenge = 'Basic realm="x"' if kind == "basic" else f'Bearer realm="{realm}",service="x",scope="y"'
        request.answer(401, headers={"WWW-Authenticate": challenge})
        return True

    mock.twist = twist
    if kind == "basic":
        push(published, mock)
        on = mock.twist
        mock.twist = lambda request: on(request) or _sent_on(request, elsewhere)
        with pytest.raises(Refused, match="which nobody named") as refused:
            pull(published, mock, other_site(tmp_path))
    else:
        with pytest.raises(Refused, match="which nobody named") as refused:
            push(published, mock)
    assert elsewhere.seen == []
    assert "s3cret" not in str(refused.value) + "".join(capfd.readouterr())
    secret.write_text("wrong")
    mock.twist = twist
    if kind == "basic":
        with pytest.raises(Refused, match="does not take the password of ci"):
            pull(published, mock, other_site(tmp_path))
    mock.close()
    elsewhere.close()


@pytest.mark.parametrize("given_for", ["the registry", "the token service", "netrc"])
def test_the_password_goes_to_a_token_service_elsewhere_only_if_it_was_given_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given_for: str
) -> None:
    """`--also` names a host that blobs may come from; it is nobody who is told the password."""
    secret, home = tmp_path / "password", tmp_path / "home"
    secret.write_text("s3cret")
    home.mkdir()
    monkeypatch.setenv("ASSAY_REGISTRY_USER", "ci")
    monkeypatch.setenv("ASSAY_REGISTRY_PASSWORD_FILE", str(secret))
    if given_for == "the token service":
        monkeypatch.setenv("ASSAY_REGISTRY_TOKEN_HOST", "tokens.example")
    elif given_for == "netrc":
        (home / ".netrc").write_text("machine tokens.example login ned password theirs\n")
        (home / ".netrc").chmod(0o600)
    sent: list[tuple[str, str | None]] = []

    class Told(Exception):
        pass

    class Connection:
        def __init__(self, host: str) -> None:
            self.host = host

        def request(self, _method: str, _path: str, headers: dict[str, str]) -> None:
            sent.append((self.host, headers.get("Authorization")))
            raise Told

        def close(self) -> None:
            return

    client = Registry("registry.example/x", also=frozenset({"tokens.example"})).client("b", "n")
    registry = client._connection
    monkeypatch.setattr(registry, "_connect", lambda origin: Connection(origin.host))
    with pytest.raises(Told):
        registry._token('Bearer realm="https://tokens.example/t",service="x"')
    known = {"the registry": None, "the token service": "Basic Y2k6czNjcmV0", "netrc": "Basic bmVkOnRoZWlycw=="}
    assert sent == [("tokens.example", known[given_for])]
    with pytest.raises(Refused, match="which nobody named"):
        registry._token('Bearer realm="http://tokens.example/t",service="x"')


def _sent_on(request: Request, elsewhere: MockRegistry) -> bool:
    request.answer(307, headers={"Location": f"http://{elsewhere.host}/x"})
    return True


def test_a_token_of_the_registrys_own(published: Published, new_mock: MockRegistry, tmp_path: Path) -> None:
    """Without a password too: registries give tokens to anybody for what is public."""

    def twist(request: Request) -> bool:
        if request.path.startswith("/token?"):
            request.answer(200, b'{"token": "t0ken"}')
            return True
        if request.headers.get("Authorization") == "Bearer t0ken":
            return False
        challenge = f'Bearer realm="http://{new_mock.host}/token",service="x",scope="repository:a:pull"'
        request.answer(401, headers={"WWW-Authenticate": challenge})
        return True

    new_mock.twist = twist
    push(published, new_mock)
    assert pull(published, new_mock, other_site(tmp_path)).statements == 2
    asked = [path for _, path, _ in new_mock.seen if path.startswith("/token")]
    assert asked[0] == "/token?service=x&scope=repository%3Aa%3Apull"


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
