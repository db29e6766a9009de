# SPDX-License-Identifier: Apache-2.0
"""Keys in files: `file2:` as securesystemslib writes it, signed with by `cryptography`.

Guards: the path is relative to the folder of keys, whatever the process's own folder or environment is; the private key
is the one whose public key is known. Leaves to others: the mode of the file (`key_folder`).
Not by the library's own signer, which loads the clients of all clouds that are installed (ADR 0325).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from assay.backends.named_file import read_kept
from assay.errors import StorageError
from assay.formats.public_key import keyid_of
from assay.interfaces.signer import KeyPlace

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


class FileSigner:
    """Implements `interfaces.signer.KeySigner` with a private key in memory."""

    def __init__(self, private: Ed25519PrivateKey | EllipticCurvePrivateKey) -> None:
        self._private = private

    def sign(self, data: bytes) -> bytes:
        """As the interface says."""
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.hashes import SHA256

        if isinstance(self._private, Ed25519PrivateKey):
            return self._private.sign(data)
        return self._private.sign(data, ECDSA(SHA256()))

    def close(self) -> None:
        """Nothing is held."""


def open_file_key(place: KeyPlace) -> FileSigner:
    """The driver of `file2:`. Raises `StorageError` for a file that cannot be read, and for one of another key."""
    try:
        return FileSigner(_private_key(place))
    except OSError as error:
        raise StorageError(f"the key file cannot be read: {error.strerror}", remedy="check its folder") from error
    except Exception as error:
        raise StorageError(
            f"the file2: key cannot be used ({type(error).__name__})",
            remedy="the key is damaged, or is not the one that keys.toml names; restore it from a backup",
        ) from error


def _private_key(place: KeyPlace) -> Ed25519PrivateKey | EllipticCurvePrivateKey:
    """Raises what `cryptography` raises, and `ValueError` for another key than the public one."""
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    private = load_pem_private_key(read_kept(place.folder / place.uri.partition(":")[2]), None)
    if not isinstance(private, Ed25519PrivateKey | EllipticCurvePrivateKey):
        raise TypeError("neither Ed25519 nor ECDSA")
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    if keyid_of(public.decode("ascii")) != keyid_of(place.public):
        raise ValueError("another key")
    return private
