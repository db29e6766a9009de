# SPDX-License-Identifier: Apache-2.0
"""Keys in the metadata of a TUF repository: none counts twice towards a threshold.

Guards: two ids of one key are seen whatever they are called and however the key is written down. Leaves to others:
signatures, thresholds, and metadata of another shape, which the library refuses.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from assay.errors import NotVerified


def check_distinct_keys(document: bytes) -> None:
    """Raises `NotVerified` where a role of this root, or a role that these targets delegate, has one key twice."""
    try:
        signed = json.loads(document)["signed"]
        found = [(name, keys, role["keyids"]) for name, keys, role in _roles(signed)]
        for name, keys, ids in found:
            _check(name, {keyid: _identity(keys[keyid]) for keyid in ids if keyid in keys})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return


def _roles(signed: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    """Each role with its name and the keys among which it chooses."""
    for name, role in signed.get("roles", {}).items():
        yield name, signed["keys"], role
    delegations = signed.get("delegations") or {}
    for role in delegations.get("roles", ()):
        yield str(role["name"]), delegations["keys"], role
    if "succinct_roles" in delegations:
        yield str(delegations["succinct_roles"]["name_prefix"]), delegations["keys"], delegations["succinct_roles"]


def _check(role: str, identities: Mapping[str, bytes]) -> None:
    seen: dict[bytes, str] = {}
    for keyid, identity in identities.items():
        other = seen.setdefault(identity, keyid)
        if other != keyid:
            raise NotVerified(
                f"the repository is refused: '{role[:80]}' has one key twice, as {other[:12]} and as {keyid[:12]}",
                remedy="get a newer copy of the repository, or tell who runs it; nothing was taken from it",
            )


def _identity(key: Mapping[str, Any]) -> bytes:
    """The same for one key, in whatever way it is written: read as those who verify with it read it, who pass over
    blanks in hex and over text in front of a PEM.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

    public = str(key["keyval"]["public"])
    with suppress(ValueError):
        return bytes.fromhex(public)
    try:
        loaded = load_pem_public_key(public.encode("utf-8", "surrogatepass"))
        return loaded.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm):
        return public.encode("utf-8", "surrogatepass")
