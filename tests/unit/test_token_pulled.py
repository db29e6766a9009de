# SPDX-License-Identifier: Apache-2.0
"""A token that is pulled, exchanged, initialised anew or changed by another process between two signatures: what is
signed is by the key that is trusted, or nothing is signed, and it is told; no try of a PIN is spent.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from soft_token import LABEL, LIBRARY, PIN, SO_PIN, SoftToken, make_keys, needs_softhsm
from test_signer import state
from token_bench import faults, faulty, in_the_token, keys_dir, made, signers, statement_of_bench, token

from assay.backends.signers.service import SignerProcess
from assay.errors import AssayError, InfrastructureError, Refused, StorageError, ToolMissing, UsageFault
from assay.formats.public_key import signature_is_good
from assay.model.trust import Role

__all__ = ["faults", "faulty", "keys_dir", "made", "signers", "token"]
pytestmark = needs_softhsm

ANOTHER_ED25519 = """
    for kind in (pkcs11.ObjectClass.PRIVATE_KEY, pkcs11.ObjectClass.PUBLIC_KEY):
        session.get_key(kind, label="log").destroy()
    curve = {pkcs11.Attribute.EC_PARAMS: bytes.fromhex("06032b6570")}
    session.create_domain_parameters(pkcs11.KeyType.EC_EDWARDS, curve, local=True).generate_keypair(
        mechanism=pkcs11.Mechanism.EC_EDWARDS_KEY_PAIR_GEN, store=True, label="log", id=bytes([9]),
        capabilities=pkcs11.MechanismFlag.SIGN | pkcs11.MechanismFlag.VERIFY,
        private_template={pkcs11.Attribute.SENSITIVE: True, pkcs11.Attribute.EXTRACTABLE: False},
    )
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SoftToken:
    """A token for one test, which may ruin it."""
    found = SoftToken(tmp_path / "hsm").make()
    for name, value in found.environment.items():
        monkeypatch.setenv(name, value)
    return found


@pytest.fixture
def library(tmp_path: Path) -> Path:
    return Path(shutil.copy(LIBRARY, tmp_path / "library.so"))


@pytest.fixture
def service(own: SoftToken, library: Path, tmp_path: Path) -> Iterator[SignerProcess]:
    """A signer process that has signed once, and holds a session."""
    found = SignerProcess(tmp_path / "keys")
    found.set_token(LABEL, own.described(library))
    make_keys(found, (Role.LOG, Role.BENCH))
    signs(found)
    yield found
    found.close()


def signs(service: SignerProcess) -> None:
    key = service.public_key(Role.LOG)
    assert signature_is_good(key, service.sign(Role.LOG, state("x")), state("x"))


def does_not_sign(service: SignerProcess, kind: type[AssayError], says: str) -> AssayError:
    """In the process that has the session, and in a new one."""
    for _ in range(2):
        with pytest.raises(kind, match=says) as told:
            service.sign(Role.LOG, state("x"))
    service.close()
    with pytest.raises(kind, match=says) as told:
        service.sign(Role.LOG, state("x"))
    return told.value


def test_a_token_is_pulled_and_plugged_in_again(service: SignerProcess, own: SoftToken, tmp_path: Path) -> None:
    """One signer process sees it go and come."""
    (folder,) = (own.folder / "tokens").iterdir()
    pid = service.pid
    for _ in range(2):
        folder.rename(tmp_path / "pulled")
        with pytest.raises(InfrastructureError, match=r"the token 'factory' is not there; .* shows none"):
            service.sign(Role.LOG, state("x"))
        (tmp_path / "pulled").rename(folder)
        signs(service)
    assert service.pid == pid
    assert not list((tmp_path / "keys").glob("wrong-pin-*"))


def test_what_a_library_keeps_is_gone(service: SignerProcess, own: SoftToken, tmp_path: Path) -> None:
    (own.folder / "tokens").rename(tmp_path / "gone")
    told = does_not_sign(
        service, InfrastructureError, r"is there and does not begin, it answers GeneralError: .*library"
    )
    assert "apt-get" not in told.remedy
    (tmp_path / "gone").rename(own.folder / "tokens")
    signs(service)


def test_the_library_is_gone(service: SignerProcess, library: Path, tmp_path: Path) -> None:
    """Who has loaded it has it; who begins does not find it."""
    library.rename(tmp_path / "gone.so")
    signs(service)
    service.close()
    with pytest.raises(ToolMissing, match=r"is missing: .*library\.so"):
        service.sign(Role.LOG, state("x"))
    (tmp_path / "gone.so").rename(library)
    signs(service)


def test_another_key_is_put_under_the_label(service: SignerProcess, own: SoftToken, tmp_path: Path) -> None:
    """By label alone: a signature that verifies as nobody is not handed out."""
    toml = tmp_path / "keys" / "keys.toml"
    by_label = toml.read_text().replace("object=log;id=%09", "object=log")
    assert by_label != toml.read_text()
    toml.write_text(by_label)
    service.close()
    signs(service)
    in_the_token(own, ANOTHER_ED25519.strip())
    does_not_sign(service, InfrastructureError, "the signature of the log key does not verify with its public key")


def test_a_token_is_initialised_anew_by_somebody_else(service: SignerProcess, own: SoftToken) -> None:
    words = ("--init-token", "--token", LABEL, "--label", LABEL, "--so-pin", SO_PIN, "--pin", PIN)
    subprocess.run(["softhsm2-util", *words], check=True, capture_output=True)
    does_not_sign(service, StorageError, "has no private key with label 'log' and id 09; it has none")


def test_a_second_key_of_one_label_and_id(service: SignerProcess, own: SoftToken) -> None:
    twin = "session.get_key(pkcs11.ObjectClass.PRIVATE_KEY, label='bench').copy({pkcs11.Attribute.TOKEN: True})"
    in_the_token(own, twin)
    with pytest.raises(UsageFault, match="several keys with label 'bench' and id 03") as told:
        service.sign_statement(Role.BENCH, statement_of_bench())
    assert told.value.remedy == "see which one it is, and remove the other with the tool of its maker"


def test_a_key_that_may_not_sign(service: SignerProcess, own: SoftToken) -> None:
    in_the_token(own, "session.get_key(pkcs11.ObjectClass.PRIVATE_KEY, label='bench')[pkcs11.Attribute.SIGN] = False")
    with pytest.raises(Refused, match=r"the key with label 'bench' .* may not sign \(CKA_SIGN is false\)") as told:
        service.sign_statement(Role.BENCH, statement_of_bench())
    assert "assay keys use" in told.value.remedy


def test_a_pin_is_changed_by_somebody_else(service: SignerProcess, own: SoftToken, tmp_path: Path) -> None:
    """One try is spent, by the first process that begins, and none by those that follow."""
    in_the_token(own, f"session.set_pin({PIN!r}, 'another-1234')")
    signs(service)  # logged in already
    service.close()
    with pytest.raises(Refused, match="is wrong; it was tried once"):
        service.sign(Role.LOG, state("x"))
    for _ in range(2):
        service.close()
        with pytest.raises(Refused, match="was wrong the last time"):
            service.sign(Role.LOG, state("x"))
    own.pin_file.write_text("another-1234\n")
    signs(service)


def test_a_locked_pin_is_not_given(signers: SignerProcess, faults: Path) -> None:
    """Neither to a token that says so by its flags, nor again to one that says so when it is given."""
    (faults / "pin-locked").touch()
    for _ in range(2):
        with pytest.raises(Refused, match="is locked: too many wrong PINs") as told:
            signers.sign(Role.LOG, state("x"))
        assert "SO PIN" in told.value.remedy
        signers.close()
    assert not (faults / "logins").exists()
    (faults / "pin-locked").rename(faults / "login-locked")
    with pytest.raises(Refused, match="is locked: too many wrong PINs"):
        signers.sign(Role.LOG, state("x"))
    assert len((faults / "logins").read_text()) == 1
