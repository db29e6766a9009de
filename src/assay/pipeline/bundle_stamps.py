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
from assay.pipeline.stamp_folder import StampFolder, go_together, keep_stamps


class BundleStamps:
    """The archive stamps of the bundle that was taken apart into `folder`; `place` is where gates look for them.
    `counted`: by the SHA-256 of what they are over. `others`: those that would, but other ones lie at `place`, and
    gates go by these. Raises `NotVerified` for stamps of nothing, or that are too many or too long; `StorageError`.
    """

    def __init__(self, staged: OciLayoutStore, folder: Path, index: BundleIndex, trust: TrustFile, place: Path) -> None:
        self._place = place
        named = [sha256 for name in index.members if (sha256 := release_bundle.stamp_of(name))]
        came = {sha256: StampFolder(folder / release_bundle.STAMPS).of(sha256) for sha256 in sorted(set(named))}
        for sha256, stamps in came.items():
            if release_bundle.blob_name(sha256) not in index.members or len(stamps) != named.count(sha256):
                raise NotVerified(
                    f"the bundle has archive stamps of {sha256}, which is not in it, or not all of them",
                    remedy="get the bundle again from who made it",
                )
        self._over = {sha256: staged.get(sha256) for sha256 in came}
        good = {sha256: stamps for sha256, stamps in came.items() if self._counts(sha256, stamps, trust)}
        self.passed_over = tuple(sha256 for sha256 in came if sha256 not in good)
        here = StampFolder(place)
        self.others = tuple(sha256 for sha256, stamps in good.items() if not go_together(stamps, here.of(sha256)))
        self.counted: Mapping[str, tuple[bytes, ...]] = {
            sha256: stamps for sha256, stamps in good.items() if sha256 not in self.others
        }

    def keep(self) -> None:
        """Put those that count where gates look, durably. Raises `OSError`."""
        for sha256, stamps in self.counted.items():
            keep_stamps(self._place / sha256, stamps)

    def _counts(self, sha256: str, stamps: tuple[bytes, ...], trust: TrustFile) -> bool:
        try:
            return bool(archive_times(self._over[sha256], stamps, trust))
        except NotVerified:
            return False
