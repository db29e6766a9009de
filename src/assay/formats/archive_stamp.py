# SPDX-License-Identifier: Apache-2.0
"""Archive stamps: RFC 3161 time stamps over a whole bundle, and over the archive stamps before, so that what the bundle
proves outlives the services that vouch for it.

Guards: each stamp is over the file and all earlier stamps, in order of time, by an authority of the trust file. Stamps
of services that count until some time count only if a later stamp of others says that they were there by then.
Leaves to others: files (`pipeline.archive_stamps`), the bundle itself (`statement_verifier`).
"""

from __future__ import annotations

from collections.abc import Sequence

from assay.errors import NotVerified
from assay.formats import trusted_root
from assay.formats.time_stamps import proved_times
from assay.model.signer_limits import ProvedTime, TrustedServices
from assay.model.trust import TrustFile

STAMPS_MAX = 32


def stamp_name(bundle: str, number: int) -> str:
    """The name of the stamp with that number, counted from 1, of what is called `bundle`: they lie side by side."""
    return f"{bundle}.{number}.tsr"


def stamped_bytes(data: bytes, earlier: Sequence[bytes]) -> bytes:
    """What the next stamp is over: the file and its stamps so far, one behind the other."""
    return b"".join((data, *earlier))


def archive_times(data: bytes, stamps: Sequence[bytes], trust: TrustFile) -> tuple[ProvedTime, ...]:
    """The times at which `data` was there, as far as `stamps` (oldest first) prove them; the oldest first.

    Raises `NotVerified` for a stamp that is malformed, of nobody that `trust` names, or older than the one before.
    """
    found = [_proved(data, stamps, number, trust) for number in range(len(stamps))]
    times = [time.when for time, _ in found]
    if times != sorted(times):
        raise NotVerified("the archive stamps are not in the order of their times", remedy="restore them from a copy")
    counted: list[ProvedTime] = []
    for time, services in reversed(found):
        if counts(services, counted[-1] if counted else None):
            counted.append(time)
    return tuple(reversed(counted))


def counts(services: TrustedServices, covered: ProvedTime | None) -> bool:
    """Whether what `services` vouch for counts, when others say that it was there at `covered`."""
    return services.valid_until is None or (covered is not None and covered.when <= services.valid_until)


def _proved(data: bytes, stamps: Sequence[bytes], number: int, trust: TrustFile) -> tuple[ProvedTime, TrustedServices]:
    content = stamped_bytes(data, stamps[:number])
    for services in trust.sigstore:
        if services.development and not trust.allow_development:
            continue
        times = proved_times((stamps[number],), content, trusted_root.read(services.trusted_root))
        if times:
            return times[0], services
    raise NotVerified(
        f"archive stamp {number + 1} is not over this file by an authority of '{trust.name}'",
        remedy="use the trust file that names who stamped it, and the file as it was stamped",
    )
