# SPDX-License-Identifier: Apache-2.0
"""A trust file's Sigstore instance, brought up to date from a TUF repository in a folder or on a stick.

Guards: only the trusted root of the named instance changes, and only to what the repository's roles have signed; a file
that was damaged is not written over. Leaves to others: TUF (`backends.roots.tuf_folder`), the trust file itself.
"""

from __future__ import annotations

from pathlib import Path

from assay.backends.named_file import read_named
from assay.backends.roots.tuf_folder import read_root
from assay.errors import NotVerified, UsageFault
from assay.formats import canonical_json, strict_json, trusted_root
from assay.interfaces.clock import Clock
from assay.model.trust import TrustFile
from assay.pipeline.trust_file import load_trust, write_trust

ROOT_BYTES_MAX = 512_000
"""Bytes of TUF root metadata: what python-tuf takes."""


def refresh(trust_path: Path, name: str, repository: Path, state: Path, clock: Clock, root: Path | None) -> bool:
    """Bring the instance `name` in the trust file up to date; answers whether anything changed.

    Raises `NotVerified`, `UsageFault`, `ManifestFault`, `StorageError`.
    """
    trust = load_trust(trust_path)
    if trust.services(name) is None:
        raise UsageFault(f"{trust_path} has no [[sigstore]] named '{name}'", remedy="name one that it has")
    data = read_root(repository, state, clock.now(), _read(root) if root is not None else None)
    grown = with_root(trust, name, data)
    write_trust(trust_path, grown, replace=True)
    return grown != trust


def with_root(trust: TrustFile, name: str, data: bytes) -> TrustFile:
    """`trust` with the trusted root in `data` for the instance `name`. Raises `NotVerified` when it is none."""
    text = canonical_json.encode(strict_json.loads_object(data, "the trusted root")).decode("utf-8")
    if not trusted_root.read(text).logs:
        raise NotVerified("the trusted root names no log", remedy="get it again from who runs the services")
    instances = tuple(
        each.model_copy(update={"trusted_root": text}) if each.name == name else each for each in trust.sigstore
    )
    return trust.model_copy(update={"sigstore": instances})


def _read(path: Path) -> bytes:
    try:
        return read_named(path, ROOT_BYTES_MAX)
    except OSError as error:
        raise UsageFault(f"{path} cannot be read: {error.strerror}", remedy="check the path") from error
