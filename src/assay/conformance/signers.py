# SPDX-License-Identifier: Apache-2.0
"""What a driver of the group `assay.signers` has to do (`interfaces.signer.KeySigner`), with its device connected.

`--assay-driver-address` is a folder of keys whose `keys.toml` names the key, `--assay-driver-option role=ROLE` its role
[builder]; `--assay-driver-absent=URI` a URI under which no key is. Some 300 signatures are made.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from assay.backends.entry_points import installed_driver
from assay.backends.signers.role_keys import RoleKeys
from assay.backends.signers.withheld import withheld
from assay.conformance.driver_choice import DriverChoice, choice_of
from assay.errors import AssayError
from assay.formats.public_key import signature_is_good
from assay.interfaces.signer import KeyPlace, KeySigner
from assay.model.trust import Role, TrustedKey

THREADS = 8
PROCESSES = 4
SIGNATURES_EACH = 20
LARGE_BYTES = 1024 * 1024
CHILD_WITHIN_S = 300.0


@dataclass(frozen=True)
class Subject:
    """The key under test: its driver, where it is, and its public part."""

    choice: DriverChoice
    driver: Callable[[KeyPlace], KeySigner]
    place: KeyPlace
    key: TrustedKey

    def open(self) -> KeySigner:
        """A signer of it, as the signer process opens one."""
        return self.driver(self.place)

    def is_good(self, signature: bytes, data: bytes) -> bool:
        """Whether the public part of the key verifies `signature`."""
        return signature_is_good(self.key, signature, data)


def subject_of(choice: DriverChoice) -> Subject:
    """The key that the command line names."""
    role = Role(str(choice.options.get("role", Role.BUILDER.value)))
    folder = Path(choice.address).absolute()
    keys = RoleKeys(folder, folder, withheld())
    driver: Any = choice.function or installed_driver("signers", choice.name)
    return Subject(choice, driver, keys.place(keys.folder.role_key(role)), keys.folder.trusted(role))


@pytest.fixture
def subject(request: pytest.FixtureRequest) -> Subject:
    """The key under test."""
    return subject_of(choice_of(request.config))


@pytest.fixture
def signer(subject: Subject) -> Iterator[KeySigner]:
    """A signer of it."""
    opened = subject.open()
    yield opened
    opened.close()


@pytest.mark.parametrize("size", [0, 1, 32, LARGE_BYTES])
def test_what_it_signs_verifies(subject: Subject, signer: KeySigner, size: int) -> None:
    """Data of any length; Ed25519 over the data, ECDSA P-256 over its SHA-256, in DER."""
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    signature = signer.sign(data)
    assert subject.is_good(signature, data)
    assert not subject.is_good(signature, data + b"\0")


def test_it_can_be_closed_and_used_again(subject: Subject, signer: KeySigner) -> None:
    """`close` twice is no error, and the next signature opens what is needed."""
    for _ in range(2):
        assert subject.is_good(signer.sign(b"data"), b"data")
        signer.close()
        signer.close()


def test_two_signers_of_one_key(subject: Subject) -> None:
    """Two signers live beside each other in one process; closing one leaves the other usable."""
    first, second = subject.open(), subject.open()
    assert subject.is_good(first.sign(b"1"), b"1")
    assert subject.is_good(second.sign(b"2"), b"2")
    first.close()
    assert subject.is_good(second.sign(b"3"), b"3")
    second.close()


def test_threads(subject: Subject, signer: KeySigner) -> None:
    """Eight threads at once on one signer: no signature fails."""
    data = [f"{number}".encode() for number in range(THREADS * SIGNATURES_EACH)]
    with ThreadPoolExecutor(THREADS) as pool:
        signatures = list(pool.map(signer.sign, data))
    assert all(map(subject.is_good, signatures, data))


def test_processes(subject: Subject) -> None:
    """Four processes at once, each opening the key again and again: no signature fails."""
    choice = subject.choice
    words = [choice.name, choice.address, str(choice.options.get("role", Role.BUILDER.value)), str(SIGNATURES_EACH)]
    command = [sys.executable, "-P", "-m", "assay.conformance.signer_child", *words]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for _ in range(PROCESSES)]
    said = [child.communicate(timeout=CHILD_WITHIN_S)[0].decode(errors="replace") for child in children]
    assert said == [f"{SIGNATURES_EACH} good\n"] * PROCESSES


def test_a_key_that_is_not_there_is_an_error_of_ours(subject: Subject) -> None:
    """No exception of a library: one of ours, with something that a person can do."""
    if subject.choice.absent is None:
        pytest.skip("name a URI without a key with --assay-driver-absent")
    place = KeyPlace(**{**vars(subject.place), "uri": subject.choice.absent})
    with pytest.raises(AssayError) as told:
        subject.driver(place).sign(b"data")
    assert told.value.message and told.value.remedy
