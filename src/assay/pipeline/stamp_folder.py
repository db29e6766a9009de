# SPDX-License-Identifier: Apache-2.0
"""Archive stamps as files: beside a bundle (`FILE.1.tsr`, `FILE.2.tsr` and so on), and where gates look for them, in
the folder `stamps` beside the trust file, by the SHA-256 of the bundle.

Guards: a file that is too long for a time stamp is none. Leaves to others: what stamps prove (`formats.archive_stamp`):
they count by whom they are of, and where they lie says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from assay.backends.durable_file import exclusive, make_folder, write_durably
from assay.backends.named_file import read_named
from assay.errors import NotVerified, StorageError
from assay.formats.archive_stamp import STAMPS_MAX, stamp_name
from assay.model.trust import TrustFile

STAMPS = "stamps"
"""The folder beside a trust file; of a site, where verbs take its own keys."""

STAMP_BYTES_MAX = 64 * 1024
"""Bytes of a time stamp with its certificates; ours have two thousand."""

StampsOf = Callable[[str], Sequence[bytes]]
"""Gives the archive stamps of the bundle with that SHA-256, the oldest first."""


def stamps_of(trust: Path) -> Path:
    """Where gates look for archive stamps that verify with the trust file at `trust`."""
    return trust.absolute().parent / STAMPS


@dataclass(frozen=True)
class StampFolder:
    """Archive stamps of many bundles."""

    folder: Path

    def of(self, sha256: str) -> tuple[bytes, ...]:
        """Those of the bundle with that SHA-256, the oldest first. Raises `NotVerified`, `StorageError`."""
        return read_stamps(self.folder / sha256)

    def bundles(self) -> tuple[str, ...]:
        """The SHA-256 of each bundle that has any, in their order."""
        end = stamp_name("", 1)
        return tuple(sorted(path.name.removesuffix(end) for path in self.folder.glob(f"*{end}")))


def first_of(*places: StampsOf | None) -> StampsOf:
    """The archive stamps of a bundle from the first of `places` that has any; None is a place without any."""

    def stamps(sha256: str) -> Sequence[bytes]:
        return next((found for of in places if of is not None and (found := of(sha256))), ())

    return stamps


def with_stamps(trust: TrustFile, known: Mapping[str, Sequence[bytes]]) -> TrustFile:
    """`trust`, asked with the archive stamps that are known by the SHA-256 of their bundles; for other bundles with
    those that lie where it is asked.
    """
    return _asked(trust, first_of(lambda sha256: known.get(sha256, ()), trust.asking.stamps))


def with_folder(trust: TrustFile, folder: Path) -> TrustFile:
    """`trust`, asked with the archive stamps in `folder` for bundles of which none lie where it is asked."""
    return _asked(trust, first_of(trust.asking.stamps, StampFolder(folder).of))


def _asked(trust: TrustFile, stamps: StampsOf) -> TrustFile:
    return trust.asked(replace(trust.asking, stamps=stamps))


def keep_stamps(at: Path, stamps: Sequence[bytes]) -> bool:
    """Put the stamps of a bundle where gates look for them, at `at` (folder and SHA-256); no stamp is replaced. Answers
    whether they are there then: not where other ones are. Raises `OSError`.
    """
    make_folder(at.parent)
    with exclusive(at.parent):
        kept = read_stamps(at)
        if not go_together(stamps, kept):
            return False
        for number, stamp in enumerate(stamps[len(kept) :], len(kept) + 1):
            write_durably(stamp_path(at, number), stamp)
        return True


def go_together(some: Sequence[bytes], others: Sequence[bytes]) -> bool:
    """Whether one of the two chains of stamps goes on where the other one ends, or is the same."""
    return all(one == other for one, other in zip(some, others, strict=False))


def stamp_path(path: Path, number: int) -> Path:
    """The stamp with that number, counted from 1, of the bundle at `path`."""
    return path.with_name(stamp_name(path.name, number))


def read_stamps(path: Path) -> tuple[bytes, ...]:
    """The archive stamps of the bundle at `path`, the oldest first. Raises `NotVerified`, `StorageError`."""
    found: list[bytes] = []
    while (stamp := stamp_path(path, len(found) + 1)).exists():
        try:
            data = read_named(stamp, STAMP_BYTES_MAX + 1)
        except OSError as error:
            raise StorageError(f"{stamp} cannot be read: {error.strerror}", remedy="make it readable") from error
        if len(data) > STAMP_BYTES_MAX or len(found) == STAMPS_MAX:
            raise NotVerified(f"{stamp} is too long for a time stamp, or one too many", remedy="restore it from a copy")
        found.append(data)
    return tuple(found)
