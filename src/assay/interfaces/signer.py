# SPDX-License-Identifier: Apache-2.0
"""What may be asked of signers. They live in a process of their own; nobody else ever holds a private key."""

from __future__ import annotations

from typing import Protocol

from assay.model.trust import Role, TrustedKey


class SignerService(Protocol):
    """Signs for roles.

    Raises `Refused` for a role without a key and for what a role may not sign (`model.trust.SIGNERS`), `StorageError`
    for keys that cannot be read, `InfrastructureError` when the service is away.
    """

    def public_key(self, role: Role) -> TrustedKey:
        """The public key of `role`; development keys are made on first use and say so."""
        ...

    def sign(self, role: Role, data: bytes) -> bytes:
        """Raw signature over `data`: Ed25519 (64 bytes) or ECDSA P-256 SHA-256 (DER), after the key of the role.

        Only for the roles that sign no statements: IMAGE, DEVICE_CA, LOG.
        """
        ...

    def sign_statement(self, role: Role, payload: bytes) -> bytes:
        """`payload` (an in-toto statement) in a DSSE envelope in a Sigstore bundle v0.3, as JSON."""
        ...
