# SPDX-License-Identifier: Apache-2.0
"""The one verifier: each thing that a decision rests on, taken away once; and trust files."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from memory_signer import MemorySigner, trust_in

from assay.cli.keys import command as keys
from assay.errors import ManifestFault, NotVerified, StorageError, UsageFault
from assay.formats import canonical_json, sigstore_bundle, trust_file
from assay.formats.public_key import parse_public_key
from assay.formats.signed_note import VerifierKey
from assay.formats.statement_verifier import read_statement, signers_of, verify_statement
from assay.model.statement import PredicateType, Statement, Subject
from assay.model.trust import SIGNERS, STATEMENT_ROLES, Role, TrustedLog, TrustFile
from assay.pipeline.trust_file import load_trust, write_trust

SIGNER = MemorySigner()
SHA256 = "cd" * 32


def _statement(predicate_type: str = PredicateType.UPDATE.value, **extra: Any) -> bytes:
    statement = Statement(
        subject=(Subject(name="other", digest={"sha256": "00" * 32}), Subject(name="image", digest={"sha256": SHA256})),
        predicateType=predicate_type,
        predicate={"n": 1},
    )
    return canonical_json.encode({**canonical_json.plain(statement), **extra})


def _verify(bundle: bytes, trust: TrustFile, **options: Any) -> Any:
    asked = {"role": Role.FIELD, "predicate_types": {PredicateType.UPDATE}, "subject_sha256": SHA256} | options
    return verify_statement(bundle, trust, **asked)


def test_what_was_checked_is_told() -> None:
    found = _verify(SIGNER.sign_statement(Role.FIELD, _statement()), trust_in(SIGNER))
    told = [check.what for check in found.checks]
    assert told[0] == "signature by the field key"
    assert "UNSAFE-DEVELOPMENT" in told[1]
    assert told[2:] == [f"predicate type {PredicateType.UPDATE}", f"subject 'image' has the SHA-256 {SHA256}"]
    assert found.checks[0].key == found.signer == SIGNER.public_key(Role.FIELD)


def test_no_subject_asked_none_told() -> None:
    found = _verify(SIGNER.sign_statement(Role.FIELD, _statement()), trust_in(SIGNER), subject_sha256=None)
    assert not any("subject" in check.what for check in found.checks)


def test_signer_of_another_role() -> None:
    bundle = SIGNER.sign_statement(Role.STATION, _statement())
    with pytest.raises(NotVerified, match=r"must be signed by field; its key .* is trusted as station"):
        _verify(bundle, trust_in(SIGNER))


def test_stranger() -> None:
    with pytest.raises(NotVerified, match="not in the trust file"):
        _verify(MemorySigner().sign_statement(Role.FIELD, _statement()), trust_in(SIGNER))


def test_empty_trust_file_verifies_nothing() -> None:
    with pytest.raises(NotVerified, match="not in the trust file"):
        _verify(SIGNER.sign_statement(Role.FIELD, _statement()), TrustFile(schema="assay.trust/1", name="empty"))


def test_development_key() -> None:
    with pytest.raises(NotVerified, match="UNSAFE-DEVELOPMENT"):
        _verify(SIGNER.sign_statement(Role.FIELD, _statement()), trust_in(SIGNER, development=False))


def test_another_predicate_type() -> None:
    """cosign GHSA-w6c6-c85g-mmv6: predicate type not compared."""
    with pytest.raises(NotVerified, match=r"predicate type is urn:assay:predicate:flash:v1"):
        _verify(SIGNER.sign_statement(Role.FIELD, _statement(PredicateType.FLASH.value)), trust_in(SIGNER))


def test_role_that_may_not_sign_the_type() -> None:
    bundle = SIGNER.sign_statement(Role.FIELD, _statement(PredicateType.PROVENANCE.value))
    with pytest.raises(NotVerified, match="a field key may not sign"):
        _verify(bundle, trust_in(SIGNER), predicate_types={PredicateType.PROVENANCE})


def test_another_subject() -> None:
    bundle = SIGNER.sign_statement(Role.FIELD, _statement())
    with pytest.raises(NotVerified, match="is not about the file"):
        _verify(bundle, trust_in(SIGNER), subject_sha256="ef" * 32)


def test_key_under_anothers_id() -> None:
    """A trust file that names one key and holds another does not get past the verifier, whoever loaded it."""
    mine, theirs = SIGNER.public_key(Role.FIELD), MemorySigner().public_key(Role.FIELD)
    forged = theirs.model_copy(update={"public": mine.public})
    envelope = sigstore_bundle.decode(SIGNER.sign_statement(Role.FIELD, _statement())).envelope
    trust = trust_in(SIGNER).model_copy(update={"keys": (forged,)})
    with pytest.raises(NotVerified, match="does not have the key id"):
        _verify(sigstore_bundle.encode(envelope, theirs.keyid), trust)


def test_unknown_members_are_ignored_where_in_toto_says_so() -> None:
    statement = read_statement(_statement(futureField={"a": 1}))
    assert statement.predicate == {"n": 1}


@pytest.mark.parametrize(
    "change",
    [{"_type": "https://in-toto.io/Statement/v0.1"}, {"subject": []}, {"predicate": []}, {"predicateType": 7}],
)
def test_no_statement(change: dict[str, Any]) -> None:
    bundle = SIGNER.sign_statement(Role.FIELD, _statement(**change))
    with pytest.raises(NotVerified, match="statement"):
        _verify(bundle, trust_in(SIGNER))


def test_a_predicate_that_is_left_out_is_empty() -> None:
    """Unset, null and empty are the same (in-toto attestation specification)."""
    assert read_statement(_statement(predicate=None)).predicate == {}


def test_any_exception_is_not_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> bool:
        raise RuntimeError("inside a library")

    bundle = SIGNER.sign_statement(Role.FIELD, _statement())
    monkeypatch.setattr("assay.formats.public_key.signature_is_good", fail)
    with pytest.raises(NotVerified, match="RuntimeError"):
        _verify(bundle, trust_in(SIGNER))


def test_every_predicate_type_has_signers_and_no_byte_signer_is_among_them() -> None:
    assert set(SIGNERS) == set(PredicateType)
    assert STATEMENT_ROLES.isdisjoint({Role.IMAGE, Role.LOG, Role.DEVICE_CA})
    assert signers_of("https://example.com/unknown") == frozenset()


def _log() -> TrustedLog:
    return TrustedLog(origin="assay.local/x", vkey=str(VerifierKey("assay.local/x", b"k" * 32)), development=True)


def test_trust_file_reads_back(tmp_path: Path) -> None:
    trust = trust_in(SIGNER, _log())
    write_trust(tmp_path / "a b" / "trust.toml", trust, replace=False)
    assert load_trust(tmp_path / "a b" / "trust.toml") == trust
    assert [path.name for path in (tmp_path / "a b").iterdir()] == ["trust.toml"]


def test_trust_file_is_not_replaced_unasked(tmp_path: Path) -> None:
    path, trust = tmp_path / "trust.toml", trust_in(SIGNER, _log())
    write_trust(path, trust, replace=False)
    write_trust(path, trust, replace=False)
    other = trust.model_copy(update={"name": "other"})
    with pytest.raises(UsageFault, match="says something else"):
        write_trust(path, other, replace=False)
    write_trust(path, other, replace=True)
    assert load_trust(path).name == "other"


FAULTS = {
    "no schema": ("schema = ", "schem = ", "1: expected schema"),
    "changed key": ("keyid = ", "# keyid = ", "missing key 'keyid'"),
    "unknown role": ('role = "field"', 'role = "boss"', "role"),
    "unknown key": ("allow_emulated", "allow_everything", "unknown key 'allow_everything'"),
}


@pytest.mark.parametrize(("old", "new", "expected"), FAULTS.values(), ids=FAULTS.keys())
def test_trust_file_faults(tmp_path: Path, old: str, new: str, expected: str) -> None:
    text = trust_file.encode(trust_in(SIGNER, _log())).decode()
    (tmp_path / "trust.toml").write_text(text.replace(old, new))
    with pytest.raises(ManifestFault, match=expected):
        load_trust(tmp_path / "trust.toml")


def test_trust_file_with_a_changed_key_names_the_line(tmp_path: Path) -> None:
    trust = trust_in(SIGNER, _log())
    text = trust_file.encode(trust).decode()
    (tmp_path / "trust.toml").write_text(text.replace(trust.keys[1].keyid, "0" * 64))
    line = next(number for number, row in enumerate(text.splitlines(), 1) if trust.keys[1].keyid in row)
    with pytest.raises(ManifestFault, match=f"trust.toml:{line}: the builder key") as fault:
        load_trust(tmp_path / "trust.toml")
    assert "assay keys trust" in fault.value.remedy


def test_trust_file_with_a_vkey_of_another_log(tmp_path: Path) -> None:
    stranger = _log().model_copy(update={"origin": "assay.local/y"})
    (tmp_path / "trust.toml").write_bytes(trust_file.encode(trust_in(SIGNER, stranger)))
    with pytest.raises(ManifestFault, match=r"the vkey is that of 'assay\.local/x'"):
        load_trust(tmp_path / "trust.toml")


def test_empty_trust_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "trust.toml").write_text('schema = "assay.trust/1"\nname = "x"\n')
    with pytest.raises(ManifestFault, match="an empty trust file verifies nothing"):
        load_trust(tmp_path / "trust.toml")


def test_no_trust_file(tmp_path: Path) -> None:
    with pytest.raises(ManifestFault, match="no such trust file"):
        load_trust(tmp_path / "trust.toml")
    with pytest.raises(StorageError):
        write_trust(Path("/proc/trust.toml"), trust_in(SIGNER), replace=False)


@pytest.mark.parametrize("pem", ["", "x", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "ä"])
def test_no_key(pem: str) -> None:
    with pytest.raises(NotVerified):
        parse_public_key(pem)


def test_key_of_another_kind() -> None:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = ec.generate_private_key(ec.SECP384R1()).public_key()
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    with pytest.raises(NotVerified, match="neither Ed25519 nor ECDSA P-256"):
        parse_public_key(pem)


def test_writers_of_one_trust_file_take_turns_and_leave_nothing_beside_it(tmp_path: Path) -> None:
    trust = trust_in(SIGNER)
    names = [f"site-{number}" for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        files = [trust.model_copy(update={"name": name}) for name in names]
        list(pool.map(lambda each: write_trust(tmp_path / "trust.toml", each, replace=True), files))
    assert load_trust(tmp_path / "trust.toml").name in names
    assert [path.name for path in tmp_path.iterdir()] == ["trust.toml"]


@pytest.mark.parametrize("name", ["Jane Doe", "Jörg", "", "-x", "a\n", "x" * 64])
def test_a_name_that_a_trust_file_cannot_have(name: str, tmp_path: Path) -> None:
    said = CliRunner().invoke(keys, ["trust", "--name", name, "--site", str(tmp_path / "site")])
    assert said.exit_code == 2 and "cannot be the name of a trust file" in said.stderr
    assert not (tmp_path / "site").exists()
