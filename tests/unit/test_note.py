# SPDX-License-Identifier: Apache-2.0
"""Signed notes, verifier keys and checkpoints."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from memory_signer import MemorySigner, trust_in

from assay.errors import NotVerified
from assay.formats import checkpoint, merkle, signed_note
from assay.formats.checkpoint import Checkpoint
from assay.formats.public_key import raw_ed25519
from assay.formats.signed_note import VerifierKey
from assay.model.trust import Role, TrustedLog

# The example in the documentation of Go's golang.org/x/mod/sumdb/note: made by other people's code.
GO_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)

SECRET = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))  # the same for every worker of xdist
KEY = VerifierKey("assay.local/test", SECRET.public_key().public_bytes_raw())
HEAD = Checkpoint("assay.local/test", 3, b"r" * 32)


def _note(text: str = HEAD.text, name: str = KEY.name) -> bytes:
    return signed_note.write(text, name, KEY.public, SECRET.sign(text.encode()))


def test_note_of_others() -> None:
    key = signed_note.parse_vkey(GO_VKEY)
    assert str(key) == GO_VKEY
    assert signed_note.verify(GO_NOTE.encode(), key).startswith("If you think")


def test_round_trip() -> None:
    assert signed_note.parse_vkey(str(KEY)) == KEY
    assert checkpoint.verify(_note(), KEY) == checkpoint.read(_note()) == HEAD


def test_every_changed_byte_is_found() -> None:
    note = _note()
    for place in range(len(note)):
        for flip in (0x01, 0x20, 0x80):
            changed = bytearray(note)
            changed[place] ^= flip
            with pytest.raises(NotVerified):
                checkpoint.verify(bytes(changed), KEY)


def test_signatures_of_others_are_passed_over() -> None:
    other = "— witness.example/w AAAAAAAAAAAA\n"
    assert checkpoint.verify(_note() + other.encode(), KEY) == HEAD
    with pytest.raises(NotVerified, match="not signed by the log key"):
        checkpoint.verify(_note(), VerifierKey("assay.local/test", b"x" * 32))


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "name+00000000",
        str(KEY)[:-4],
        str(KEY).replace("assay", "essay"),
        "a b+00000000+AAAA",
        str(VerifierKey("x", b"k" * 31)),
    ],
)
def test_no_vkey(vkey: str) -> None:
    with pytest.raises(NotVerified, match="vkey"):
        signed_note.parse_vkey(vkey)


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"x",
        b"\n\n",
        b"text\n",
        b"text\n\n",
        b"\xff\n\n\xe2\x80\x94 a AAAAAAA=\n",
        b"a\x00b\n\n\xe2\x80\x94 n AAAAAAAA\n",
    ]
    + [
        b"text\n\n" + line
        for line in (b"x\n", b"\xe2\x80\x94 n\n", b"\xe2\x80\x94 n A\n", b"\xe2\x80\x94 n+m AAAAAAAA\n")
    ],
)
def test_no_note(note: bytes) -> None:
    with pytest.raises(NotVerified):
        signed_note.parse(note)


@pytest.mark.parametrize(
    "text",
    [
        "assay.local/test\n3\n",
        "assay.local/test\n03\n" + HEAD.text.splitlines()[2] + "\n",
        "assay.local/test\n-1\n" + HEAD.text.splitlines()[2] + "\n",
        "assay.local/test\n3\nAAAA\n",
        HEAD.text + "extension\n",
        "\n3\n" + HEAD.text.splitlines()[2] + "\n",
        f"assay.local/test\n{2**53}\n" + HEAD.text.splitlines()[2] + "\n",
    ],
)
def test_no_checkpoint(text: str) -> None:
    with pytest.raises(NotVerified):
        checkpoint.verify(_note(text), KEY)


def test_checkpoint_of_another_log_under_this_key() -> None:
    with pytest.raises(NotVerified, match="the key is that of"):
        checkpoint.verify(_note(Checkpoint("assay.local/other", 3, b"r" * 32).text), KEY)


def test_trust_names_logs() -> None:
    log = TrustedLog(origin=KEY.name, vkey=str(KEY), development=True)
    signer = MemorySigner()
    assert checkpoint.verify_with_trust(_note(), trust_in(signer, log)) == (HEAD, log)
    with pytest.raises(NotVerified, match="is not in the trust file"):
        checkpoint.verify_with_trust(_note(), trust_in(signer))
    with pytest.raises(NotVerified, match="UNSAFE-DEVELOPMENT"):
        checkpoint.verify_with_trust(_note(), trust_in(signer, log, development=False))


def test_two_keys_of_one_log() -> None:
    """Under one name, in any order: each vouches for what it signed, and for nothing else."""
    signer, others = MemorySigner(), [MemorySigner() for _ in range(2)]
    keys = [VerifierKey(KEY.name, raw_ed25519(each.public_key(Role.LOG).public)) for each in others]
    logs = [TrustedLog(origin=KEY.name, vkey=str(key), development=bool(at)) for at, key in enumerate(keys)]
    text = HEAD.text
    lines = [
        signed_note.signature_line(key, each.sign(Role.LOG, text.encode()))
        for key, each in zip(keys, others, strict=True)
    ]
    for order in (logs, logs[::-1]):
        trust, strict = trust_in(signer, *order), trust_in(signer, *order, development=False)
        for log, line in zip(logs, lines, strict=True):
            assert checkpoint.verify_with_trust(f"{text}\n{line}".encode(), trust) == (HEAD, log)
        for both in (lines, lines[::-1]):
            assert checkpoint.verify_with_trust(f"{text}\n{''.join(both)}".encode(), strict) == (HEAD, logs[0])
        with pytest.raises(NotVerified, match="UNSAFE-DEVELOPMENT"):
            checkpoint.verify_with_trust(f"{text}\n{lines[1]}".encode(), strict)
        with pytest.raises(NotVerified, match="is not signed by the log key"):
            checkpoint.verify_with_trust(_note(), trust)


def test_root_of_nothing() -> None:
    assert merkle.root(0, lambda _level, _index: b"") == merkle.EMPTY_ROOT
