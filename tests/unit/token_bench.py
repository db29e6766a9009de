# SPDX-License-Identifier: Apache-2.0
"""A SoftHSM2 token with a key for every role, the folder of keys that names them, and a library that has faults."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from soft_token import LABEL, LIBRARY, PIN, SoftToken, faulty_library, make_keys

from assay.backends.signers.key_folder import KeyFolder
from assay.backends.signers.service import SignerProcess
from assay.formats import canonical_json
from assay.interfaces.signer import KeyPlace
from assay.model.keys import Token
from assay.model.statement import PredicateType, Statement, Subject


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


def reached(keys_dir: Path, token: Token) -> None:
    """keys.toml says from now on that the token is reached so."""
    KeyFolder(keys_dir).set_token(LABEL, token)


def statement_of_station() -> bytes:
    subject = Subject(name="unit", digest={"sha256": "ab" * 32})
    return canonical_json.encode_value(
        Statement(subject=(subject,), predicateType=PredicateType.PROVISIONING, predicate={})
    )


def statement_of_bench() -> bytes:
    return statement_of_station().replace(
        PredicateType.PROVISIONING.value.encode(), PredicateType.TEST_RESULT.value.encode()
    )


def in_the_token(token: SoftToken, work: str) -> None:
    """`work` with a session, in a process of its own: SoftHSM reads its configuration once."""
    script = (
        f"import pkcs11\nfound = pkcs11.lib({str(LIBRARY)!r}).get_token(token_label={LABEL!r})\n"
        f"with found.open(rw=True, user_pin={PIN!r}) as session:\n    {work}\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def place_in(folder: Path, **secrets: str) -> KeyPlace:
    return KeyPlace(uri="hsm:1", public="", folder=folder, locks=folder, secrets=secrets)


def wait_until(happened: Callable[[], bool]) -> None:
    """Up to a minute."""
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)
