# SPDX-License-Identifier: Apache-2.0
"""A look around, taken in the surroundings of each build before it begins: what really differs there is claimed.

A locale that is not installed, a clock or a host name that a builder cannot change: what was asked for is not what a
build sees. So programs as builds use them are asked, by the same builder, as the same user, with the same environment.
Guards: what either look did not see (a program is missing) is not claimed. Leaves to others: running it
(`interfaces.builder`), what is asked for (`surroundings`).
"""

from __future__ import annotations

from dataclasses import replace

from assay.interfaces.builder import BuildTask

_LOOKS = {
    "folder": "pwd",
    "user name": 'echo "$USER $HOME"',
    "umask": "umask",
    "locale": r"printf 'b\nA\na\nB\n' | sort | tr '\n' ' '",
    "time zone": "date +%z",
    "SOURCE_DATE_EPOCH": 'echo "$SOURCE_DATE_EPOCH"',
    "user id": "id -u",
    "host name": "uname -n",
    "CPU count": "nproc",
}
"""Name of a variation, and a line for the shell whose output shows it. A locale shows in the order of letters: by their
codes upper case comes first, by the rules of a language A stands beside a.
"""

_BEGIN = "assay-sees"
SCRIPT = "".join(f'printf "{_BEGIN} %s\\t%s\\n" "{name}" "$({look})"\n' for name, look in _LOOKS.items())


def look_of(task: BuildTask) -> BuildTask:
    """The task that looks around where `task` will be run."""
    return replace(task, command=("/bin/sh", "-c", SCRIPT))


def seen_otherwise(first: str, second: str) -> tuple[str, ...]:
    """The names of what differs between the outputs of two looks."""
    one, other = _seen(first), _seen(second)
    return tuple(name for name in _LOOKS if one.get(name) and other.get(name) and one[name] != other[name])


def _seen(output: str) -> dict[str, str]:
    rows = (line[len(_BEGIN) + 1 :].partition("\t") for line in output.splitlines() if line.startswith(f"{_BEGIN} "))
    return {name: value.strip() for name, _, value in rows}
