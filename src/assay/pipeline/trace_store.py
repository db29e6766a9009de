# SPDX-License-Identifier: Apache-2.0
"""The store of a site: every blob has the digest in its name, and index and manifests say what follows from the blobs.

Guards: a changed byte in any file of the store is named. Nothing here makes a release trusted: that takes the signed
statements about its image (`trace_release`).
Leaves to others: files that an interrupted publisher left behind, which the store itself passes over.
"""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path

from assay.backends.durable_file import TEMPORARY
from assay.backends.named_file import LinkInside, read_beneath
from assay.errors import NotVerified, StorageError
from assay.formats import canonical_json, oci_layout
from assay.formats.oci_layout import Descriptor, Manifest
from assay.model.trace import TraceNode
from assay.pipeline.trace_link import Link, count

BLOBS = "blobs/sha256"
_NO_FILE = (errno.ENOENT, errno.ENOTDIR, errno.EINVAL)
_REMEDY = "restore the store from a copy"


def verify_store(root: Path) -> TraceNode:
    """The store in the folder `root`; a site without one has nothing to verify."""
    link = Link("site/store", "Store of releases")
    if not root.is_dir():
        link.tell("store", "this site has none")
        return link.node()
    blobs = _blobs(link, root)
    if _file(link, root, "oci-layout") != oci_layout.LAYOUT:
        link.fault("store: oci-layout is not that of an OCI image layout 1.0.0")
    raw = _file(link, root, "index.json")
    index = link.attempt(lambda: oci_layout.read_index(raw)) if raw is not None else None
    if index is not None:
        if canonical_json.encode_value(index) != raw:
            link.fault("store: index.json was changed: it is not as it was written")
        for place, descriptor in enumerate(index.manifests):
            _check_manifest(link, place, descriptor, blobs)
        if link.holds:
            link.checked(f"{count(len(blobs), 'blob')}, {count(len(index.manifests), 'manifest')} and the index")
    return link.node()


def _blobs(link: Link, root: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    folder = root / BLOBS
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name.startswith(TEMPORARY):
            continue
        data = _file(link, root, f"{BLOBS}/{path.name}")
        if data is not None and hashlib.sha256(data).hexdigest() != path.name:
            link.fault(f"store: the blob {path.name} was changed: its bytes have another SHA-256")
        if data is not None:
            found[path.name] = data
    return found


def _file(link: Link, root: Path, name: str) -> bytes | None:
    try:
        return read_beneath(root, name)
    except OSError as error:
        if isinstance(error, LinkInside) or error.errno in _NO_FILE:
            link.lost(f"store: {name.rpartition('/')[2]} is not there, or is no plain file")
            return None
        raise StorageError(f"{root / name} cannot be read: {error.strerror}", remedy="make it readable") from error


def _check_manifest(link: Link, place: int, descriptor: Descriptor, blobs: dict[str, bytes]) -> None:
    """The `place`-th row of the index against the manifest that it names, and that against its blobs."""
    data = blobs.get(descriptor.sha256)
    if data is None:
        link.lost(f"store: the manifest {descriptor.sha256} that row {place} of the index names is not there")
        return
    manifest = link.attempt(lambda: oci_layout.read_manifest(data))
    if manifest is None:
        return
    expected = link.attempt(lambda: _descriptors_of(manifest, data, blobs))
    if expected is not None and descriptor not in expected:
        link.fault(f"store: row {place} of the index does not say what follows from the manifest {descriptor.sha256}")
    subject = manifest.subject
    if manifest.artifactType == oci_layout.WITHDRAWAL_TYPE:
        subject = None  # a store learns of withdrawals of releases that it does not have
    for part in (manifest.config, *manifest.layers, *([subject] if subject else [])):
        if len(blobs.get(part.sha256, b"")) != part.size or part.sha256 not in blobs:
            link.lost(f"store: the blob {part.sha256} of the manifest {descriptor.sha256} is not there, or not whole")


def _descriptors_of(manifest: Manifest, data: bytes, blobs: dict[str, bytes]) -> list[Descriptor]:
    """What the index may say about a manifest of ours: releases have a name (in either spelling), bundles have none."""
    named: list[dict[str, str] | None] = [None]
    if manifest.artifactType == oci_layout.RELEASE_TYPE:
        config = blobs.get(manifest.config.sha256)
        if config is None:
            raise NotVerified(f"store: the release {manifest.config.sha256} is not there", remedy=_REMEDY)
        release = oci_layout.read_release(manifest, config)
        named = [{oci_layout.REFERENCE_ANNOTATION: name} for name in oci_layout.names_of(release)]
    return [
        oci_layout.describe(data, oci_layout.MANIFEST_TYPE, artifactType=manifest.artifactType, annotations=annotations)
        for annotations in named
    ]
