# SPDX-License-Identifier: Apache-2.0
"""Keys of the clouds' services where their library is not installed: what is missing is named, as it is called."""

from __future__ import annotations

import re
from importlib.metadata import metadata
from pathlib import Path

import pytest
from memory_signer import MemorySigner
from securesystemslib.exceptions import UnsupportedLibraryError
from securesystemslib.signer import SIGNER_FOR_URI_SCHEME, Signer

from assay.backends.signers.library_key import open_library_key
from assay.errors import StorageError, ToolMissing
from assay.interfaces.signer import KeyPlace
from assay.model.trust import Role

URIS = {
    "awskms": "awskms:1234abcd-12ab-34cd-56ef-1234567890ab",
    "azurekms": "azurekms://vault.vault.azure.net/keys/name/version",
    "gcpkms": "gcpkms:projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1",
    "hv": "hv:name/1",
}


def _place(uri: str) -> KeyPlace:
    return KeyPlace(uri, MemorySigner().public_key(Role.BUILDER).public, Path())


@pytest.mark.parametrize("scheme", URIS)
def test_a_library_that_is_not_there(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is installed here, as if it were not; the extra that is named is one that the library has."""

    def missing(*_words: object, **_options: object) -> Signer:
        raise UnsupportedLibraryError("the client's library is required")

    monkeypatch.setattr(SIGNER_FOR_URI_SCHEME[scheme], "from_priv_key_uri", missing)
    with pytest.raises(ToolMissing, match=f"keys of {scheme}: need a library") as told:
        open_library_key(_place(URIS[scheme]))
    found = re.search(r"securesystemslib\[(\w+)\]", told.value.remedy)
    assert found is not None and found[1] in (metadata("securesystemslib").get_all("Provides-Extra") or [])


@pytest.mark.parametrize("uri", ["gcpkms:nothing", "hv:name", "azurekms:x", "awskms:"])
def test_a_uri_that_cannot_be(uri: str) -> None:
    """An error of ours, whichever it is, and whatever is installed."""
    with pytest.raises((StorageError, ToolMissing)):
        open_library_key(_place(uri))
