# SPDX-License-Identifier: Apache-2.0
"""The cases of the public conformance suite for Sigstore clients, by their names, each made anew as its README says:
bundles, checkpoints, and what is signed. Those of times and certificates are in `test_conformance_times.py`.

The suite is in no package registry; its bundles are of the public services, these are of a lab and of a Rekor v1 made
here. As there, a name that ends in `_fail` says that the client has to refuse. Signing is in
`test_conformance_sigstore.py`, the roots of the public instances too.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from conformance_bench import DIGEST, STATEMENT, Case, Services, Signed, pem, services, stamp, text
from conformance_cases import (
    Cases,
    by_key,
    entry_of,
    envelope_v1,
    envelope_v2,
    file_v1,
    file_v2,
    flip,
    hashed_envelope_v1,
    judged,
)
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from assay.formats import signed_note

__all__ = ["services"]

OTHER = b"another artifact\n"
CASES = Cases()

# Kinds of bundles.

CASES.changed("happy-path-v0.1", file_v1, lambda it: it.older("0.1"))
CASES.changed("happy-path-v0.2", file_v1, lambda it: it.older("0.2"))
CASES.changed("happy-path-v0.3", file_v1, lambda it: it.older("0.3"))
CASES["happy-path-v0.3-new-mediaType"] = file_v1
CASES["happy-path-intoto-in-dsse-v3"] = envelope_v1
CASES["dsse-with-hashedrekord-happy-path"] = hashed_envelope_v1
CASES["rekor2-happy-path"] = file_v2
CASES["rekor2-dsse-happy-path"] = envelope_v2
CASES.changed("bundle-unknown-version_fail", file_v1, lambda it: it.bundle.update(mediaType="a/b;version=99.9"))
CASES.changed("bundle-malformed-json_fail", file_v1, lambda it: setattr(it, "spelled", b'{"mediaType": '))
CASES.changed("bundle-negative-log-index_fail", file_v1, lambda it: it.entry.update(logIndex="-1"))
CASES.changed(
    "bundle-invalid-base64-signature_fail",
    file_v1,
    lambda it: it.bundle["messageSignature"].update(signature="!" + it.bundle["messageSignature"]["signature"][1:]),
)
CASES.changed(
    "bundle-from-wrong-instance_fail", file_v2, lambda it: setattr(it, "root", it.services.other.trusted_root)
)


@CASES.add
def _bundle_from_wrong_instance_fail(s: Services) -> Case:
    found = file_v2(s)
    found.root = s.other.trusted_root
    return found


def _no_chain(it: Case) -> None:
    it.older("0.1")
    it.material["x509CertificateChain"]["certificates"] = []


def _root_in_chain(it: Case) -> None:
    it.older("0.1")
    root = it.root["certificateAuthorities"][0]["certChain"]["certificates"][-1]
    it.material["x509CertificateChain"]["certificates"].append(root)


CASES.changed("bundle-empty-certificate-chain_fail", file_v1, _no_chain)
CASES.changed("bundle-with-root-cert_fail", file_v1, _root_in_chain)

# Checkpoints and proofs.


def _of_one_entry(it: Case) -> None:
    it.proof.update(hashes=[], treeSize="1", logIndex="0")


def _other_tree(it: Case) -> None:
    it.services.entry(it.services.sign())
    it.proof["checkpoint"]["envelope"] = it.services.lab.log.read("checkpoint").decode()


def _signature_line(note: str, change: Callable[[bytes], bytes]) -> str:
    text_, ((name, blob),) = signed_note.parse(note.encode())
    return f"{text_}\n{signed_note.line_of(name, change(blob))}"


def _unsigned(note: str) -> str:
    return note[: note.index("\u2014")]


def _less(note: str, line: int) -> str:
    lines = note.split("\n")
    return "\n".join(lines[:line] + lines[line + 1 :])


def _cosigned(note: str, count: int, *, first: bool = False, name: str = "witness.example") -> str:
    """With lines of others, whose keys nobody here has."""
    text_, signatures = signed_note.parse(note.encode())
    lines = [signed_note.line_of(*each) for each in signatures]
    for number in range(count):
        key = Ed25519PrivateKey.generate()
        line = signed_note.line_of(name, bytes([number]) * 4 + key.sign(text_.encode()))
        lines.insert(0 if first else len(lines), line)
    return f"{text_}\n{''.join(lines)}"


def _same_origin(note: str) -> str:
    return _cosigned(note, 1, name=note.split("\n")[0])


def _cosigned_first(note: str) -> str:
    return _cosigned(note, 1, first=True)


def _both(note: str) -> str:
    return _cosigned(_same_origin(note), 1)


CASES.changed(
    "checkpoint-bad-keyhint_fail", file_v1, lambda it: it.note(lambda n: _signature_line(n, lambda b: b"none" + b[4:]))
)
CASES.changed("checkpoint-wrong-roothash_fail", file_v2, _other_tree)
CASES.changed(
    "invalid-checkpoint-signature_fail",
    file_v1,
    lambda it: it.note(lambda n: _signature_line(n, lambda b: b[:-1] + bytes([b[-1] ^ 1]))),
)
CASES.changed(
    "inclusion-proof-corrupted-hash_fail", file_v1, lambda it: it.proof.update(hashes=[flip(it.proof["hashes"][0])])
)
CASES.changed(
    "invalid-inclusion-proof_fail", file_v1, lambda it: it.proof.update(hashes=[], treeSize="1", logIndex="0")
)
CASES.changed("rekor2-no-inclusion-proof_fail", file_v2, lambda it: it.entry.pop("inclusionProof"))
CASES.changed("rekor2-checkpoint-missing-origin_fail", file_v2, lambda it: it.note(lambda n: _less(n, 0)))
CASES.changed("rekor2-checkpoint-missing-size_fail", file_v2, lambda it: it.note(lambda n: _less(n, 1)))
CASES.changed("rekor2-checkpoint-missing-root-hash_fail", file_v2, lambda it: it.note(lambda n: _less(n, 2)))
CASES.changed(
    "rekor2-checkpoint-missing-log-signature_fail", file_v2, lambda it: it.note(lambda n: n[: n.index("\u2014")])
)
CASES.changed(
    "rekor2-checkpoint-no-matching-signature_fail",
    file_v2,
    lambda it: it.note(lambda n: _signature_line(n, lambda b: b"none" + b[4:])),
)
CASES.changed("rekor2-checkpoint-cosigned", file_v2, lambda it: it.note(lambda n: _cosigned(n, 1)))
CASES.changed("rekor2-checkpoint-multiple-cosigs", file_v2, lambda it: it.note(lambda n: _cosigned(n, 3)))
CASES.changed("rekor2-checkpoint-origin-not-first", file_v2, lambda it: it.note(_cosigned_first))
CASES.changed("rekor2-checkpoint-two-sigs-from-origin", file_v2, lambda it: it.note(_same_origin))
CASES.changed(
    "rekor2-checkpoint-two-sigs-cosigned", file_v2, lambda it: it.note(lambda n: _cosigned(_same_origin(n), 1))
)

# What is signed, and what the entry is about.


def _again(it: Case) -> Signed:
    """The same statement by the same key and certificate, once more: ECDSA signs differently each time."""
    return Signed(it.signed.key, it.signed.certificate, STATEMENT)


def _altered(it: Case) -> Signed:
    """Another statement about the file, by the same key."""
    return Signed(it.signed.key, it.signed.certificate, STATEMENT.replace(b"blinky", b"blinkz"))


def _strangers(_: Case) -> Signed:
    return Signed(ec.generate_private_key(ec.SECP256R1()), None, STATEMENT)


def _other_content(signed: Callable[[Case], Signed]) -> Callable[[Case], None]:
    """Another content; where there was a time stamp, with one over its signature, so that nothing else is wrong."""

    def change(it: Case) -> None:
        other = signed(it)
        it.bundle.update(other.content)
        if "timestampVerificationData" in it.material:
            it.stamps(stamp(it.services.lab.stamper, other.signature))

    return change


ENVELOPES = {"dsse": envelope_v1, "dsse-with-hashedrekord": hashed_envelope_v1, "rekor2-dsse": envelope_v2}
for prefix, envelope in ENVELOPES.items():
    CASES.changed(f"{prefix}-invalid-sig_fail", envelope, _other_content(_strangers))
    CASES.changed(f"{prefix}-mismatch-sig_fail", envelope, _other_content(_again))
    CASES.changed(f"{prefix}-mismatch-envelope_fail", envelope, _other_content(_altered))

CASES.changed("cve-2022-36056-swapped-tlog-entry_fail", file_v1, entry_of(lambda s: file_v1(s)))
CASES.changed("wrong-hashedrekord-entry_fail", file_v1, entry_of(lambda s: s.old(s.sign(artifact=OTHER))))
CASES.changed(
    "wrong-hashedrekord-artifact_fail",
    lambda s: s.old(s.sign(artifact=OTHER)),
    lambda it: it.bundle["messageSignature"]["messageDigest"].update(digest=text(DIGEST)),
)
CASES.changed("wrong-material_fail", file_v1, lambda it: setattr(it, "artifact", OTHER))
CASES.changed(
    "message-digest-mismatch_fail",
    file_v1,
    lambda it: it.bundle["messageSignature"]["messageDigest"].update(digest=text(b"d" * 32)),
)
CASES.changed(
    "signature-mismatch_fail",
    file_v1,
    lambda it: it.bundle["messageSignature"].update(
        signature=text(Signed(ec.generate_private_key(ec.SECP256R1()), None).signature)
    ),
)


@CASES.add
def _wrong_hashedrekord_cert_and_sig_fail(s: Services) -> Case:
    mine, theirs = s.sign(), s.sign(who="https://ci.example/other")
    return s.case(mine, s.rekor.entry("hashedrekord", theirs.spec("hashedrekord"), datetime.now(UTC)))


@CASES.add
def _incorrect_public_key_fail(s: Services) -> Case:
    mine = s.sign()
    spec = mine.spec("hashedrekord")
    spec["signature"]["publicKey"]["content"] = text(pem(ec.generate_private_key(ec.SECP256R1())))
    return s.case(mine, s.rekor.entry("hashedrekord", spec, datetime.now(UTC)))


# Statements that say something else than their type, or none.

UNTYPED = STATEMENT.replace(b'"_type"', b'"_tipe"')
UNKNOWN = STATEMENT.replace(b"Statement/v1", b"Statement/v2")
CASES["dsse-statement-missing-type_fail"] = by_key(UNTYPED, "hashedrekord")
CASES["dsse-statement-unknown-type_fail"] = by_key(UNKNOWN, "hashedrekord")

# Keys that are somebody's own.

CASES["managed-key-happy-path"] = by_key(None, "hashedrekord")
CASES["managed-key-and-trusted-root"] = by_key(STATEMENT, "dsse")
CASES["intoto-canonical-log-entry"] = by_key(STATEMENT, "intoto")
CASES.changed(
    "managed-key-and-client-identity_fail", by_key(None, "hashedrekord"), lambda it: setattr(it, "identity", True)
)
CASES.changed(
    "managed-key-wrong-key_fail",
    by_key(None, "hashedrekord"),
    lambda it: setattr(it, "key", pem(ec.generate_private_key(ec.SECP256R1()))),
)


def _no_key(it: Case) -> None:
    it.key, it.identity = None, True


CASES.changed("managed-key-no-key_fail", by_key(None, "hashedrekord"), _no_key)


@pytest.mark.parametrize("name", sorted(CASES))
def test_case(services: Services, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    judged(name, CASES[name](services), tmp_path, capsys)


@pytest.mark.parametrize("kind", ["hashedrekord", "dsse", "intoto"])
def test_a_key_has_entries_of_each_kind(services: Services, kind: str, tmp_path: Path) -> None:
    """Also those that the client would not take of a certificate."""
    assert by_key(STATEMENT, kind)(services).verdict(tmp_path) == 0
