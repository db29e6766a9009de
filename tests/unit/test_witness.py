# SPDX-License-Identifier: Apache-2.0
"""Witnesses: what they cosign and what they refuse, over HTTP and on a stick, and what a log is worth with them."""

from __future__ import annotations

import base64
import http.client
import json
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from memory_signer import MemorySigner, trust_in

from assay.backends.clocks.system_clock import SystemClock
from assay.backends.logs import witness_server
from assay.backends.logs.tile_folder import COSIGNED_FOLDER, TileFolder
from assay.backends.logs.tile_log import TileLog
from assay.backends.logs.witness_client import ask_witness
from assay.backends.logs.witness_heads import WitnessHeads
from assay.backends.logs.witness_server import WitnessServer
from assay.cli.main import main
from assay.errors import InfrastructureError, ManifestFault, NotVerified, Refused, StorageError, UsageFault
from assay.formats import checkpoint, cosignature, signed_note, trust_file, witness_request
from assay.formats.checkpoint import Checkpoint
from assay.formats.public_key import raw_ed25519
from assay.formats.signed_note import COSIGNATURE, VerifierKey
from assay.formats.witness_request import WitnessRequest
from assay.model.trust import Role, TrustFile
from assay.model.witness import SIZE_TYPE, Witness, WitnessPolicy
from assay.pipeline.log_cosign import cosign, cosign_folder
from assay.pipeline.witness_policy import load_policy
from assay.stages.records.log_report import LogReport
from assay.stages.records.witness import WitnessDesk
from assay.stages.records.witnessed import Elsewhere, check_elsewhere

# The example of c2sp.org/tlog-cosignature: the key id and the layout of the line are theirs.
SPEC_LINE = (
    "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+"
    "mbIUBkBIfZ+qnA==\n"
)
SPEC_TIME_S = 1679315147


class SetClock(SystemClock):
    """A clock that shows what it is told."""

    def __init__(self) -> None:
        self.time_s = 1_795_000_000

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.time_s, UTC)


class Bench:
    """A log, and witnesses that know it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.signer = MemorySigner()
        self.log = TileLog(folder / "log", self.signer)
        self.log.open(may_create=True)
        self.trusted = self.log.trusted()
        self.trust: TrustFile = trust_in(self.signer, self.trusted)
        self.clock = SetClock()

    @property
    def reader(self) -> TileFolder:
        return self.log.reader

    def append(self, count: int) -> None:
        at = self.reader.checkpoint().size
        self.log.append([b"entry %d" % number for number in range(at, at + count)])

    def desk(self, name: str = "w1", signer: MemorySigner | None = None) -> WitnessDesk:
        return WitnessDesk(
            self.trust, signer or MemorySigner(), WitnessHeads(self.folder / f"{name}.sqlite"), self.clock
        )

    def request(self, old: int, reader: TileFolder | None = None) -> bytes:
        reader = reader or self.reader
        size = reader.checkpoint().size
        proof = tuple(reader.consistency_proof(old, size)) if old else ()
        return witness_request.encode(WitnessRequest(old, proof, reader.note()))

    def fork(self, name: str, size: int) -> TileFolder:
        """Another history of the same log, by the holder of its key."""
        other = TileLog(self.folder / name, self.signer)
        (self.folder / name).mkdir()
        text = Checkpoint(self.trusted.origin, 0, checkpoint.merkle.EMPTY_ROOT).text
        public = raw_ed25519(self.signer.public_key(Role.LOG).public)
        note = signed_note.write(text, self.trusted.origin, public, self.signer.sign(Role.LOG, text.encode()))
        (self.folder / name / "checkpoint").write_bytes(note)
        other.append([b"otherwise %d" % number for number in range(size)])
        return other.reader

    def verify(self, reader: TileFolder, policy: WitnessPolicy | None, *kept: bytes) -> LogReport:
        head, report = reader.checkpoint(), LogReport()
        leaves = [checkpoint.merkle.leaf_hash(entry) for _, entry in reader.entries(head.size)]
        check_elsewhere(Elsewhere(kept, reader.cosigned(), policy), self.trust, head, leaves, report)
        return report


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    found = Bench(tmp_path)
    found.append(5)
    return found


def policy_of(threshold: int, *desks: WitnessDesk, url: str | None = None) -> WitnessPolicy:
    witnesses = tuple(Witness(vkey=str(desk.key), url=url) for desk in desks)
    return WitnessPolicy(schema="assay.witnesses/1", threshold=threshold, witnesses=witnesses)


def test_the_form_of_a_cosignature() -> None:
    secret = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    key = VerifierKey("witness.example/w", secret.public_key().public_bytes_raw(), COSIGNATURE)
    head = Checkpoint("example.com/log", 3, b"r" * 32)
    message = cosignature.message(head.text, SPEC_TIME_S)
    assert message.decode().splitlines()[:3] == ["cosignature/v1", f"time {SPEC_TIME_S}", "example.com/log"]
    assert cosignature.read_message(message) == (SPEC_TIME_S, head)
    note = f"{head.text}\n".encode() + cosignature.line(key, SPEC_TIME_S, secret.sign(message)).encode()
    assert cosignature.verify(note, key) == SPEC_TIME_S
    assert signed_note.parse_vkey(str(key), COSIGNATURE) == key
    with pytest.raises(NotVerified, match="is not an Ed25519 vkey"):
        signed_note.parse_vkey(str(key))
    name, blob = signed_note.parse(b"x\n\n" + SPEC_LINE.encode())[1][0]
    assert (name, len(blob), int.from_bytes(blob[4:12], "big")) == ("witness.example.com/w1", 4 + 8 + 64, SPEC_TIME_S)
    assert cosignature.verify(f"{head.text}\n{SPEC_LINE}".encode(), key) is None


def test_every_changed_byte_of_a_cosigned_checkpoint(bench: Bench) -> None:
    desk = bench.desk()
    note = bench.reader.note() + desk.add_checkpoint(bench.request(0)).body
    vkey = signed_note.parse_vkey(bench.trusted.vkey)
    for place in range(len(note)):
        changed = note[:place] + bytes([note[place] ^ 1]) + note[place + 1 :]
        try:
            checkpoint.verify(changed, vkey)
            assert cosignature.verify(changed, desk.key) is None, place  # another name or key: nobody's we know
        except NotVerified:
            pass


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"cosignature/v1\n",
        b"cosignature/v2\ntime 1\nexample.com/log\n0\n" + base64.b64encode(bytes(32)) + b"\n",
        b"cosignature/v1\ntime 01\nexample.com/log\n0\n" + base64.b64encode(bytes(32)) + b"\n",
        b"cosignature/v1\ntime -1\nexample.com/log\n0\n" + base64.b64encode(bytes(32)) + b"\n",
        b"cosignature/v1\ntime 9223372036854775808\nexample.com/log\n0\n" + base64.b64encode(bytes(32)) + b"\n",
        b"cosignature/v1\ntime 1\nexample.com/log\n0\n" + base64.b64encode(bytes(31)) + b"\n",
    ],
)
def test_no_message_of_a_cosignature(data: bytes) -> None:
    with pytest.raises(NotVerified):
        cosignature.read_message(data)


def test_a_log_that_grows_is_cosigned(bench: Bench) -> None:
    desk = bench.desk()
    for old, more in ((0, 0), (5, 300), (305, 0), (305, 1)):
        bench.append(more)
        reply = desk.add_checkpoint(bench.request(old))
        assert reply.status == 200, reply.body
        assert cosignature.verify(bench.reader.note() + reply.body, desk.key) == bench.clock.time_s
    last = desk.last(bench.trusted.origin)
    assert last is not None
    assert last.size == 306


def test_an_empty_log_is_cosigned_and_grows(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    desk = bench.desk()
    for more in (0, 0, 7):
        bench.append(more)
        assert desk.add_checkpoint(bench.request(0)).status == 200


def test_what_a_witness_refuses(bench: Bench) -> None:
    """The status codes of c2sp.org/tlog-witness; and none of it changes what the witness remembers."""
    desk = bench.desk()
    assert desk.add_checkpoint(bench.request(0)).status == 200
    bench.append(4)
    good, note = bench.request(5), bench.reader.note()
    fork, short = bench.fork("fork", 9), bench.fork("short", 5)
    stranger = Bench(bench.folder / "stranger")
    unsigned = note.replace(note.splitlines()[-1], signed_note.line_of("example.com/x", b"1234567").encode()[:-1])
    proof = witness_request.decode(good).proof
    refused = {
        "409 wrong old size": (bench.request(3), 409),
        "409 never seen, they say": (bench.request(0), 409),
        "409 two histories of one size": (bench.request(5, short), 409),
        "422 another history": (bench.request(5, fork), 422),
        "422 no proof": (witness_request.encode(WitnessRequest(5, (), note)), 422),
        "422 a hash too many": (witness_request.encode(WitnessRequest(5, (*proof, bytes(32)), note)), 422),
        "400 old size beyond": (witness_request.encode(WitnessRequest(10, (), note)), 400),
        "404 another log": (stranger.request(0), 404),
        "403 not signed": (witness_request.encode(WitnessRequest(5, proof, unsigned)), 403),
        "400 no note": (b"old 5\n\nhello", 400),
        "400 no checkpoint": (b"old 5\n\n" + b"hello\n\n" + SPEC_LINE.encode(), 400),
        "400 leading zero": (good.replace(b"old 5", b"old 05"), 400),
        "400 url-safe base64": (good.replace(b"\n", b"\n-_" + b"A" * 41 + b"=\n", 1), 400),
        "400 64 hashes": (witness_request.encode(WitnessRequest(5, (bytes(32),) * 64, note)), 400),
        "400 too long": (good + SPEC_LINE.encode() * 1000, 400),
        "400 nothing": (b"", 400),
    }
    for name, (body, status) in refused.items():
        reply = desk.add_checkpoint(body)
        assert reply.status == status, (name, reply)
    assert desk.add_checkpoint(bench.request(3)).body == b"5\n"
    assert desk.add_checkpoint(bench.request(3)).kind == SIZE_TYPE
    assert b"two histories" in desk.add_checkpoint(bench.request(5, short)).body
    assert desk.add_checkpoint(good).status == 200


def test_a_development_log_is_not_cosigned_where_it_is_not_allowed(bench: Bench) -> None:
    bench.trust = trust_in(bench.signer, bench.trusted, development=False)
    reply = bench.desk().add_checkpoint(bench.request(0))
    assert reply.status == 403
    assert b"UNSAFE-DEVELOPMENT" in reply.body


def test_a_request_has_one_spelling(bench: Bench) -> None:
    body = bench.request(0)
    assert witness_request.encode(witness_request.decode(body)) == body


def test_the_memory_outlives_the_process_and_was_not_changed(bench: Bench) -> None:
    signer = MemorySigner()
    assert bench.desk(signer=signer).add_checkpoint(bench.request(0)).status == 200
    bench.append(2)
    assert bench.desk(signer=signer).add_checkpoint(bench.request(0)).status == 409
    memory = sqlite3.connect(bench.folder / "w1.sqlite")
    memory.execute("UPDATE heads SET size = 0, root = ?", (checkpoint.merkle.EMPTY_ROOT,))
    memory.commit()
    memory.close()
    with pytest.raises(StorageError, match="is not what it cosigned"):
        bench.desk(signer=signer).add_checkpoint(bench.request(0))
    (bench.folder / "w1.sqlite").write_bytes(b"noise" * 1000)
    for left in bench.folder.glob("w1.sqlite-*"):
        left.unlink()
    with pytest.raises(StorageError):
        bench.desk(signer=signer).add_checkpoint(bench.request(0))


def test_nothing_is_remembered_that_was_not_signed(bench: Bench) -> None:
    signer = MemorySigner()
    signer_away = bench.desk(signer=signer)
    signer.away = True
    with pytest.raises(InfrastructureError):
        signer_away.add_checkpoint(bench.request(0))
    assert signer_away.last(bench.trusted.origin) is None


def test_it_is_remembered_before_it_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A memory that cannot be written: no cosignature comes out."""
    desk = bench.desk()

    def full(*_arguments: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("assay.backends.logs.witness_heads.Turn.keep", full)
    with pytest.raises(StorageError, match="disk is full"):
        desk.add_checkpoint(bench.request(0))


def test_a_clock_that_went_back(bench: Bench) -> None:
    desk = bench.desk()
    desk.add_checkpoint(bench.request(0))
    bench.clock.time_s = 0
    with pytest.raises(InfrastructureError, match="the clock went back"):
        desk.add_checkpoint(bench.request(5))


def test_many_at_once_leave_one_history(bench: Bench) -> None:
    """Two histories come from many threads at a time: all that is cosigned is of one of them."""
    fork, signer = bench.fork("fork", 5), MemorySigner()
    bodies = [bench.request(0), bench.request(0, fork)] * 8
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda body: bench.desk(signer=signer).add_checkpoint(body).status, bodies))
    assert sorted(set(statuses)) == [200, 409]
    assert statuses.count(200) == 1
    last = bench.desk(signer=signer).last(bench.trusted.origin)
    assert last is not None
    assert last.root in (bench.reader.checkpoint().root, fork.checkpoint().root)


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
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request(method, path, body, headers)
        assert connection.getresponse().status == status, (method, path, headers)
        connection.close()
    half = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
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
        end = time.monotonic() + 10
        while slow and time.monotonic() < end:
            slow = [each for each in slow if trickled(each)]
            time.sleep(0.05)
        assert not slow
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
    connection = http.client.HTTPConnection("127.0.0.1", int(at.url.rpartition(":")[2]), timeout=10)
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


def test_by_stick(bench: Bench) -> None:
    desk, stick = bench.desk(), bench.folder / "stick"
    shutil.copytree(bench.reader.folder, stick)
    assert cosign_folder(desk, stick).size == 5
    bench.append(2)
    policy = policy_of(1, desk)
    (found,) = cosign(bench.reader, bench.trusted.vkey, policy, (stick,))
    assert (found.error, found.size) == (None, 5)
    assert bench.verify(bench.reader, policy).witnessed == 5
    shutil.copytree(bench.reader.folder, stick, dirs_exist_ok=True)
    assert cosign_folder(desk, stick).size == 7
    for name, size in (("short", 3), ("same", 7), ("long", 20)):
        with pytest.raises(NotVerified):
            cosign_folder(desk, bench.fork(name, size).folder)
    (stick / "tile/0/000.p/7").write_bytes(bytes(7 * 32))
    bench.append(1)
    shutil.copy(bench.reader.folder / "checkpoint", stick)
    with pytest.raises(NotVerified):
        cosign_folder(desk, stick)


def test_what_a_stick_brings_is_of_this_log(bench: Bench) -> None:
    desk, policy = bench.desk(), policy_of(1, bench.desk())
    fork = bench.fork("fork", 5)
    cosign_folder(desk, fork.folder)
    policy = policy_of(1, desk)
    (found,) = cosign(bench.reader, bench.trusted.vkey, policy, (fork.folder,))
    assert isinstance(found.error, NotVerified)
    assert "is not of this log's past" in found.error.message
    assert bench.reader.cosigned() == {}
    other = Bench(bench.folder / "other")
    theirs = WitnessDesk(other.trust, MemorySigner(), WitnessHeads(other.folder / "w.sqlite"), other.clock)
    cosign_folder(theirs, other.reader.folder)
    (found,) = cosign(bench.reader, bench.trusted.vkey, policy_of(1, theirs), (other.reader.folder,))
    assert isinstance(found.error, NotVerified)


def test_a_rewritten_history(bench: Bench) -> None:
    desk = bench.desk()
    policy = policy_of(1, desk)
    cosign_folder(desk, bench.reader.folder)
    fork = bench.fork("fork", 8)
    assert "expected cosignatures of 1 witnesses" in bench.verify(fork, policy).faults[0].what
    shutil.copytree(bench.reader.folder / COSIGNED_FOLDER, fork.folder / COSIGNED_FOLDER)
    for given in (policy, None):  # the log's own signature on what was cosigned is enough to see it
        assert "one was rewritten" in bench.verify(fork, given).faults[0].what
    assert bench.verify(bench.reader, policy).faults == []


def test_a_split_view(bench: Bench) -> None:
    """Two people are shown two histories of one size: only one of them can have been cosigned, and the checkpoints of
    the two together show it.
    """
    desk = bench.desk()
    fork = bench.fork("fork", 5)
    cosign_folder(desk, bench.reader.folder)
    with pytest.raises(NotVerified, match="two histories"):
        cosign_folder(desk, fork.folder)
    assert bench.verify(bench.reader, policy_of(1, desk), bench.reader.note()).faults == []
    (fault,) = bench.verify(bench.reader, policy_of(1, desk), bench.reader.note(), fork.note()).faults
    assert (fault.link, "one was rewritten" in fault.what) == ("kept checkpoint", True)


def test_a_threshold_counts_keys(bench: Bench) -> None:
    one, two, three = bench.desk("w1"), bench.desk("w2"), bench.desk("w3")
    cosign_folder(one, bench.reader.folder)
    policy = policy_of(2, one, two, three)
    (fault,) = bench.verify(bench.reader, policy).faults
    assert fault.what == "expected cosignatures of 2 witnesses on this log, there are 1"
    bench.append(3)
    cosign_folder(two, bench.reader.folder)
    report = bench.verify(bench.reader, policy)
    assert (report.faults, report.witnessed, [each.size for each in report.witnesses]) == ([], 5, [8, 5])


def test_a_cosignature_that_is_wrong_is_told(bench: Bench) -> None:
    desk = bench.desk()
    cosign_folder(desk, bench.reader.folder)
    (path,) = (bench.reader.folder / COSIGNED_FOLDER).iterdir()
    lines = path.read_bytes().decode().splitlines()
    name, blob = signed_note.parse(path.read_bytes())[1][-1]
    lines[-1] = signed_note.line_of(name, blob[:-1] + bytes([blob[-1] ^ 1]))[:-1]
    path.write_text("\n".join(lines) + "\n")
    faults = bench.verify(bench.reader, policy_of(1, desk)).faults
    assert f"the cosignature of '{desk.key.name}' on the checkpoint is wrong" in faults[0].what


def test_nobody_is_a_witness_of_himself(bench: Bench) -> None:
    own = signed_note.parse_vkey(bench.trusted.vkey)
    key = VerifierKey("assay.local/witness/me", own.public, COSIGNATURE)
    signature = bench.signer.sign(Role.LOG, cosignature.message(bench.reader.checkpoint().text, 1))
    note = bench.reader.note() + cosignature.line(key, 1, signature).encode()
    policy = WitnessPolicy(schema="assay.witnesses/1", threshold=1, witnesses=(Witness(vkey=str(key)),))
    assert cosignature.verify(note, key) == 1
    faults = bench.verify(bench.reader, policy, note).faults
    assert "nobody is a witness of himself" in faults[0].what


def test_policies_that_cannot_be_meant(tmp_path: Path) -> None:
    public = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    one, again = (str(VerifierKey(name, public, COSIGNATURE)) for name in ("a", "b"))
    log = str(VerifierKey("a", public))
    file = tmp_path / "witnesses.toml"

    def written(threshold: int, *vkeys: str) -> Path:
        tables = "".join(f'[[witnesses]]\nvkey = "{vkey}"\n' for vkey in vkeys)
        file.write_text(f'schema = "assay.witnesses/1"\nthreshold = {threshold}\n{tables}')
        return file

    assert load_policy(written(1, one)).threshold == 1
    for vkeys, threshold, words in (
        ((one, again), 1, "is there twice"),
        ((one,), 2, "expected at least 2 witnesses"),
        ((log,), 1, "is not the Ed25519 vkey of a witness"),
        (("x",), 1, "is not a vkey"),
        ((one,), 0, "threshold"),
        ((), 1, "witnesses"),
    ):
        with pytest.raises(ManifestFault, match=words):
            load_policy(written(threshold, *vkeys))
    with pytest.raises(ManifestFault):
        load_policy(tmp_path / "none.toml")


def assay(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_verbs(tmp_path: Path) -> None:
    """A site and a witness that trusts its log, with a stick between them."""
    site, other, trust, policy = tmp_path / "site", tmp_path / "other", tmp_path / "trust.toml", tmp_path / "w.toml"
    assert assay("keys", "trust", "--site", site, "--out", trust, "--allow-development").exit_code == 0
    vkey = assay("log", "witness", "--vkey", "--site", other).stdout.strip()
    policy.write_text(f'schema = "assay.witnesses/1"\nthreshold = 1\n[[witnesses]]\nvkey = "{vkey}"\n')
    stick = shutil.copytree(site / "log", tmp_path / "stick")
    assert assay("log", "witness", stick, "--site", other).exit_code == 2
    done = assay("log", "witness", stick, "--site", other, "--trust", trust, "--json")
    assert (done.exit_code, json.loads(done.stdout)["cosigned"][0]["size"]) == (0, 0)
    unknown = assay("log", "witness", stick, "--site", other, "--trust", _trust_of(tmp_path / "third"))
    assert (unknown.exit_code, "is not known here" in unknown.output) == (4, True)
    before = assay("log", "verify", "--site", site, "--trust", trust, "--witness", policy)
    assert (before.exit_code, "expected cosignatures of 1 witnesses" in before.stdout) == (4, True)
    assert assay("log", "cosign", "--site", site, "--witness", policy).exit_code == 2
    assert assay("log", "cosign", "--site", tmp_path / "none", "--witness", policy).exit_code == 2
    assert assay("log", "cosign", "--site", site, "--witness", policy, "--from", stick).exit_code == 0
    after = assay("log", "verify", "--site", site, "--trust", trust, "--witness", policy)
    assert (after.exit_code, "witnessed as the policy asks: 0 of 0" in after.stdout) == (0, True), after.output
    (note,) = (site / "log" / "cosigned").iterdir()
    note.write_bytes(note.read_bytes() + b"x")
    assert assay("log", "verify", "--site", site, "--trust", trust).exit_code == 4


def _trust_of(site: Path) -> Path:
    path = site.with_suffix(".toml")
    assert assay("keys", "trust", "--site", site, "--out", path, "--allow-development").exit_code == 0
    return path


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
