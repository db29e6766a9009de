# SPDX-License-Identifier: Apache-2.0
"""Signatures of TUF metadata, by whichever of a role's keys can be reached.

Guards: metadata leaves here with as many signatures of different keys as its role asks for, or not at all, and the
error names the keys that are away. Leaves to others: private keys (the signer process), what is signed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

from assay.errors import AssayError, Refused, ToolMissing
from assay.model.keys import RoleKey

if TYPE_CHECKING:
    from securesystemslib.signer import Key  # type: ignore[attr-defined]  # no __all__ there
    from tuf.api.metadata import Metadata, Role


INSTALL = "install assay with its extra repository: pip install 'assay[repository]' from the project's folder"


class SignsMetadata(Protocol):
    """The signer process, as far as a repository needs it."""

    def sign_metadata(self, key: RoleKey, data: bytes) -> bytes:
        """Raw signature over `data` by `key`."""
        ...


class MetadataSigner:
    """Signs with `keys`, by TUF key id."""

    def __init__(self, keys: Mapping[str, RoleKey], process: SignsMetadata) -> None:
        self._keys = keys
        self._process = process
        self._away: dict[str, str] = {}

    def sign(self, metadata: Metadata[Any], *roles: Role, what: str, needed: Iterable[Role] | None = None) -> None:
        """Sign `metadata` for each of `roles`; those in `needed` (all, by default) must reach their thresholds."""
        metadata.signatures.clear()
        data = metadata.signed_bytes
        for role in roles:
            have = len(set(role.keyids) & set(metadata.signatures))
            for keyid in role.keyids:
                if have >= role.threshold:
                    break
                if keyid not in metadata.signatures and self._sign(metadata, keyid, data):
                    have += 1
        for role in roles if needed is None else needed:
            self._check(metadata, role, what)

    def _sign(self, metadata: Metadata[Any], keyid: str, data: bytes) -> bool:
        from securesystemslib.signer import Signature  # type: ignore[attr-defined]

        if keyid not in self._keys:
            self._away[keyid] = "this site does not know where it is"
            return False
        try:
            signature = self._process.sign_metadata(self._keys[keyid], data)
        except AssayError as error:
            self._away[keyid] = f"{self._keys[keyid].name}: {error.message}"
            return False
        metadata.signatures[keyid] = Signature(keyid, signature.hex())
        return True

    def _check(self, metadata: Metadata[Any], role: Role, what: str) -> None:
        have = len(set(role.keyids) & set(metadata.signatures))
        if have < role.threshold:
            away = "; ".join(f"{keyid[:16]} ({self._away.get(keyid, 'not asked')})" for keyid in role.keyids
                             if keyid not in metadata.signatures)  # fmt: skip
            raise Refused(
                f"{what} needs {role.threshold} of {len(role.keyids)} keys, and {have} sign: {away}",
                remedy="bring the keys that are away (a stick, a token), then do it again; until then clients see the"
                " repository as it was",
            )


def need_tuf() -> None:
    """Raises `ToolMissing` where python-tuf is not installed."""
    if find_spec("tuf") is None:
        raise ToolMissing("a repository needs the package tuf, which is not there", remedy=INSTALL)


def tuf_key(public: str) -> Key:
    """The key in `public` (PEM) as TUF knows it."""
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from securesystemslib.signer import SSlibKey  # type: ignore[attr-defined]

    return SSlibKey.from_crypto(load_pem_public_key(public.encode("ascii")))
