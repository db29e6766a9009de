# SPDX-License-Identifier: Apache-2.0
"""The two surroundings in which every module is built: whatever leaks into an output differs between them.

Guards: folder, time, user, umask, locale and time zone differ in every pair of builds; where the builder can, user id
and host name do too. Leaves to others: running (`stages.build.twice`), comparing (`stages.build.comparison`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

START_APART_S = 1.1
"""Seconds between the starts of the two builds: a clock that is read in whole seconds shows another value."""


@dataclass(frozen=True)
class Surroundings:
    """What one build sees of the world. `epoch_s`: SOURCE_DATE_EPOCH and the modification time of every source."""

    folder: str
    user: str
    uid: int
    umask: int
    locale: str
    timezone: str
    epoch_s: int
    hostname: str

    def environment(self, home: Path, programs: Path) -> dict[str, str]:
        """The whole environment of a build. `programs` is the folder of the Python that runs it."""
        return {
            "HOME": str(home),
            "LANG": self.locale,
            "LC_ALL": self.locale,
            "LOGNAME": self.user,
            "PATH": f"{programs}:/usr/bin:/bin",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONNOUSERSITE": "1",
            "SOURCE_DATE_EPOCH": str(self.epoch_s),
            "TMPDIR": str(home),
            "TZ": self.timezone,
            "USER": self.user,
        }


FIRST = Surroundings("a", "alice", 1000, 0o022, "C.UTF-8", "UTC0", 1_000_000_000, "alder")
SECOND = Surroundings("b/a-longer-folder", "bob", 2000, 0o077, "tr_TR.UTF-8", "<+14>-14", 1_234_567_890, "birch")
"""POSIX time zones (no tz database needed); Turkish, whose upper case of i is not I."""

ALWAYS_VARIED = (
    "folder",
    "user name",
    "umask",
    "locale",
    "time zone",
    "start time",
    "file times and SOURCE_DATE_EPOCH",
)
VARIED_WITH_UID = ("user id", "host name")


def variations(changes_uid: bool) -> tuple[str, ...]:
    """What differed between the two builds, in words, for the provenance."""
    return ALWAYS_VARIED + (VARIED_WITH_UID if changes_uid else ())
