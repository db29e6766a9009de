# SPDX-License-Identifier: Apache-2.0
"""Archive stamps beside a bundle: `FILE.1.tsr`, `FILE.2.tsr` and so on, which `openssl ts` reads as well.

Guards: a stamp is kept only if the bundle verified by the trust file, stamps included, and the new stamp does. No stamp
is ever replaced. Leaves to others: what they prove (`formats.archive_stamp`).
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from assay.backends.durable_file import exclusive, write_durably
from assay.backends.logs import rekor_client
from assay.backends.named_file import read_named
from assay.errors import NotVerified, StorageError, UsageFault
from assay.formats import sigstore_bundle, strict_json
from assay.formats.archive_stamp import STAMPS_MAX, archive_times, stamped_bytes
from assay.formats.statement_verifier import read_statement, signers_of, verify_statement
from assay.model.signer_limits import ProvedTime
from assay.model.trust import TrustFile
from assay.pipeline.offline_verify import read_input

STAMP_BYTES_MAX = 64 * 1024
"""Bytes of a time stamp with its certificates; ours have two thousand."""

CONFIG_BYTES_MAX = 1024 * 1024
REQUEST_TIMEOUT_S = 30.0


def read_stamps(path: Path) -> tuple[bytes, ...]:
    """The archive stamps beside the bundle at `path`, the oldest first. Raises `NotVerified`, `StorageError`."""
    found: list[bytes] = []
    while (stamp := _stamp_path(path, len(found) + 1)).exists():
        try:
            data = read_named(stamp, STAMP_BYTES_MAX + 1)
        except OSError as error:
            raise StorageError(f"{stamp} cannot be read: {error.strerror}", remedy="make it readable") from error
        if len(data) > STAMP_BYTES_MAX or len(found) == STAMPS_MAX:
            raise NotVerified(f"{stamp} is too long for a time stamp, or one too many", remedy="restore it from a copy")
        found.append(data)
    return tuple(found)


def stamp_file(path: Path, config: Path, trust: TrustFile) -> tuple[Path, ProvedTime]:
    """Have the bundle at `path` and its stamps stamped by the authority of the client trust config; answers the new
    file and its time. Raises `NotVerified`, `UsageFault`, `InfrastructureError`, `StorageError`.
    """
    data, url = read_input(path), _authority(config)
    _check(data, path, trust)
    try:
        with exclusive(path.absolute().parent):
            earlier = read_stamps(path)
            stamp = rekor_client.stamp_at(url, stamped_bytes(data, earlier), REQUEST_TIMEOUT_S)
            times = archive_times(data, (*earlier, stamp), trust)
            new = _stamp_path(path, len(earlier) + 1)
            write_durably(new, stamp)
    except OSError as error:
        raise StorageError(f"{path.parent} cannot be written: {error.strerror}", remedy="make it writable") from error
    if not times:
        raise NotVerified(f"the authority at {url} counts no more", remedy="name services that do")
    return new, times[-1]


def _check(data: bytes, path: Path, trust: TrustFile) -> None:
    """What does not verify is not made older than it is."""
    kind = read_statement(sigstore_bundle.decode(data).envelope.payload).predicateType
    times = archive_times(data, read_stamps(path), trust)
    existed = {hashlib.sha256(data).hexdigest(): times[0].when} if times else {}
    verify_statement(data, trust, role=signers_of(kind), predicate_types={kind}, at=datetime.now(UTC), existed=existed)


def _authority(path: Path) -> str:
    try:
        document: dict[str, Any] = strict_json.loads_object(read_named(path, CONFIG_BYTES_MAX), str(path))
        url = document.get("signingConfig", document)["tsaUrls"][0]["url"]
    except (OSError, KeyError, IndexError, TypeError, AttributeError, NotVerified) as error:
        text = f"{path} names no time stamp authority"
        raise UsageFault(text, remedy="name a client trust config or a signing config") from error
    return str(url)


def _stamp_path(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}.tsr")
