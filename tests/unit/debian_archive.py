# SPDX-License-Identifier: Apache-2.0
"""A suite of Debian by apt, with lists of its own: nothing of the system is changed, and apt verifies what comes.

The mirror is the one that this machine's apt takes Debian from.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from debian_mirror import debian_mirror

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


class DebianArchive:
    """`kind`: `deb` or `deb-src`. What comes goes into the folder `got` of `scratch`. Raises `LookupError` where apt is
    not, or names no mirror of Debian.
    """

    def __init__(self, scratch: Path, kind: str, suite: str) -> None:
        if shutil.which("apt-get") is None:
            raise LookupError("there is no apt here")
        mirror = debian_mirror()
        for name in ("lists/partial", "cache/archives/partial", "got"):
            (scratch / name).mkdir(parents=True)
        (scratch / "sources.list").write_text(f"{kind} [signed-by={KEYRING}] {mirror} {suite} main\n")
        settings = {"Dir::Etc::sourcelist": f"{scratch}/sources.list", "Dir::Etc::sourceparts": "-"}
        settings |= {"Dir::State::lists": f"{scratch}/lists", "Dir::Cache": f"{scratch}/cache"}
        settings |= {"APT::Sandbox::User": "root", "Acquire::Languages": "none"}
        self.got = scratch / "got"
        self._apt = [
            "apt-get",
            "-qq",
            *(part for name, value in settings.items() for part in ("-o", f"{name}={value}")),
        ]
        subprocess.run([*self._apt, "update"], check=True)

    def run(self, *words: str) -> Path:
        """`apt-get` in `got`; answers that folder."""
        subprocess.run([*self._apt, *words], cwd=self.got, check=True)
        return self.got
