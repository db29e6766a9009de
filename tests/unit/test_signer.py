# SPDX-License-Identifier: Apache-2.0
"""The signer process: what it signs and what not, that it dies with its parent, and what it never shows."""

from __future__ import annotations

import concurrent.futures
import ctypes
import hashlib
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from assay.backends.signers import messages, service
from assay.backends.signers.key_folder import KeyFolder
from assay.backends.signers.process import shield
from assay.backends.signers.service import SignerProcess
from assay.backends.signers.signed_forms import may_sign_bytes
from assay.errors import AssayError, InfrastructureError, NotVerified, Refused, StorageError, UsageFault
from assay.formats import canonical_json
from assay.formats.checkpoint import Checkpoint
from assay.formats.public_key import signature_is_good
from assay.formats.statement_verifier import verify_statement
from assay.model.keys import ED25519_ROLES
from assay.model.statement import PredicateType, Statement, Subject
from assay.model.trust import STATEMENT_ROLES, Role, TrustFile


def statement(predicate_type: PredicateType = PredicateType.PROVENANCE) -> bytes:
    subject = Subject(name="image", digest={"sha256": "ab" * 32})
    return canonical_json.encode_value(Statement(subject=(subject,), predicateType=predicate_type, predicate={"n": 1}))


def state(name: str, size: int = 3) -> bytes:
    """The text of a checkpoint, which the log's key signs."""
    return Checkpoint(f"assay.local/{name}", size, hashlib.sha256(name.encode()).digest()).text.encode()


SIGNED = {
    Role.IMAGE: hashlib.sha256(b"image").digest(),
    Role.LOG: state("site"),
    Role.DEVICE_CA: bytes.fromhex("308182") + bytes(0x82),
    Role.WITNESS: b"cosignature/v1\ntime 1795000000\n" + state("site"),
    Role.RAUC: b"[update]\ncompatible=board\nversion=1.0.0\n\n[bundle]\nformat=verity\n",
}
"""What each key that signs bytes is for: a digest, a checkpoint, a DER SEQUENCE as a certificate is, a manifest."""


@pytest.fixture
def keys_dir(tmp_path: Path) -> Path:
    return tmp_path / "keys #1 ?x"


@pytest.fixture
def signers(keys_dir: Path) -> Iterator[SignerProcess]:
    service = SignerProcess(keys_dir)
    yield service
    service.close()


@pytest.mark.parametrize("role", sorted(set(Role) - STATEMENT_ROLES))
def test_signs_bytes(signers: SignerProcess, role: Role) -> None:
    key = signers.public_key(role)
    assert signature_is_good(key, signers.sign(role, SIGNED[role]), SIGNED[role])
    assert not signature_is_good(key, signers.sign(role, SIGNED[role]), b"other")
    assert key.algorithm == ("ed25519" if role in ED25519_ROLES else "ecdsa-p256")
    assert key.development
    assert "UNSAFE-DEVELOPMENT" in key.name


def test_signs_statements(signers: SignerProcess) -> None:
    key = signers.public_key(Role.BUILDER)
    trust = TrustFile(schema="assay.trust/1", name="t", allow_development=True, keys=(key,))
    bundle = signers.sign_statement(Role.BUILDER, statement())
    found = verify_statement(bundle, trust, role=Role.BUILDER, predicate_types={PredicateType.PROVENANCE})
    assert found.payload == statement()
    assert key.algorithm == "ecdsa-p256"


@pytest.mark.parametrize("role", sorted(STATEMENT_ROLES))
def test_keys_of_statements_sign_no_bytes(signers: SignerProcess, role: Role) -> None:
    with pytest.raises(Refused, match="does not sign these bytes"):
        signers.sign(role, b"data")


@pytest.mark.parametrize("role", sorted(set(Role) - STATEMENT_ROLES))
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"data",
        SIGNED[Role.IMAGE] + b"\0",
        SIGNED[Role.LOG][:-1],
        SIGNED[Role.LOG] + b"extension\n",
        b"\xff" + SIGNED[Role.LOG],
        SIGNED[Role.DEVICE_CA][:-1],
        SIGNED[Role.DEVICE_CA] + b"\0",
        b"\x30\x02\x05\0",
        b"\x30\x80\0\0",
        b"DSSEv1 28 application/vnd.in-toto+json 2 {}",
    ],
)
def test_a_key_signs_only_what_it_is_for(role: Role, data: bytes) -> None:
    assert not may_sign_bytes(role, data)


def test_no_key_signs_what_another_is_for(signers: SignerProcess) -> None:
    for role in SIGNED:
        for other in SIGNED.keys() - {role}:
            with pytest.raises(Refused, match="does not sign these bytes"):
                signers.sign(role, SIGNED[other])


def test_keys_of_bytes_sign_no_statements(signers: SignerProcess) -> None:
    with pytest.raises(Refused, match="a image key may not sign"):
        signers.sign_statement(Role.IMAGE, statement())
    with pytest.raises(Refused, match="does not sign these bytes"):
        signers.sign(Role.IMAGE, b"DSSEv1 4 type 1 x")


def test_roles_keep_to_their_types(signers: SignerProcess) -> None:
    with pytest.raises(Refused, match="a bench key may not sign"):
        signers.sign_statement(Role.BENCH, statement())


@pytest.mark.parametrize("payload", [b"", b"{}", b"[]", b'{"_type": "x"}', b'{"a": 1, "a": 2}'])
def test_signs_nothing_else_as_a_statement(signers: SignerProcess, payload: bytes) -> None:
    with pytest.raises(NotVerified):
        signers.sign_statement(Role.BUILDER, payload)


def test_a_large_statement(signers: SignerProcess) -> None:
    subject = Subject(name="image", digest={"sha256": "ab" * 32})
    large = Statement(subject=(subject,), predicateType=PredicateType.SBOM, predicate={"text": "x" * 3_000_000})
    assert len(signers.sign_statement(Role.BUILDER, canonical_json.encode_value(large))) > 4_000_000


def test_keys_last_and_are_private(signers: SignerProcess, keys_dir: Path) -> None:
    first = signers.public_key(Role.FIELD)
    again = SignerProcess(keys_dir)
    assert again.public_key(Role.FIELD) == first
    again.close()
    assert stat.S_IMODE(keys_dir.stat().st_mode) == 0o700
    files = [path for path in keys_dir.iterdir() if path.suffix == ".pem"]
    assert files
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert "UNSAFE-DEVELOPMENT" in path.name


def test_several_processes_make_one_key(keys_dir: Path) -> None:
    def keyid(_: int) -> str:
        service = SignerProcess(keys_dir)
        try:
            return service.public_key(Role.STATION).keyid
        finally:
            service.close()

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(keyid, range(6)))) == 1


def test_several_threads_share_one_process(signers: SignerProcess) -> None:
    key = signers.public_key(Role.LOG)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        data = [state(str(number)) for number in range(80)]
        signatures = list(pool.map(lambda item: signers.sign(Role.LOG, item), data))
    assert all(signature_is_good(key, *pair) for pair in zip(signatures, data, strict=True))


def test_a_signer_that_died_is_started_again(signers: SignerProcess) -> None:
    key = signers.public_key(Role.LOG)
    pid = signers.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert signature_is_good(key, signers.sign(Role.LOG, state("x")), state("x"))
    assert signers.pid != pid


def test_an_interrupted_request_does_not_answer_the_next(
    signers: SignerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C between question and answer: the late answer belongs to nobody."""
    key = signers.public_key(Role.LOG)

    def interrupt(*_: object) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(service, "_read_line", interrupt)
        with pytest.raises(KeyboardInterrupt):
            signers.sign(Role.LOG, state("first"))
    assert signature_is_good(key, signers.sign(Role.LOG, state("second")), state("second"))


def test_a_signer_that_does_not_answer(signers: SignerProcess, monkeypatch: pytest.MonkeyPatch) -> None:

    signers.public_key(Role.LOG)
    pid = signers.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    monkeypatch.setattr(service, "ANSWER_TIMEOUT_S", 0.1)
    monkeypatch.setattr(service, "END_TIMEOUT_S", 0.1)
    with pytest.raises(InfrastructureError, match="did not answer"):
        signers.sign(Role.LOG, state("x"))
    assert not Path(f"/proc/{pid}").exists()


def test_a_signer_that_cannot_be_started(keys_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(InfrastructureError, match="ends before it answers"):
        SignerProcess(keys_dir).public_key(Role.LOG)
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(InfrastructureError, match="cannot be started"):
        SignerProcess(keys_dir).public_key(Role.LOG)


PARENT = """
import sys, time
from pathlib import Path
from assay.backends.signers.service import SignerProcess
from assay.backends.signers.signed_forms import may_sign_bytes
from assay.model.trust import Role
signers = SignerProcess(Path(sys.argv[1]))
signers.public_key(Role.LOG)
print(signers.pid, flush=True)
time.sleep(60)
"""


def test_dies_with_its_parent(keys_dir: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, keys_dir], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert _alive(pid)
        os.kill(pid, signal.SIGSTOP)  # so that it cannot see the end of its input
        parent.kill()
    deadline = time.monotonic() + 60
    while _alive(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _alive(pid)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in ("Z", "X")
    except FileNotFoundError:
        return False


def test_nothing_secret_is_visible(signers: SignerProcess, keys_dir: Path) -> None:
    signers.sign(Role.LOG, state("x"))
    process = Path(f"/proc/{signers.pid}")
    assert str(keys_dir).encode() not in process.joinpath("cmdline").read_bytes()
    assert str(keys_dir).encode() not in _environment(process)
    limits = process.joinpath("limits").read_text()
    assert next(line for line in limits.splitlines() if line.startswith("Max core")).split()[4:6] == ["0", "0"]


def _environment(process: Path) -> bytes:
    try:
        return process.joinpath("environ").read_bytes()
    except PermissionError:
        return b""  # nobody but root may look into a process that cannot be dumped


def test_memory_is_shielded() -> None:
    child = os.fork()
    if child == 0:
        shield()
        pr_get_dumpable = 3
        os._exit(ctypes.CDLL(None).prctl(pr_get_dumpable, 0, 0, 0, 0))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_this_process_reads_no_private_key(
    signers: SignerProcess, keys_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    sys.addaudithook(lambda event, arguments: opened.append(str(arguments[0])) if event == "open" else None)
    signers.sign_statement(Role.BUILDER, statement())
    assert not [path for path in opened if str(keys_dir) in path]


def test_key_file_that_others_can_read(signers: SignerProcess, keys_dir: Path) -> None:
    signers.public_key(Role.LOG)
    (keys_dir / "log-UNSAFE-DEVELOPMENT.pem").chmod(0o644)
    with pytest.raises(Refused, match=r"can be read by others \(mode 0644\)") as error:
        signers.sign(Role.LOG, state("x"))
    assert "chmod 600" in error.value.remedy


def test_damaged_key(signers: SignerProcess, keys_dir: Path) -> None:
    signers.public_key(Role.LOG)
    signers.close()
    path = keys_dir / "log-UNSAFE-DEVELOPMENT.pem"
    secret = path.read_text().splitlines()[1]
    path.write_text("-----BEGIN PRIVATE KEY-----\n" + secret[:-8] + "\n-----END PRIVATE KEY-----\n")
    with pytest.raises(StorageError, match="cannot be used") as error:
        signers.sign(Role.LOG, state("x"))
    assert secret[:-8] not in str(error.value)


def test_key_of_another_role_under_this_name(signers: SignerProcess, keys_dir: Path) -> None:
    signers.public_key(Role.LOG)
    signers.public_key(Role.IMAGE)
    signers.close()
    stranger = (keys_dir / "image-UNSAFE-DEVELOPMENT.pem").read_bytes()
    (keys_dir / "log-UNSAFE-DEVELOPMENT.pem").write_bytes(stranger)
    with pytest.raises(StorageError, match=r"is not the one that keys.toml names"):
        signers.sign(Role.LOG, state("x"))


def test_missing_key_file(signers: SignerProcess, keys_dir: Path) -> None:
    signers.public_key(Role.LOG)
    (keys_dir / "log-UNSAFE-DEVELOPMENT.pem").unlink()
    with pytest.raises(StorageError, match="is missing"):
        signers.sign(Role.LOG, state("x"))


@pytest.mark.parametrize(
    "text",
    [
        "x",
        'schema = "assay.keys/2"',
        'schema = "assay.keys/1"\n[roles.boss]\nuri = "a"',
        "schema = 'assay.keys/1'\nx = 1",
    ],
)
def test_damaged_table(signers: SignerProcess, keys_dir: Path, text: str) -> None:
    keys_dir.mkdir()
    (keys_dir / "keys.toml").write_text(text)
    with pytest.raises(UsageFault, match=r"keys\.toml"):
        signers.public_key(Role.LOG)


def test_a_production_folder_gets_no_development_keys(signers: SignerProcess, keys_dir: Path) -> None:
    keys_dir.mkdir()
    (keys_dir / "keys.toml").write_text('schema = "assay.keys/1"\n')
    with pytest.raises(Refused, match="no key for the role 'log'"):
        signers.public_key(Role.LOG)
    assert [path.name for path in keys_dir.iterdir() if path.suffix == ".pem"] == []


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be used"):
        SignerProcess(tmp_path / "file" / "keys").public_key(Role.LOG)


def test_a_key_that_was_made_and_not_listed_is_taken_up(signers: SignerProcess, keys_dir: Path) -> None:
    """The process died between the key file and keys.toml."""
    first = signers.public_key(Role.LOG)
    signers.close()
    (keys_dir / "keys.toml").unlink()
    assert SignerProcess(keys_dir).public_key(Role.LOG) == first


def test_path_prefix_of_the_library_is_not_followed(
    keys_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTO_SIGNER_PATH_PREFIX", str(tmp_path / "elsewhere"))
    service = SignerProcess(keys_dir)
    assert service.sign(Role.LOG, state("x"))
    service.close()


def test_a_package_named_assay_in_the_working_folder_is_not_run(
    keys_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "work" / "assay"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path / "work")
    service = SignerProcess(keys_dir)
    assert service.public_key(Role.LOG)
    service.close()


def test_a_fork_gets_a_signer_of_its_own(signers: SignerProcess) -> None:
    signers.public_key(Role.LOG)
    pid = signers.pid
    child = os.fork()
    if child == 0:
        try:
            good = len(signers.sign(Role.LOG, state("child"))) == 64 and signers.pid != pid
            signers.close()
            os._exit(0 if good else 1)
        except BaseException:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert signers.pid == pid
    assert len(signers.sign(Role.LOG, state("parent"))) == 64


def test_errors_cross_without_what_they_hold() -> None:
    told = messages.of_error(ValueError("-----BEGIN PRIVATE KEY-----"))
    assert "PRIVATE" not in str(told)
    for error in (Refused("no", remedy="ask"), NotVerified("no", remedy="ask"), StorageError("no", remedy="ask")):
        back = messages.to_error(messages.decode(messages.encode(messages.of_error(error))))
        assert type(back) is type(error)
        assert isinstance(back, AssayError)
        assert (back.message, back.remedy) == ("no", "ask")
    with pytest.raises(InfrastructureError):
        messages.decode(b"[]\n")


def test_thread_that_started_the_signer_may_end(keys_dir: Path) -> None:
    """Linux ends a child with PDEATHSIG when the *thread* that made it ends: the signer is then started again."""
    service = SignerProcess(keys_dir)
    thread = threading.Thread(target=service.public_key, args=(Role.LOG,))
    thread.start()
    thread.join()
    assert len(service.sign(Role.LOG, state("x"))) == 64
    service.close()


def test_folder_is_not_touched_by_reading(tmp_path: Path) -> None:
    folder = KeyFolder(tmp_path / "keys")
    folder.trusted(Role.BENCH)
    before = (tmp_path / "keys" / "keys.toml").stat().st_mtime_ns
    folder.trusted(Role.BENCH)
    assert (tmp_path / "keys" / "keys.toml").stat().st_mtime_ns == before
