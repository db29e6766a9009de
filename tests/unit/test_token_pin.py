# SPDX-License-Identifier: Apache-2.0
"""The PIN of a token: where it comes from, who may read it; a wrong one costs one try."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from soft_token import LABEL, LIBRARY, PIN, SoftToken, needs_softhsm
from test_signer import state
from token_bench import faults, faulty, keys_dir, made, place_in, reached, signers, token, wait_until

from assay.backends.signers import pin
from assay.backends.signers.pin import read_pin
from assay.backends.signers.service import SignerProcess
from assay.backends.signers.token_lock import TokenLock
from assay.errors import AssayError, InfrastructureError, Refused
from assay.interfaces.signer import announce_nothing
from assay.model.keys import PinSource, Token
from assay.model.trust import Role

__all__ = ["faults", "faulty", "keys_dir", "made", "signers", "token"]
pytestmark = needs_softhsm


def test_a_wrong_pin_is_tried_once(
    signers: SignerProcess, faults: Path, faulty: Path, tmp_path: Path, keys_dir: Path
) -> None:
    wrong = tmp_path / "pin"
    wrong.write_text("wrong-5521")
    wrong.chmod(0o600)
    reached(keys_dir, Token(module=str(faulty), pin=PinSource(file=str(wrong)), timeout_s=30.0))
    with pytest.raises(Refused, match="is wrong; it was tried once") as told:
        signers.sign(Role.LOG, state("x"))
    assert "wrong-5521" not in str(told.value)
    for _ in range(2):
        with pytest.raises(Refused, match="was wrong the last time"):
            signers.sign(Role.LOG, state("x"))
        signers.close()  # the next verb has a signer process of its own
    assert len((faults / "logins").read_text()) == 1
    with pytest.raises(Refused, match="tried once"):
        signers.login(LABEL)
    assert len((faults / "logins").read_text()) == 2
    time.sleep(0.1)
    wrong.write_text(PIN)  # corrected: written after the wrong one was given
    assert signers.sign(Role.LOG, state("x"))
    assert not list(keys_dir.glob("wrong-pin-*"))


def test_a_pin_whose_answer_nobody_heard_is_not_given_again(
    signers: SignerProcess, faults: Path, faulty: Path, keys_dir: Path, token: SoftToken
) -> None:
    """The signer process is killed inside of C_Login: whether that cost a try, only the token knows."""
    (faults / "hang-login").touch()
    reached(keys_dir, token.described(faulty, timeout_s=10.0))  # with the start of the process on a busy host
    with pytest.raises(InfrastructureError, match="did not answer within"):
        signers.sign(Role.LOG, state("x"))
    (faults / "hang-login").unlink()
    for _ in range(2):
        with pytest.raises(Refused, match="nobody heard the answer"):
            signers.sign(Role.LOG, state("x"))
        signers.close()
    assert len((faults / "logins").read_text()) == 1
    reached(keys_dir, token.described(faulty, timeout_s=30.0))
    assert signers.login(LABEL) is False
    assert signers.sign(Role.LOG, state("x"))
    assert not list(keys_dir.glob("wrong-pin-*"))


def test_a_person_may_try_again(
    signers: SignerProcess, keys_dir: Path, token: SoftToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_PIN_T", "wrong-5521")
    reached(keys_dir, Token(module=str(LIBRARY), pin=PinSource(env="ASSAY_PIN_T")))
    with pytest.raises(Refused, match="tried once"):
        signers.sign(Role.LOG, state("x"))
    monkeypatch.setenv("ASSAY_PIN_T", PIN)
    signers.close()
    with pytest.raises(Refused, match="was wrong the last time"):
        signers.sign(Role.LOG, state("x"))
    assert signers.login(LABEL) is False  # no hardware
    assert signers.sign(Role.LOG, state("x"))


def test_verbs_that_start_together_give_a_wrong_pin_once(
    keys_dir: Path, faults: Path, faulty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_PIN_T", "wrong-5521")
    reached(keys_dir, Token(module=str(faulty), pin=PinSource(env="ASSAY_PIN_T"), timeout_s=30.0))
    services = [SignerProcess(keys_dir) for _ in range(3)]
    lock = TokenLock(keys_dir, faulty, LABEL)

    def refused(service: SignerProcess) -> str:
        with pytest.raises(Refused) as told:
            service.sign(Role.LOG, state("x"))
        service.close()
        return told.value.message

    with ThreadPoolExecutor(3) as pool:
        with lock.held(announce_nothing):  # until all of them have their PIN and wait
            said = [pool.submit(refused, service) for service in services]
            wait_until(lambda: all(service.pid for service in services))
            time.sleep(2)
        assert sum("was wrong the last time" in each.result() for each in said) == 2
    assert len((faults / "logins").read_text()) == 1


def test_a_login_looks_at_the_pin_also_when_somebody_is_logged_in(
    signers: SignerProcess, keys_dir: Path, token: SoftToken
) -> None:
    given = keys_dir / "pin"
    given.write_text(PIN)
    given.chmod(0o600)
    reached(keys_dir, Token(module=str(LIBRARY), pin=PinSource(file="pin"), timeout_s=30.0))
    assert signers.sign(Role.LOG, state("x"))
    given.write_text("wrong-5521")
    with pytest.raises(Refused, match="tried once"):
        signers.login(LABEL)


def test_the_last_try_is_a_persons(signers: SignerProcess, faults: Path) -> None:
    (faults / "final-try").touch()
    with pytest.raises(Refused, match="locks itself at the next wrong PIN"):
        signers.sign(Role.LOG, state("x"))
    assert not (faults / "logins").exists()
    assert signers.login(LABEL) is False


@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_a_pin_that_others_can_read(tmp_path: Path, mode: int) -> None:
    (tmp_path / "pin").write_text(PIN)
    (tmp_path / "pin").chmod(mode)
    with pytest.raises(Refused, match="can be read by others") as told:
        read_pin(LABEL, PinSource(file="pin"), place_in(tmp_path))
    assert "chmod 600" in told.value.remedy
    assert PIN not in str(told.value)


def test_where_a_pin_comes_from(tmp_path: Path) -> None:
    (tmp_path / "pin").write_text(PIN + "\n")
    (tmp_path / "pin").chmod(0o600)
    for source in (PinSource(env="ASSAY_PIN_T"), PinSource(file="pin"), PinSource(command=("echo", PIN))):
        assert read_pin(LABEL, source, place_in(tmp_path, ASSAY_PIN_T=PIN)) == PIN


@pytest.mark.parametrize(
    ("source", "error", "says"),
    [
        (PinSource(command=("sh", "-c", f"echo {PIN}; exit 3")), InfrastructureError, "ended with 3"),
        (PinSource(command=("no-such-program",)), InfrastructureError, "cannot be run"),
        (PinSource(command=("true",)), Refused, "printed nothing"),
        (PinSource(env="ASSAY_PIN_UNSET"), Refused, "ASSAY_PIN_UNSET is not set"),
        (PinSource(file="no-such-file"), Refused, "cannot be read"),
        (PinSource(file="."), Refused, "Is a directory"),
    ],
)
def test_where_no_pin_comes_from(tmp_path: Path, source: PinSource, error: type[AssayError], says: str) -> None:
    with pytest.raises(error, match=says) as told:
        read_pin(LABEL, source, place_in(tmp_path))
    assert PIN not in str(told.value)


def test_a_command_that_does_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pin, "COMMAND_WITHIN_S", 0.1)
    with pytest.raises(InfrastructureError, match=r"gives the PIN of the token 'factory' \(sleep\) did not end within"):
        read_pin(LABEL, PinSource(command=("sleep", "60")), place_in(tmp_path))
