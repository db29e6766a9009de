# SPDX-License-Identifier: Apache-2.0
"""Whom the password of a registry is told, and tokens that anybody gets."""

from __future__ import annotations

from pathlib import Path

import pytest
from mock_registry import MockRegistry, Request
from published_release import Published
from registry_bench import new_mock, no_passwords, other_site, published, pull, push

from assay.errors import Refused
from assay.pipeline.registry_transfer import Registry

__all__ = ["new_mock", "no_passwords", "published"]


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
