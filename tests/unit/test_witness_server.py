# SPDX-License-Identifier: Apache-2.0
"""A witness over HTTP: what it answers, what it survives, and how a site asks it."""

from __future__ import annotations

import http.client
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from witness_bench import Bench, policy_of

from assay.backends.logs import witness_server
from assay.backends.logs.tile_folder import COSIGNED_FOLDER
from assay.backends.logs.witness_client import ask_witness
from assay.backends.logs.witness_server import WitnessServer
from assay.errors import InfrastructureError, NotVerified, Refused, UsageFault
from assay.formats import trust_file
from assay.model.witness import Witness, WitnessPolicy
from assay.pipeline.log_cosign import cosign
from assay.stages.records.witness import WitnessDesk


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    found = Bench(tmp_path)
    found.append(5)
    return found


@dataclass
class Served:
    url: str
    said: list[str]


@pytest.fixture
def served(bench: Bench) -> Iterator[tuple[WitnessDesk, Served]]:
    desk, said = bench.desk(), list[str]()
    server = WitnessServer("127.0.0.1", 0, desk.add_checkpoint, said.append)
    thread = threading.Thread(target=server.serve)
    thread.start()
    yield desk, Served(f"http://127.0.0.1:{server.port}", said)
    server.stop()
    thread.join()
    server.close()


def test_a_log_is_cosigned_over_http(bench: Bench, served: tuple[WitnessDesk, Served]) -> None:
    desk, at = served
    policy = policy_of(1, desk, url=at.url)
    for size, more in ((5, 0), (5, 0), (265, 260), (266, 1)):
        bench.append(more)
        (found,) = cosign(bench.reader, bench.trusted.vkey, policy, ())
        assert (found.error, found.size) == (None, size)
        report = bench.verify(bench.reader, policy)
        assert (report.faults, report.witnessed) == ([], size)
        if size == 5:  # what is kept here is lost: the witness says what it has seen
            shutil.rmtree(bench.reader.folder / COSIGNED_FOLDER)
    bench.append(3)
    report = bench.verify(bench.reader, policy)
    assert (report.faults, report.witnessed, report.witnesses[0].time_s) == ([], 266, bench.clock.time_s)


def test_a_site_that_was_set_back_or_rewritten_asks_a_witness(bench: Bench, served: tuple[WitnessDesk, Served]) -> None:
    desk, at = served
    policy = policy_of(1, desk, url=at.url)
    bench.append(4)
    cosign(bench.reader, bench.trusted.vkey, policy, ())
    for name, size, words in (
        ("short", 5, "has cosigned 9 entries of this log, which has 5: it was set back"),
        ("same", 9, "two histories of one log"),
        ("long", 12, "does not continue the log of size 9"),
    ):
        (found,) = cosign(bench.fork(name, size), bench.trusted.vkey, policy, ())
        assert isinstance(found.error, Refused)
        assert words in found.error.message


def test_what_is_wrong_with_a_request_does_not_end_the_server(served: tuple[WitnessDesk, Served], bench: Bench) -> None:
    _, at = served
    port = int(at.url.rpartition(":")[2])
    for method, path, body, headers, status in (
        ("GET", "/add-checkpoint", None, {}, 404),
        ("POST", "/", b"old 0\n", {}, 404),
        ("POST", "/add-checkpoint", b"x", {"Content-Length": "1000000"}, 413),
        ("POST", "/add-checkpoint", b"x", {"Content-Length": "9" * 40}, 413),
        ("POST", "/add-checkpoint", b"x", {"Content-Length": "-1"}, 400),
        ("POST", "/add-checkpoint", b"\xff\x00", {}, 400),
        ("DELETE", "/add-checkpoint", None, {}, 501),
    ):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request(method, path, body, headers)
        assert connection.getresponse().status == status, (method, path, headers)
        connection.close()
    half = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    half.request("POST", "/add-checkpoint", b"old 0", {"Content-Length": "100"})
    half.close()
    assert ask_witness(at.url, bench.request(0)).status == 200


@pytest.mark.parametrize(
    "start",
    [b"", b"POST /add-checkpoint HTTP/1.1\r\n", b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: 1000\r\n\r\n"],
    ids=["the line", "the headers", "the body"],
)
def test_clients_that_trickle_hold_nobody_off(
    bench: Bench, served: tuple[WitnessDesk, Served], monkeypatch: pytest.MonkeyPatch, start: bytes
) -> None:
    """Each byte comes long before a time-out; the request as a whole does not."""
    monkeypatch.setattr(witness_server, "READ_TIMEOUT_S", 0.5)
    _, at = served
    where = ("127.0.0.1", int(at.url.rpartition(":")[2]))
    slow = [socket.create_connection(where) for _ in range(witness_server.CONNECTIONS_MAX)]
    try:
        for each in slow:
            each.sendall(start)
        end = time.monotonic() + 60
        while slow and time.monotonic() < end:
            slow = [each for each in slow if trickled(each)]
            time.sleep(0.05)
        assert not slow
        monkeypatch.undo()
        assert ask_witness(at.url, bench.request(0)).status == 200
    finally:
        for each in slow:
            each.close()


def trickled(connection: socket.socket) -> bool:
    """One byte more, unless the other side has closed."""
    try:
        connection.sendall(b"x")
    except OSError:
        connection.close()
        return False
    return True


def test_several_requests_over_one_connection(bench: Bench, served: tuple[WitnessDesk, Served]) -> None:
    _, at = served
    connection = http.client.HTTPConnection("127.0.0.1", int(at.url.rpartition(":")[2]), timeout=60)
    for _ in range(3):
        connection.request("POST", "/add-checkpoint", bench.request(0))
        answer = connection.getresponse()
        answer.read()
        assert answer.status in (200, 409)
    connection.close()


def test_a_witness_that_is_out_of_order(bench: Bench, served: tuple[WitnessDesk, Served]) -> None:
    desk, at = served
    policy = policy_of(1, desk, url=at.url)
    cosign(bench.reader, bench.trusted.vkey, policy, ())
    bench.clock.time_s = 0
    (found,) = cosign(bench.reader, bench.trusted.vkey, policy, ())
    assert isinstance(found.error, InfrastructureError)
    assert any("the clock went back" in line for line in at.said)
    away = policy_of(1, desk, url="http://127.0.0.1:1")
    (found,) = cosign(bench.reader, bench.trusted.vkey, away, ())
    assert isinstance(found.error, InfrastructureError)
    (found,) = cosign(bench.reader, bench.trusted.vkey, policy_of(1, desk), ())
    assert isinstance(found.error, UsageFault)


def test_an_answer_of_somebody_else_is_not_kept(bench: Bench, served: tuple[WitnessDesk, Served]) -> None:
    _, at = served
    (found,) = cosign(bench.reader, bench.trusted.vkey, policy_of(1, bench.desk("w2"), url=at.url), ())
    assert isinstance(found.error, NotVerified)
    assert bench.reader.cosigned() == {}


def test_the_served_witness_ends_when_it_is_told(tmp_path: Path) -> None:
    """`assay log witness` as a process: it says where it is, cosigns, and ends well."""
    bench = Bench(tmp_path)
    trust = tmp_path / "trust.toml"
    trust.write_bytes(trust_file.encode(bench.trust))
    command = [sys.executable, "-m", "assay", "log", "witness", "--site", tmp_path / "other", "--trust", trust]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as witness:
        try:
            assert witness.stderr is not None
            url = witness.stderr.readline().split(" at ")[1].strip()
            vkey = witness.stderr.readline().split()[1]
            policy = WitnessPolicy(schema="assay.witnesses/1", threshold=1, witnesses=(Witness(vkey=vkey, url=url),))
            (found,) = cosign(bench.reader, bench.trusted.vkey, policy, ())
            assert found.error is None
        finally:
            witness.terminate()
        assert witness.wait(60) == 0
