# SPDX-License-Identifier: Apache-2.0
"""A real SoftHSM2 token in a folder of its own, for tests: SoftHSM reads where its tokens are from a variable."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from assay.backends.signers.service import SignerProcess
from assay.model.keys import PinSource, Token
from assay.model.trust import Role

PIN = "9517-Kiefer"
SO_PIN = "so-4410-Tanne"
LABEL = "factory"
LIBRARIES = (Path("/usr/lib/softhsm/libsofthsm2.so"), Path("/usr/lib64/pkcs11/libsofthsm2.so"))
LIBRARY = next((path for path in LIBRARIES if path.exists()), LIBRARIES[0])
needs_softhsm = pytest.mark.skipif(not LIBRARY.exists(), reason="softhsm2 is not installed")
SOURCE = Path(__file__).with_name("faulty_module.c")


@dataclass(frozen=True)
class SoftToken:
    """A token with the label `LABEL` in `folder`; `environment` is what programs need that use it."""

    folder: Path
    label: str = LABEL

    @property
    def environment(self) -> dict[str, str]:
        return {"SOFTHSM2_CONF": str(self.folder / "softhsm2.conf")}

    @property
    def pin_file(self) -> Path:
        return self.folder / "pin"

    def make(self) -> SoftToken:
        tokens = self.folder / "tokens"
        tokens.mkdir(parents=True, exist_ok=True)
        self.pin_file.write_text(PIN + "\n")
        self.pin_file.chmod(0o600)
        configuration = f"directories.tokendir = {tokens}\nlog.level = ERROR\n"
        (self.folder / "softhsm2.conf").write_text(configuration)
        self.init(self.label)
        return self

    def init(self, label: str) -> None:
        self._softhsm("--init-token", "--free", "--label", label, "--so-pin", SO_PIN, "--pin", PIN)

    def import_file(self, private: Path, label: str, key_id: str) -> None:
        """The private key of a file (PKCS#8) into the token."""
        words = ("--import", str(private), "--token", self.label, "--label", label, "--id", key_id, "--pin", PIN)
        self._softhsm(*words)

    def _softhsm(self, *words: str) -> None:
        environment = {**os.environ, **self.environment}
        subprocess.run(["softhsm2-util", *words], env=environment, check=True, capture_output=True)

    def described(self, library: Path = LIBRARY, *, timeout_s: float = 30.0) -> Token:
        """What keys.toml says about it."""
        return Token(module=str(library), pin=PinSource(file=str(self.pin_file)), timeout_s=timeout_s)


def make_keys(signers: SignerProcess, roles: tuple[Role, ...] = tuple(Role), *, production: bool = True) -> None:
    """A key for each of `roles` in the token."""
    for number, role in enumerate(Role, 1):
        if role in roles:
            uri = f"pkcs11:token={LABEL};object={role.value};id=%{number:02x}"
            signers.use_key(role, uri, public=None, name=None, make=True, production=production)


def faulty_library(folder: Path) -> Path:
    """The library of `faulty_module.c`, built."""
    built = folder / "libfaulty.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-o", built, SOURCE, "-ldl"], check=True)
    return built
