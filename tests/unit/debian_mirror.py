# SPDX-License-Identifier: Apache-2.0
"""Where this machine's apt takes Debian itself from, for what is fetched from there by apt with lists of its own."""

from __future__ import annotations

import re
import subprocess


def debian_mirror() -> str:
    """The address. Raises `LookupError` where apt names none."""
    form = ["apt-get", "indextargets", "--format", "$(ORIGIN) $(REPO_URI)", "Created-By: Packages"]
    told = subprocess.run(form, capture_output=True, text=True, check=True).stdout
    found = re.search(r"^Debian (\S+/debian/?)$", told, re.MULTILINE)
    if found is None:
        raise LookupError("apt names no mirror of Debian")
    return found[1]
