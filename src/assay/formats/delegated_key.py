# SPDX-License-Identifier: Apache-2.0
"""A private key that is somewhere else: an object that `cryptography` takes for one, and that asks for each signature.

Guards: the process that builds a certificate never holds the CA's key. Leaves to others: who signs (`sign`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from assay.errors import Refused

Sign = Callable[[bytes], bytes]
"""Data in, ECDSA P-256 with SHA-256 over it out, in DER."""


class DelegatedP256(ec.EllipticCurvePrivateKey):
    """A P-256 key whose `sign` asks somebody else; it does nothing that needs the private number."""

    def __init__(self, public: ec.EllipticCurvePublicKey, sign: Sign) -> None:
        self._public = public
        self._sign = sign

    @property
    def curve(self) -> ec.EllipticCurve:
        """The curve of the public key."""
        return self._public.curve

    @property
    def key_size(self) -> int:
        """Bits."""
        return self._public.curve.key_size

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """The public part."""
        return self._public

    def sign(self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """The signature that the delegate makes; `Refused` for anything but ECDSA with SHA-256."""
        if not isinstance(signature_algorithm, ec.ECDSA) or not isinstance(signature_algorithm.algorithm, SHA256):
            raise Refused("a delegated key signs by ECDSA with SHA-256 only", remedy="ask for that")
        return self._sign(bytes(data))

    def exchange(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        """Not here."""
        _not_here()

    def private_numbers(self) -> NoReturn:
        """Not here."""
        _not_here()

    def private_bytes(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        """Not here."""
        _not_here()

    def __copy__(self) -> DelegatedP256:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> DelegatedP256:
        return self


def _not_here() -> NoReturn:
    raise Refused("the private key is not in this process", remedy="ask the signer for a signature")
