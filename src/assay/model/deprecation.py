# SPDX-License-Identifier: Apache-2.0
"""Whether a release should still be used on a day, as later releases of its module say.

Guards: the gravest word counts; the day is an argument. Leaves to others: that who says so verifies
(`pipeline.product_candidates`), and withdrawals, which have no day (`pipeline.withdrawals`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from assay.model.artifact import Release
from assay.model.contract import Deprecation
from assay.model.identifiers import Version


@dataclass(frozen=True)
class Deprecated:
    """What holds for a release: since when, until when it may be chosen (None: no end is set), why, and who says so."""

    says: Deprecation
    by: str
    ended: bool

    @property
    def words(self) -> str:
        """For people."""
        until = "" if self.says.ends is None else f", {'ended' if self.ended else 'ends'} on {self.says.ends}"
        return f"deprecated since {self.says.since}{until}: {self.says.reason} (said by {self.by})"


def deprecated(release: Release, speakers: Sequence[Release], day: date) -> Deprecated | None:
    """What `speakers` (releases of any module) say of `release` on `day` (UTC): an end before a warning, else None."""
    found = [
        Deprecated(said, speaker.reference, said.ends is not None and day >= said.ends)
        for speaker in speakers
        if (speaker.name, speaker.board) == (release.name, release.board) and speaker.artifact.contract is not None
        for said in speaker.artifact.contract.deprecations
        if day >= said.since and covers(said.versions, release.version)
    ]
    return max(found, key=lambda each: (each.ended, each.says.since, each.by), default=None)


def covers(versions: str, version: str) -> bool:
    """Whether `version` is in the range `versions` (`<1.2.3`, `<=1.2.3`, `==1.2.3`); a build number does not count."""
    operator, wanted = (versions[:2], versions[2:]) if versions[1] == "=" else (versions[0], versions[1:])
    has, limit = Version(version).numbers[:3], Version(wanted).numbers[:3]
    return has < limit if operator == "<" else has == limit or (operator == "<=" and has < limit)
