# SPDX-License-Identifier: Apache-2.0
"""Keys in a real SoftHSM2 token: every role signs, faults are told in words, a wrong PIN costs one try."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509
from soft_token import LABEL, LIBRARY, PIN, SoftToken, faulty_library, make_keys, needs_softhsm
from test_signer import SIGNED, state, statement

from assay.backends.builders.imgtool_program import ImgtoolProgram
from assay.backends.signers import pin
from assay.backends.signers.key_folder import KeyFolder
from assay.backends.signers.pin import read_pin
from assay.backends.signers.service import SignerProcess
from assay.backends.signers.token_lock import TokenLock
from assay.errors import AssayError, InfrastructureError, Refused, StorageError, ToolMissing, UsageFault
from assay.formats.public_key import signature_is_good
from assay.formats.statement_verifier import verify_statement
from assay.interfaces.signer import KeyPlace, announce_nothing
from assay.model.image_parameters import ImageParameters
from assay.model.keys import PinSource, Token
from assay.model.statement import PredicateType
from assay.model.trust import Role, TrustFile
from assay.pipeline.device_ca import ca_certificate
from assay.pipeline.site import Site
from assay.pipeline.trust_file import site_trust

pytestmark = needs_softhsm


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[SoftToken, Path]:
    """A token with a key for every role, and the folder of keys that names them."""
    root = tmp_path_factory.mktemp("token")
    token = SoftToken(root / "hsm").make()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in token.environment.items():
            patch.setenv(name, value)
        signers = SignerProcess(root / "keys")
        signers.set_token(LABEL, token.described())
        make_keys(signers)
        signers.close()
    return token, root / "keys"


@pytest.fixture
def token(made: tuple[SoftToken, Path], monkeypatch: pytest.MonkeyPatch) -> SoftToken:
    for name, value in made[0].environment.items():
        monkeypatch.setenv(name, value)
    return made[0]


@pytest.fixture
def keys_dir(made: tuple[SoftToken, Path], tmp_path: Path) -> Path:
    """A copy of the folder of keys; the token is the same."""
    folder = tmp_path / "keys"
    folder.mkdir(mode=0o700)
    (folder / "keys.toml").write_bytes((made[1] / "keys.toml").read_bytes())
    return folder


@pytest.fixture
def signers(token: SoftToken, keys_dir: Path) -> Iterator[SignerProcess]:
    service = SignerProcess(keys_dir)
    yield service
    service.close()


@pytest.fixture(scope="module")
def steady(made: tuple[SoftToken, Path]) -> Iterator[SignerProcess]:
    """One signer process for the tests that change nothing."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in made[0].environment.items():
            patch.setenv(name, value)
        service = SignerProcess(made[1])
        service.roles()
    yield service
    service.close()


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return faulty_library(tmp_path_factory.mktemp("faulty"))


@pytest.fixture
def faults(faulty: Path, keys_dir: Path, token: SoftToken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The token behind the library with faults; the folder in which a file makes each."""
    folder = tmp_path / "faults"
    folder.mkdir()
    monkeypatch.setenv("FAULTY_DIR", str(folder))
    monkeypatch.setenv("FAULTY_REAL", str(LIBRARY))
    reached(keys_dir, token.described(faulty))
    return folder


@pytest.mark.parametrize("role", sorted(SIGNED))
def test_signs_bytes(steady: SignerProcess, role: Role) -> None:
    key = steady.public_key(role)
    assert signature_is_good(key, steady.sign(role, SIGNED[role]), SIGNED[role])
    assert not key.development
    assert "UNSAFE" not in key.name


def test_signs_statements_that_verify_as_before(steady: SignerProcess) -> None:
    trust = TrustFile(schema="assay.trust/1", name="t", keys=(steady.public_key(Role.BUILDER),))
    bundle = steady.sign_statement(Role.BUILDER, statement())
    found = verify_statement(bundle, trust, role=Role.BUILDER, predicate_types={PredicateType.PROVENANCE})
    assert found.payload == statement()


def test_roles_keep_to_what_they_sign(steady: SignerProcess) -> None:
    with pytest.raises(Refused, match="does not sign these bytes"):
        steady.sign(Role.IMAGE, state("a log"))
    with pytest.raises(Refused, match="may not sign"):
        steady.sign_statement(Role.BENCH, statement())


def test_device_certificates(token: SoftToken, keys_dir: Path, tmp_path: Path) -> None:
    site = Site(tmp_path)
    certificate = x509.load_der_x509_certificate(ca_certificate(site))
    certificate.verify_directly_issued_by(certificate)
    site.signers.close()


def test_an_image_has_the_same_bytes_as_by_the_file(
    token: SoftToken, signers: SignerProcess, keys_dir: Path, tmp_path: Path
) -> None:
    files = SignerProcess(tmp_path / "files")
    image = files.public_key(Role.IMAGE)
    token.import_file(tmp_path / "files" / "image-UNSAFE-DEVELOPMENT.pem", "imported", "77")
    imported = signers.use_key(
        Role.IMAGE, "hsm:119?label=factory", public=None, name=None, make=False, production=False
    )
    assert imported.keyid == image.keyid
    assert imported.development
    parameters = ImageParameters("1.2.3", 0x10000, 8, 1, "ast1030-evb", 1, "tiny")
    tool, payload = ImgtoolProgram(), bytes(range(256)) * 8
    digest = tool.bytes_to_sign(payload, parameters)
    made = [
        tool.with_signature(payload, parameters, each.sign(Role.IMAGE, digest), image.public)
        for each in (files, signers)
    ]
    assert made[0] == made[1]
    files.close()


def test_the_uri_means_what_it_means_to_securesystemslib(
    token: SoftToken, signers: SignerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from securesystemslib.signer import HSMSigner, SSlibKey

    number = list(Role).index(Role.STATION) + 1
    uri = f"hsm:{number}?label={LABEL}"
    key = signers.use_key(Role.STATION, uri, public=None, name="x", make=False, production=True)
    monkeypatch.setenv("PYKCS11LIB", str(LIBRARY))
    theirs = HSMSigner.from_priv_key_uri(
        uri, SSlibKey.from_crypto(load_pem_public_key(key.public.encode())), lambda _: PIN
    )
    assert signature_is_good(key, bytes.fromhex(theirs.sign(b"data").signature), b"data")


def test_one_session_for_all_keys(signers: SignerProcess, faults: Path) -> None:
    for _ in range(4):
        for role in SIGNED:
            signers.sign(role, SIGNED[role])
    assert len((faults / "logins").read_text()) == len((faults / "sessions").read_text()) == 1


CAMPAIGN = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from assay.backends.signers.service import SignerProcess
from assay.formats.public_key import signature_is_good
from assay.model.trust import Role
signers = SignerProcess(Path(sys.argv[1]))
key, data = signers.public_key(Role.IMAGE), [bytes([number]) * 32 for number in range(40)]
with ThreadPoolExecutor(8) as pool:
    signatures = list(pool.map(lambda item: signers.sign(Role.IMAGE, item), data))
print(sum(signature_is_good(key, *pair) for pair in zip(signatures, data)))
signers.close()
"""


def test_four_processes_with_eight_threads_each(token: SoftToken, keys_dir: Path) -> None:
    """As verbs of one site do it: a signer process for each of four, asked by eight threads. No signature fails."""
    command = [sys.executable, "-c", CAMPAIGN, str(keys_dir)]
    verbs = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for _ in range(4)]
    assert [verb.communicate(timeout=110)[0] for verb in verbs] == [b"40\n"] * 4


# What can be wrong.


def reached(keys_dir: Path, token: Token) -> None:
    KeyFolder(keys_dir).set_token(LABEL, token)


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


def statement_of_station() -> bytes:
    from assay.formats import canonical_json
    from assay.model.statement import Statement, Subject

    subject = Subject(name="unit", digest={"sha256": "ab" * 32})
    return canonical_json.encode_value(
        Statement(subject=(subject,), predicateType=PredicateType.PROVISIONING, predicate={})
    )


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


# Who is a development key.


def test_a_soft_token_is_for_development_unless_a_person_says_otherwise(signers: SignerProcess) -> None:
    uri = "hsm:2?label=factory"
    plain = signers.use_key(Role.BUILDER, uri, public=None, name=None, make=False, production=False)
    assert plain.development
    assert plain.name == "builder-UNSAFE-DEVELOPMENT"
    meant = signers.use_key(Role.BUILDER, uri, public=None, name="b-2026", make=False, production=True)
    assert (meant.development, meant.name) == (False, "b-2026")


def test_a_token_that_says_that_it_is_hardware(signers: SignerProcess, faults: Path) -> None:
    (faults / "hardware").touch()
    key = signers.use_key(Role.BUILDER, "hsm:2?label=factory", public=None, name=None, make=False, production=False)
    assert (key.development, key.name) == (False, "builder")
    assert signers.login(LABEL) is True


def test_a_key_that_can_be_copied_is_never_for_production(
    signers: SignerProcess, token: SoftToken, keys_dir: Path
) -> None:
    make_extractable(token)
    uri = "pkcs11:token=factory;object=loose"
    with pytest.raises(Refused, match="can be copied out"):
        signers.use_key(Role.BENCH, uri, public=None, name=None, make=False, production=True)
    assert signers.use_key(Role.BENCH, uri, public=None, name=None, make=False, production=False).development
    toml = keys_dir / "keys.toml"
    table, bench, rest = toml.read_text().partition("[roles.bench]")
    toml.write_text(table + bench + rest.replace("development = true", "development = false", 1))
    signers.close()
    with pytest.raises(Refused, match="can be copied out of the token"):
        signers.sign_statement(Role.BENCH, statement_of_bench())


def statement_of_bench() -> bytes:
    return statement_of_station().replace(
        PredicateType.PROVISIONING.value.encode(), PredicateType.TEST_RESULT.value.encode()
    )


@pytest.mark.parametrize("label", ["p384", "rsa"])
def test_a_key_of_no_kind_of_ours(signers: SignerProcess, token: SoftToken, tmp_path: Path, label: str) -> None:
    how = {"p384": ["ec", "ec_paramgen_curve:P-384"], "rsa": ["rsa", "rsa_keygen_bits:2048"]}[label]
    file = tmp_path / "key.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", how[0], "-pkeyopt", how[1], "-out", file], check=True)
    token.import_file(file, label, {"p384": "71", "rsa": "72"}[label])
    uri = f"pkcs11:token=factory;object={label}"
    with pytest.raises(Refused, match="neither P-256 nor Ed25519"):
        signers.use_key(Role.BUILDER, uri, public=None, name=None, make=False, production=True)


def make_extractable(token: SoftToken) -> None:
    curve = "{pkcs11.Attribute.EC_PARAMS: bytes.fromhex('06082a8648ce3d030107')}"
    loose = "{pkcs11.Attribute.EXTRACTABLE: True}"
    made = f"session.create_domain_parameters(pkcs11.KeyType.EC, {curve}, local=True)"
    in_the_token(token, f"{made}.generate_keypair(store=True, label='loose', id=b'U', private_template={loose})")


def in_the_token(token: SoftToken, work: str) -> None:
    """`work` with a session, in a process of its own: SoftHSM reads its configuration once."""
    script = (
        f"import pkcs11\nfound = pkcs11.lib({str(LIBRARY)!r}).get_token(token_label={LABEL!r})\n"
        f"with found.open(rw=True, user_pin={PIN!r}) as session:\n    {work}\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


# The PIN.


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
    time.sleep(0.01)
    wrong.write_text(PIN)  # corrected: written after the wrong one was given
    assert signers.sign(Role.LOG, state("x"))
    assert not list(keys_dir.glob("wrong-pin-*"))


def test_a_pin_whose_answer_nobody_heard_is_not_given_again(
    signers: SignerProcess, faults: Path, faulty: Path, keys_dir: Path, token: SoftToken
) -> None:
    """The signer process is killed inside of C_Login: whether that cost a try, only the token knows."""
    (faults / "hang-login").touch()
    reached(keys_dir, token.described(faulty, timeout_s=1.0))
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


def place_in(folder: Path, **secrets: str) -> KeyPlace:
    return KeyPlace(uri="hsm:1", public="", folder=folder, locks=folder, secrets=secrets)


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
    reached(keys_dir, token.described(faulty, timeout_s=1.0))
    signers.sign(Role.LOG, state("x"))
    pid = signers.pid
    (faults / "hang").touch()
    began_s = time.monotonic()
    with pytest.raises(InfrastructureError, match="the token 'factory' did not answer within 2 s"):
        signers.sign(Role.LOG, state("y"))
    assert time.monotonic() - began_s < 20
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
    thread.join(60)
    assert len(made) == 1
    assert signature_is_good(key, made[0], state("x"))


def wait_for(file: Path) -> None:
    wait_until(file.exists)


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_trust_file_names_the_keys_that_are_there(token: SoftToken, signers: SignerProcess, tmp_path: Path) -> None:
    keys = signers.roles()
    assert set(keys) == set(Role)
    site = Site(tmp_path)
    found = site_trust(site, "site")
    assert {key.role for key in found.keys} == set(Role) - {Role.LOG, Role.WITNESS}
    assert not any(key.development for key in found.keys)
    assert not found.logs[0].development
    site.signers.close()
