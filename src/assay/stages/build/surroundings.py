# SPDX-License-Identifier: Apache-2.0
"""The two surroundings in which every module is built: whatever leaks into an output differs between them.

Guards: folder, user, umask, time zone, file times and SOURCE_DATE_EPOCH differ in every pair of builds; where the
builder can, user id, host name and the number of processors do too; the locale where there is one to take, and the
order of files in a folder where the file system can. The clock differs by a second only. What really did is claimed
(`stages.build.probe`), and nothing else.
Leaves to others: running (`stages.build.twice`), comparing (`stages.build.comparison`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

START_APART_S = 1.1
"""Seconds between the starts of the two builds: a clock that is read in whole seconds shows another value."""


@dataclass(frozen=True)
class Surroundings:
    """What one build sees of the world. `epoch_s`: SOURCE_DATE_EPOCH and the modification time of every source.

    `cpus`: how many processors (None: all that there are); `backwards`: the sources are created in reverse order;
    `needs_locale`: the locale is one that a C library does not bring.
    """

    folder: str
    user: str
    uid: int
    umask: int
    locale: str
    timezone: str
    epoch_s: int
    hostname: str
    cpus: int | None = None
    backwards: bool = False
    needs_locale: bool = False

    def environment(self, home: Path, path: str) -> dict[str, str]:
        """The whole environment of a build. `path` is where it looks for programs.

        `LANGUAGE` keeps the words of compilers English in any locale (gettext): people and we read them.
        """
        return {
            "HOME": str(home),
            "LANG": self.locale,
            "LANGUAGE": "en",
            "LC_ALL": self.locale,
            "LOGNAME": self.user,
            "PATH": path,
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONNOUSERSITE": "1",
            "SOURCE_DATE_EPOCH": str(self.epoch_s),
            "TMPDIR": str(home),
            "TZ": self.timezone,
            "USER": self.user,
        }


FIRST = Surroundings("a", "alice", 1000, 0o022, "C.UTF-8", "UTC0", 1_000_000_000, "alder")
SECOND = Surroundings(
    "b/a-longer-folder", "bob", 2000, 0o077, "tr_TR.UTF-8", "<+14>-14", 1_234_567_890, "birch", 1, True, True
)
"""POSIX time zones (no tz database needed); Turkish, whose upper case of i is not I."""

START_TIME = f"start time (by {START_APART_S} s)"
FILE_TIMES = "file times"
FILE_ORDER = "file order"


def variations(seen: tuple[str, ...], file_order: bool) -> tuple[str, ...]:
    """What differed between the two builds, in words, for the provenance: `seen` is what programs saw otherwise
    (`probe`), `file_order` whether the files of a folder came in another order. Start and file times are set here.
    """
    return (*seen, START_TIME, FILE_TIMES, *((FILE_ORDER,) if file_order else ()))
