# SPDX-License-Identifier: Apache-2.0
"""What a witness cosigns, and what it refuses: forms, growth, its memory, its clock."""

from __future__ import annotations

import base64
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from memory_signer import MemorySigner, trust_in
from witness_bench import Bench

from assay.errors import InfrastructureError, NotVerified, StorageError
from assay.formats import checkpoint, cosignature, signed_note, witness_request
from assay.formats.checkpoint import Checkpoint
from assay.formats.signed_note import COSIGNATURE, VerifierKey
from assay.formats.witness_request import WitnessRequest
from assay.model.witness import SIZE_TYPE

# The example of c2sp.org/tlog-cosignature: the key id and the layout of the line are theirs.
SPEC_LINE = (
    "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+"
    "mbIUBkBIfZ+qnA==\n"
)
SPEC_TIME_S = 1679315147


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    found = Bench(tmp_path)
    found.append(5)
    return found


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
