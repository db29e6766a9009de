# SPDX-License-Identifier: Apache-2.0
"""Archive stamps for a bundle: beside it, which `openssl ts` reads as well, and where gates look for them.

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
from assay.errors import NotVerified, Refused, StorageError, UsageFault
from assay.formats import sigstore_bundle, strict_json
from assay.formats.archive_stamp import archive_times, stamped_bytes
from assay.formats.statement_verifier import read_statement, signers_of, verify_statement, without_thresholds
from assay.model.signer_limits import ProvedTime
from assay.model.trust import TrustFile
from assay.pipeline.offline_verify import read_input
from assay.pipeline.stamp_folder import keep_stamps, read_stamps, stamp_path, stamps_of
from assay.pipeline.trust_file import load_trust

CONFIG_BYTES_MAX = 1024 * 1024
REQUEST_TIMEOUT_S = 30.0


def stamp_for_gates(path: Path, config: Path, trust_path: Path) -> tuple[Path, ProvedTime]:
    """As `stamp_file`, by the trust file at `trust_path`; all stamps of the bundle are then beside that one, too, where
    gates look for them.
    """
    trust = load_trust(trust_path)
    at = stamps_of(trust_path) / hashlib.sha256(read_input(path)).hexdigest()
    kept = read_stamps(at)
    if read_stamps(path)[: len(kept)] != kept:
        raise _not_beside(path, at)
    done = stamp_file(path, config, trust)
    try:
        if not keep_stamps(at, read_stamps(path)):
            raise _not_beside(path, at)
    except OSError as error:
        raise StorageError(f"{at.parent} cannot be written: {error.strerror}", remedy="make it writable") from error
    return done


def _not_beside(path: Path, at: Path) -> Refused:
    return Refused(
        f"gates have stamps of {path.name} that do not lie beside it, and no stamp is replaced",
        remedy=f"put those of {at.parent} beside it first: {at.name}.1.tsr as {path.name}.1.tsr, and so on",
    )


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
            new = stamp_path(path, len(earlier) + 1)
            write_durably(new, stamp)
    except OSError as error:
        raise StorageError(f"{path.parent} cannot be written: {error.strerror}", remedy="make it writable") from error
    if not times:
        raise NotVerified(f"the authority at {url} counts no more", remedy="name services that do")
    return new, times[-1]


def _check(data: bytes, path: Path, trust: TrustFile) -> None:
    """What does not verify is not made older than it is. How many signers there are is for who goes by it."""
    kind = read_statement(sigstore_bundle.decode(data).envelope.payload).predicateType
    times = archive_times(data, read_stamps(path), trust)
    existed = {hashlib.sha256(data).hexdigest(): times[0].when} if times else {}
    alone, now = without_thresholds(trust), datetime.now(UTC)
    verify_statement(data, alone, role=signers_of(kind), predicate_types={kind}, at=now, existed=existed)


def _authority(path: Path) -> str:
    try:
        document: dict[str, Any] = strict_json.loads_object(read_named(path, CONFIG_BYTES_MAX), str(path))
        url = document.get("signingConfig", document)["tsaUrls"][0]["url"]
    except (OSError, KeyError, IndexError, TypeError, AttributeError, NotVerified) as error:
        text = f"{path} names no time stamp authority"
        raise UsageFault(text, remedy="name a client trust config or a signing config") from error
    return str(url)
