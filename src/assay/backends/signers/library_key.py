# SPDX-License-Identifier: Apache-2.0
"""Keys in key services, by the schemes and signers of securesystemslib.

Leaves to others: files (`file_key`), for which the clients of the clouds need not be loaded (ADR 0325). The services
(`awskms:`, `azurekms:`, `gcpkms:`, `hv:`) are tried with their own clients against services on loopback that speak
their protocols; none was tried at its own place: whoever uses one tries it first.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from assay.errors import InfrastructureError, StorageError, ToolMissing
from assay.formats.key_uri import scheme_of
from assay.interfaces.signer import KeyPlace

if TYPE_CHECKING:
    from securesystemslib.signer import Signer  # type: ignore[attr-defined]  # no __all__ there

SERVICE_WITHIN_S = 30.0
"""Seconds for one signature of a key service; its own client tries again within them."""

_EXTRAS = {"hv": "vault"}
"""The library's extras that are not called as the scheme is."""


class LibrarySigner:
    """Implements `interfaces.signer.KeySigner` with a signer of securesystemslib."""

    def __init__(self, signer: Signer, place: KeyPlace) -> None:
        self._signer = signer
        self._place = place
        self._lock = threading.Lock()

    def sign(self, data: bytes) -> bytes:
        """As the interface says."""
        scheme = scheme_of(self._place.uri)
        self._place.announce(f"the key service of {scheme}:", SERVICE_WITHIN_S)
        try:
            with self._lock:
                return bytes.fromhex(self._signer.sign(data).signature)
        except Exception as error:
            told = f"the key service of {scheme}: fails ({type(error).__name__})"
            raise InfrastructureError(told, remedy="see that it is reached, and that you may use the key") from error

    def close(self) -> None:
        """Nothing is held."""


def open_library_key(place: KeyPlace) -> LibrarySigner:
    """The driver of the services' schemes. Raises `StorageError` for a key that cannot be used, `ToolMissing`."""
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from securesystemslib.exceptions import UnsupportedLibraryError
    from securesystemslib.signer import Signer, SSlibKey  # type: ignore[attr-defined]

    scheme = scheme_of(place.uri)
    public = SSlibKey.from_crypto(load_pem_public_key(place.public.encode("ascii")))
    try:
        return LibrarySigner(Signer.from_priv_key_uri(place.uri, public), place)
    except UnsupportedLibraryError as error:
        raise ToolMissing(
            f"keys of {scheme}: need a library that is not installed",
            remedy=f"pip install 'securesystemslib[{_EXTRAS.get(scheme, scheme)}]' where assay is installed",
        ) from error
    except Exception as error:
        raise StorageError(
            f"the {scheme}: key cannot be used ({type(error).__name__})",
            remedy="see that the URI is right, and that its client finds what it needs (region, credentials)",
        ) from error
