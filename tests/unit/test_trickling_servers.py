# SPDX-License-Identifier: Apache-2.0
"""Servers that give a byte now and then: each answer of a registry and of a repository has an end, its headers too."""

from __future__ import annotations

import hashlib
import itertools
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from assay.backends.registries import connection as registry_connection
from assay.backends.registries.client import RegistryClient
from assay.backends.registries.connection import RegistryConnection
from assay.backends.registries.download import download
from assay.backends.repository import sources
from assay.backends.repository.sources import HttpSource
from assay.errors import InfrastructureError, LinkError
from assay.formats.registry_address import Origin

BODY = b"x" * 100
LONG_S = 10.0
"""Seconds that pass between two bytes, by the clock that the client is given."""

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n"
ANSWERS = {
    "body": (HEAD + b"\r\n", BODY),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 30 + b"0\r\n\r\n"),
    "headers": (HEAD, b"X: " + b"y" * 100 + b"\r\n\r\n" + BODY),
    "status": (b"HTTP/1.1 ", b"200 OK" + b" " * 100 + b"\r\nContent-Length: 0\r\n\r\n"),
    "refused log-in": (b"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic\r\nContent-Length: 100\r\n\r\n", BODY),
}
"""What comes at once, and what comes byte by byte."""


class Dripping:
    """Answers each request with `at_once`, then with `slowly`, byte by byte."""

    def __init__(self) -> None:
        self.at_once, self.slowly, self.asked = b"", b"", 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                client.recv(65536)
                self.asked += 1
                self._drip(client)

    def _drip(self, client: socket.socket) -> None:
        try:
            client.sendall(self.at_once)
            for at in range(len(self.slowly)):
                time.sleep(0.002)
                client.sendall(self.slowly[at : at + 1])
        except OSError:
            return

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def dripping() -> Iterator[Dripping]:
    server = Dripping()
    yield server
    server.close()


def slow_clock() -> Iterator[float]:
    return (count * LONG_S for count in itertools.count())


def connected(server: Dripping) -> RegistryConnection:
    ticks = slow_clock()
    return RegistryConnection(Origin("http", "127.0.0.1", server.port), None, clock=lambda: next(ticks), timeout_s=20.0)


@pytest.mark.parametrize("where", ANSWERS)
def test_a_registry_that_trickles_an_answer_is_given_up(dripping: Dripping, where: str) -> None:
    dripping.at_once, dripping.slowly = ANSWERS[where]
    with pytest.raises(InfrastructureError, match="less than 1024 bytes a second") as caught:
        RegistryClient(connected(dripping), "x").manifest("1.0.0")
    assert caught.value.remedy


def test_a_registry_that_trickles_its_list_of_statements_is_given_up(dripping: Dripping) -> None:
    from assay.formats.oci_layout import Descriptor

    dripping.at_once, dripping.slowly = ANSWERS["body"]
    subject = Descriptor(mediaType="x/y", digest=f"sha256:{'0' * 64}", size=1)
    with pytest.raises(InfrastructureError, match="less than 1024 bytes a second"):
        RegistryClient(connected(dripping), "x").referrers(subject)


def test_a_token_service_that_trickles_is_given_up(dripping: Dripping) -> None:
    dripping.at_once = b""
    realm = f"http://127.0.0.1:{dripping.port}/token"
    challenge = f'HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer realm="{realm}"\r\nContent-Length: 0\r\n\r\n'
    registry = connected(dripping)
    dripping.at_once = challenge.encode()

    def then_slow(client: socket.socket) -> None:
        if dripping.asked == 1:
            client.sendall(dripping.at_once)
            return
        dripping.at_once, dripping.slowly = ANSWERS["body"]
        Dripping._drip(dripping, client)

    dripping._drip = then_slow  # type: ignore[method-assign]
    with pytest.raises(InfrastructureError, match="less than 1024 bytes a second"):
        RegistryClient(registry, "x").manifest("1.0.0")
    assert dripping.asked == 2


def test_a_registry_that_trickles_a_blob_is_given_up_each_time(dripping: Dripping, tmp_path: Path) -> None:
    """What came is kept: the next try has the rest to get."""
    dripping.at_once, dripping.slowly = ANSWERS["status"]
    digest = hashlib.sha256(BODY).hexdigest()
    with pytest.raises(InfrastructureError, match="less than 1024 bytes a second"):
        download(connected(dripping), "/v2/x/blobs/x", digest, len(BODY), tmp_path / "blob")


def test_a_registry_that_says_to_go_on_without_end_is_given_up(dripping: Dripping) -> None:
    dripping.at_once = b"HTTP/1.1 100 Continue\r\n\r\n" * 50_000 + HEAD + b"\r\n" + BODY
    registry = RegistryConnection(Origin("http", "127.0.0.1", dripping.port), None)
    with pytest.raises(InfrastructureError, match="before the body"):
        RegistryClient(registry, "x").manifest("1.0.0")


@pytest.mark.parametrize("where", ["body", "chunks", "headers", "status"])
def test_a_repository_that_trickles_is_given_up(
    dripping: Dripping, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    ticks = slow_clock()
    dripping.at_once, dripping.slowly = ANSWERS[where]
    source = HttpSource(f"http://127.0.0.1:{dripping.port}", clock=lambda: next(ticks))
    with pytest.raises(LinkError, match="less than 200 bytes a second"):
        list(source.read("metadata/timestamp.json"))


def test_who_keeps_the_pace_is_not_given_up(dripping: Dripping) -> None:
    dripping.at_once, dripping.slowly = HEAD + b"\r\n", BODY
    registry = RegistryConnection(Origin("http", "127.0.0.1", dripping.port), None)
    assert registry.ask("GET", "/").body == BODY
    assert b"".join(HttpSource(f"http://127.0.0.1:{dripping.port}").read("x")) == BODY
    assert registry_connection.PACE.grace_s > sources.SILENT_S
