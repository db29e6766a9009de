# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with a token and its keys, and what breaks in the middle: each is told in words."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from soft_token import LABEL, SoftToken, needs_softhsm
from test_signer import state
from token_bench import (
    faults,
    faulty,
    in_the_token,
    keys_dir,
    made,
    place_in,
    reached,
    signers,
    statement_of_bench,
    statement_of_station,
    steady,
    token,
    wait_until,
)

from assay.backends.signers.service import SignerProcess
from assay.errors import InfrastructureError, Refused, StorageError, ToolMissing, UsageFault
from assay.formats.public_key import signature_is_good
from assay.formats.statement_verifier import verify_statement
from assay.model.statement import PredicateType
from assay.model.trust import Role, TrustFile

__all__ = ["faults", "faulty", "keys_dir", "made", "signers", "steady", "token"]
pytestmark = needs_softhsm


def test_the_library_is_missing(signers: SignerProcess, keys_dir: Path, token: SoftToken) -> None:
    reached(keys_dir, token.described(Path("/nonexistent/lib.so")))
    with pytest.raises(ToolMissing, match="/nonexistent/lib") as told:
        signers.sign(Role.LOG, state("x"))
    assert "apt-get install softhsm2" in told.value.remedy


def test_the_library_is_none(signers: SignerProcess, keys_dir: Path, token: SoftToken, tmp_path: Path) -> None:
    (tmp_path / "lib.so").write_text("no library")
    reached(keys_dir, token.described(tmp_path / "lib.so"))
    with pytest.raises(ToolMissing, match="cannot be loaded"):
        signers.sign(Role.LOG, state("x"))


def test_the_extra_is_missing(token: SoftToken, monkeypatch: pytest.MonkeyPatch) -> None:
    from assay.backends.signers.pkcs11_token import TokenSession

    monkeypatch.setitem(sys.modules, "pkcs11", None)
    place = place_in(token.folder)
    with pytest.raises(ToolMissing, match="extra 'hsm'") as told:
        TokenSession(LABEL, token.described(), place).call(lambda _: None)
    assert "[hsm]" in told.value.remedy


def test_the_token_is_not_there(signers: SignerProcess, token: SoftToken) -> None:
    signers.set_token("another", token.described())
    with pytest.raises(InfrastructureError, match=r"the token 'another' is not there; .* shows 'factory'"):
        signers.use_key(Role.BENCH, "hsm:2?label=another", public=None, name=None, make=False, production=False)


def test_a_token_that_nobody_described(steady: SignerProcess) -> None:
    with pytest.raises(UsageFault, match=r"no \[tokens\] entry for the token 'another'; it has 'factory'") as told:
        steady.use_key(Role.BENCH, "hsm:2?label=another", public=None, name=None, make=False, production=False)
    assert "assay keys token 'another'" in told.value.remedy


def test_two_tokens_with_one_label(
    signers: SignerProcess, token: SoftToken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    twice = SoftToken(tmp_path / "twice").make()
    twice.init(LABEL)
    monkeypatch.setenv("SOFTHSM2_CONF", twice.environment["SOFTHSM2_CONF"])
    with pytest.raises(UsageFault, match="several tokens") as told:
        signers.sign(Role.LOG, state("x"))
    assert "serial" in told.value.remedy


def test_the_key_is_missing(steady: SignerProcess) -> None:
    with pytest.raises(StorageError, match=r"no private key with label 'none'; it has '.*' id 0") as told:
        steady.use_key(
            Role.BENCH, "pkcs11:token=factory;object=none", public=None, name=None, make=False, production=False
        )
    assert "correct the URI" in told.value.remedy


def test_two_keys_with_one_label(signers: SignerProcess) -> None:
    for key_id in ("%61", "%62"):
        uri = f"pkcs11:token=factory;object=both;id={key_id}"
        signers.use_key(Role.FIELD, uri, public=None, name=None, make=True, production=True)
    with pytest.raises(UsageFault, match="several keys with label 'both'") as told:
        signers.use_key(
            Role.FIELD, "pkcs11:token=factory;object=both", public=None, name=None, make=False, production=True
        )
    assert "id=" in told.value.remedy


def test_a_key_of_the_wrong_kind(steady: SignerProcess) -> None:
    with pytest.raises(Refused, match="a log key has to be ed25519, this one is ecdsa-p256"):
        steady.use_key(Role.LOG, "hsm:2?label=factory", public=None, name=None, make=False, production=True)


def test_a_key_is_not_made_over_another(steady: SignerProcess) -> None:
    with pytest.raises(UsageFault, match="has the key with"):
        steady.use_key(Role.BUILDER, "hsm:2?label=factory", public=None, name=None, make=True, production=True)


def test_another_key_under_the_uri(signers: SignerProcess, keys_dir: Path) -> None:
    toml = keys_dir / "keys.toml"
    toml.write_text(toml.read_text().replace("object=station", "object=bench").replace("id=%04", "id=%03"))
    with pytest.raises(InfrastructureError, match="does not verify with its public key"):
        signers.sign_statement(Role.STATION, statement_of_station())


def test_a_role_gets_another_key_in_the_middle(signers: SignerProcess) -> None:
    before = signers.public_key(Role.BENCH)
    assert signers.sign_statement(Role.BENCH, statement_of_bench())
    other = signers.use_key(
        Role.BENCH, "pkcs11:token=factory;object=spare", public=None, name=None, make=True, production=True
    )
    assert other.keyid != before.keyid
    trust = TrustFile(schema="assay.trust/1", name="t", keys=(other,))
    bundle = signers.sign_statement(Role.BENCH, statement_of_bench())
    verify_statement(bundle, trust, role=Role.BENCH, predicate_types={PredicateType.TEST_RESULT})


def test_a_token_without_public_keys(signers: SignerProcess, token: SoftToken, tmp_path: Path) -> None:
    uri = "pkcs11:token=factory;object=lone"
    lone = signers.use_key(Role.BENCH, uri, public=None, name=None, make=True, production=True)
    in_the_token(token, "session.get_key(pkcs11.ObjectClass.PUBLIC_KEY, label='lone').destroy()")
    signers.close()
    with pytest.raises(StorageError, match="has no public key with label 'lone'"):
        signers.use_key(Role.BENCH, uri, public=None, name=None, make=False, production=True)
    again = signers.use_key(Role.BENCH, uri, public=lone.public, name=None, make=False, production=True)
    assert again.keyid == lone.keyid
    assert signers.sign_statement(Role.BENCH, statement_of_bench())
    other = signers.public_key(Role.STATION).public
    signers.use_key(Role.BENCH, uri, public=other, name=None, make=False, production=True)
    with pytest.raises(InfrastructureError, match="does not verify with its public key"):
        signers.sign_statement(Role.BENCH, statement_of_bench())


# What breaks in the middle.


def test_a_session_that_is_lost_is_opened_again_once(signers: SignerProcess, faults: Path) -> None:
    signers.sign(Role.LOG, state("x"))
    (faults / "lost").touch()
    key = signers.public_key(Role.LOG)
    assert signature_is_good(key, signers.sign(Role.LOG, state("y")), state("y"))
    assert len((faults / "sessions").read_text()) == 2
    (faults / "always-lost").touch()
    with pytest.raises(InfrastructureError, match="the token 'factory' answers SessionHandleInvalid"):
        signers.sign(Role.LOG, state("z"))
    assert len((faults / "sessions").read_text()) == 3


def test_a_token_that_hangs(
    signers: SignerProcess, keys_dir: Path, faults: Path, faulty: Path, token: SoftToken
) -> None:
    reached(keys_dir, token.described(faulty, timeout_s=10.0))  # with the start of the process on a busy host
    signers.sign(Role.LOG, state("x"))
    pid = signers.pid
    (faults / "hang").touch()
    began_s = time.monotonic()
    with pytest.raises(InfrastructureError, match="the token 'factory' did not answer within 10 s"):
        signers.sign(Role.LOG, state("y"))
    assert time.monotonic() - began_s < 60
    assert not Path(f"/proc/{pid}").exists()
    (faults / "hang").unlink()
    assert signers.sign(Role.LOG, state("y"))  # the lock fell with the process


def test_killed_in_the_middle_of_a_signature(signers: SignerProcess, faults: Path) -> None:
    key = signers.public_key(Role.LOG)
    (faults / "hang").touch()
    made: list[bytes] = []
    thread = threading.Thread(target=lambda: made.append(signers.sign(Role.LOG, state("x"))))
    thread.start()
    wait_for(faults / "signing")
    assert signers.pid is not None
    os.kill(signers.pid, signal.SIGKILL)
    (faults / "hang").unlink()
    thread.join(200)
    assert len(made) == 1
    assert signature_is_good(key, made[0], state("x"))


def wait_for(file: Path) -> None:
    wait_until(file.exists)
