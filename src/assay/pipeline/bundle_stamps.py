# SPDX-License-Identifier: Apache-2.0
"""Archive stamps that came in a bundle: which of them count here, and where gates find them afterwards.

Guards: what is kept verifies by the trust file; no stamp that is here already is replaced. A stamp that does not count
is passed over and told: whose statement needs it is refused for that. Leaves to others: the statements
(`incoming_release`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from assay.backends.stores.oci_layout import OciLayoutStore
from assay.errors import NotVerified
from assay.formats import release_bundle
from assay.formats.archive_stamp import archive_times
from assay.formats.release_bundle import BundleIndex
from assay.model.trust import TrustFile
from assay.pipeline.stamp_folder import StampFolder, keep_stamps


class BundleStamps:
    """The archive stamps of the bundle that was taken apart into `folder`. `counted`: by the SHA-256 of what they are
    over. Raises `NotVerified` for stamps of nothing, or that are too many or too long.
    """

    def __init__(self, staged: OciLayoutStore, folder: Path, index: BundleIndex, trust: TrustFile) -> None:
        named = [sha256 for name in index.members if (sha256 := release_bundle.stamp_of(name))]
        came = {sha256: StampFolder(folder / release_bundle.STAMPS).of(sha256) for sha256 in sorted(set(named))}
        for sha256, stamps in came.items():
            if release_bundle.blob_name(sha256) not in index.members or len(stamps) != named.count(sha256):
                raise NotVerified(
                    f"the bundle has archive stamps of {sha256}, which is not in it, or not all of them",
                    remedy="get the bundle again from who made it",
                )
        self._over = {sha256: staged.get(sha256) for sha256 in came}
        self.counted: Mapping[str, tuple[bytes, ...]] = {
            sha256: stamps for sha256, stamps in came.items() if self._counts(sha256, stamps, trust)
        }
        self.passed_over = tuple(sha256 for sha256 in came if sha256 not in self.counted)

    def keep(self, folder: Path) -> None:
        """Put those that count into `folder`, durably. Raises `OSError`."""
        for sha256, stamps in self.counted.items():
            keep_stamps(folder / sha256, stamps)

    def _counts(self, sha256: str, stamps: tuple[bytes, ...], trust: TrustFile) -> bool:
        try:
            return bool(archive_times(self._over[sha256], stamps, trust))
        except NotVerified:
            return False
