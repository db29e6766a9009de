# SPDX-License-Identifier: Apache-2.0
"""What may be asked of signers. They live in a process of their own; nobody else ever holds a private key.

`SignerService` is what a verb sees; `KeySigner` what a driver of the group `assay.signers` gives to the signer process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from assay.model.keys import Token
from assay.model.trust import Role, TrustedKey

Announce = Callable[[str, float], None]
"""`(what is waited for, within seconds)`: told before each call that may hang; who waits ends the process after it."""


class SignerService(Protocol):
    """Signs for roles.

    Raises `Refused` for a role without a key and for what a role may not sign (`model.trust.SIGNERS`), `StorageError`
    for keys that cannot be read, `InfrastructureError` when the service is away.
    """

    def public_key(self, role: Role) -> TrustedKey:
        """The public key of `role`; development keys are made on first use and say so."""
        ...

    def roles(self) -> tuple[Role, ...]:
        """The roles that have a key, or get one when they are asked for it."""
        ...

    def sign(self, role: Role, data: bytes) -> bytes:
        """Raw signature over `data`: Ed25519 (64 bytes) or ECDSA P-256 SHA-256 (DER), after the key of the role.

        Only for the roles that sign no statements: IMAGE, DEVICE_CA, LOG.
        """
        ...

    def sign_statement(self, role: Role, payload: bytes) -> bytes:
        """`payload` (an in-toto statement) in a DSSE envelope in a Sigstore bundle v0.3, as JSON."""
        ...


def announce_nothing(_what: str, _within_s: float) -> None:
    """For callers who wait as long as it takes."""


@dataclass(frozen=True)
class KeyPlace:
    """Where one private key is, and what its signer may need.

    `public`: PEM; `folder`: the folder of keys; `locks`: a folder that all processes of the host share; `secrets`:
    variables that were taken out of the environment; `again`: a person has asked to give a PIN that was wrong again;
    `development`: the key need not be one that nobody can copy.
    """

    uri: str
    public: str
    folder: Path
    tokens: Mapping[str, Token] = field(default_factory=dict)
    locks: Path = Path("/run/lock/assay")
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    announce: Announce = announce_nothing
    again: bool = False
    development: bool = False


class KeySigner(Protocol):
    """One private key, opened. Safe to use from several threads, and beside other processes that use the same key.

    Raises AssayError and nothing else; no error holds a secret.
    """

    def sign(self, data: bytes) -> bytes:
        """Ed25519 over `data` (64 bytes), or ECDSA P-256 over its SHA-256 (DER), as the key is.

        Raises `Refused` for a PIN that is wrong, `InfrastructureError` for a device that is away or fails,
        `StorageError` for a key that is not there.
        """
        ...

    def close(self) -> None:
        """Give back what is held; a second call does nothing, and the next signature opens it again."""
        ...
