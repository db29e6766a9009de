# SPDX-License-Identifier: Apache-2.0
"""What stands where a log or a time stamp authority should: no HTTP, a trickle, an address of somebody else."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Iterator
from itertools import repeat

import pytest

from assay.backends.logs import rekor_client
from assay.backends.logs.rekor_client import Services, log_key_signature
from assay.errors import InfrastructureError, Refused

TIMEOUT_S = 60.0
SHORT_S = 0.5


def whole_request(connection: socket.socket) -> bytes:
    """Head and body, which come in pieces; who closes with some unread takes the answer back with it."""
    asked, length = b"", 0
    while not (head := asked.partition(b"\r\n\r\n"))[1] or len(head[2]) < length:
        data = connection.recv(65536)
        if not data:
            break
        asked += data
        found = re.search(rb"(?i)content-length: *(\d+)", asked)
        length = int(found[1]) if found else 0
    return asked


@contextlib.contextmanager
def server(*answers: Iterator[bytes] | list[bytes]) -> Iterator[tuple[str, list[bytes]]]:
    """Answers one connection after the other with these bytes, 20 to the second, and keeps what was asked."""
    asked: list[bytes] = []
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for answer in answers:
            with contextlib.suppress(OSError):
                connection, _ = listening.accept()
                with connection:
                    asked.append(whole_request(connection))
                    for piece in answer:
                        connection.sendall(piece)
                        time.sleep(0.05)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", asked
    finally:
        listening.close()


def ask(url: str, within_s: float = TIMEOUT_S) -> object:
    return log_key_signature(Services(url, url), b"s", b"d" * 32, b"k", within_s)


def test_an_answer() -> None:
    with server([b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n", b'{"a": 1}']) as (url, _):
        assert ask(url) == {"a": 1}


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 500 Oh\r\n\r\n",
        b"",
    ],
    ids=["another protocol", "no status", "cut short", "no chunks", "many headers", "out of order", "nothing"],
)
def test_what_is_no_answer(answer: bytes) -> None:
    with server([answer]) as (url, _), pytest.raises(InfrastructureError, match=r"does not answer|is out of order"):
        ask(url)


def test_what_the_log_refuses() -> None:
    with server([b"HTTP/1.1 400 Bad\r\n\r\n"]) as (url, _), pytest.raises(Refused, match="HTTP 400"):
        ask(url)


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_an_answer_that_trickles_has_an_end(head: bytes) -> None:
    """The keys' folder is locked meanwhile."""
    started = time.monotonic()
    with (
        server(piece for part in ([head], repeat(b"x", 2000)) for piece in part) as (url, _),
        pytest.raises(InfrastructureError, match="does not answer"),
    ):
        ask(url, SHORT_S)
    assert time.monotonic() - started < 30


def test_a_redirect_is_not_followed() -> None:
    with server([b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"]) as (other, asked):
        to = f"HTTP/1.1 302 Found\r\nLocation: {other}/x\r\nContent-Length: 0\r\n\r\n".encode()
        with server([to]) as (url, _), pytest.raises(InfrastructureError, match="HTTP 302"):
            ask(url)
        assert asked == []


def test_an_answer_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rekor_client, "ANSWER_BYTES_MAX", 100)
    with (
        server([b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 200]) as (url, _),
        pytest.raises(InfrastructureError, match="more than 100 bytes"),
    ):
        ask(url)
