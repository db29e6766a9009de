# SPDX-License-Identifier: Apache-2.0
"""Cases of the public conformance suite for Sigstore clients: by their names, and what each is a change of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conformance_bench import STATEMENT, Case, Services, Signed, raw, text
from cryptography.hazmat.primitives.asymmetric import ec

Make = Callable[[Services], Case]


class Cases(dict[str, Make]):
    """The cases of one subject, by their names."""

    def add(self, make: Make) -> Make:
        """The function's name is the case's, with `_` for `-`."""
        name = make.__name__.removeprefix("_")
        good = name.removesuffix("_fail")
        self[good.replace("_", "-") + name[len(good) :]] = make
        return make

    def changed(self, name: str, make: Make, change: Callable[[Case], object]) -> None:
        """The case `name` is what `make` makes, changed."""

        def made(services: Services) -> Case:
            found = make(services)
            change(found)
            return found

        self[name] = made


def file_v1(s: Services) -> Case:
    return s.old(s.sign())


def envelope_v1(s: Services) -> Case:
    return s.old(s.sign(STATEMENT), "dsse")


def hashed_envelope_v1(s: Services) -> Case:
    return s.old(s.sign(STATEMENT))


def file_v2(s: Services) -> Case:
    return s.new(s.sign())


def envelope_v2(s: Services) -> Case:
    return s.new(s.sign(STATEMENT))


def by_key(payload: bytes | None, kind: str) -> Make:
    return lambda s: s.old(Signed(ec.generate_private_key(ec.SECP256R1()), None, payload), kind)


def flip(said: str, at: int = 20) -> str:
    """One bit of what is said in base64."""
    data = bytearray(raw(said))
    data[at] ^= 1
    return text(bytes(data))


def entry_of(other: Callable[[Services], Case]) -> Callable[[Case], None]:
    """The change that puts the log entry of another case into one."""

    def change(it: Case) -> None:
        it.material["tlogEntries"] = other(it.services).material["tlogEntries"]

    return change


MISUSED = "managed-key-and-client-identity_fail"


def judged(name: str, found: Case, folder: Path, told: pytest.CaptureFixture[str]) -> None:
    """Refused is status 4, with a reason; 2 where key and identity are given together."""
    status, reason = found.verdict(folder), told.readouterr().err
    if name.endswith("_fail"):
        assert status == (2 if name == MISUSED else 4), reason
        assert "Traceback" not in reason and reason.count("(") >= 1
    else:
        assert status == 0, reason
