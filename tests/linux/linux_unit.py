# SPDX-License-Identifier: Apache-2.0
"""A provisioned unit on a twin of the kept site, and what tests ask of it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from linux_site import BOARD, GOOD, KEPT, ROOT, assay, bootloader, good, release

from assay.pipeline.places import open_place
from assay.pipeline.site import Site

TWIN = "module"
FOLDER = KEPT / "site" / "twins" / TWIN


@contextmanager
def provisioned(trust: Path) -> Iterator[str]:
    """A new twin from a blank medium on; the unit's serial number."""
    if FOLDER.exists():
        assay("twin", "stop", TWIN, "--force")
        shutil.rmtree(FOLDER)
    good("twin", "start", TWIN, "--board", BOARD)
    try:
        words = ("provision", "--place", TWIN, "--profile", "provisioning/linux.toml", "--trust", str(trust))
        made = good(*words, "--bootloader", bootloader(), "--app", release("1.0.0"))
        yield made["serial"]
    finally:
        assay("twin", "stop", TWIN, "--force")


def update_words(version: str, trust: Path) -> tuple[str, ...]:
    """The command that brings the unit to that short version, be it an older one."""
    words = ("update", release(version), "--place", TWIN, "--trust", str(trust))
    return (*words, "--unsafe-allow-older-version") if version in GOOD else words


def update(version: str, trust: Path) -> Any:
    """What that command says."""
    return assay(*update_words(version, trust))


def runs(trust: Path) -> tuple[str, str]:
    """Version and state, by the unit's own evidence."""
    report = good("evidence", "--place", TWIN, "--trust", str(trust))
    assert report["how"] == "recomputed"
    return report["version"].partition("+")[0], "confirmed" if report["kept"] else report["state"]


def forget_other_slot() -> None:
    """What the slot holds that does not run, and what was uploaded: the next update sends everything."""
    with open_place(Site(KEPT / "site"), TWIN, verb="test", start=ROOT) as place:
        place.device.erase()


def other_version(runs_now: str) -> str:
    """The good one that does not run."""
    return next(version for version in GOOD if version != runs_now)


def power_ons() -> int:
    """How often the twin's power came on since it was started."""
    lines = (FOLDER / "wire.log").read_text().splitlines()
    return sum("power on" in line for line in lines)


def last_cut() -> str:
    """What the disk lost when the power went last."""
    lines = (FOLDER / "wire.log").read_text().splitlines()
    return next((line for line in reversed(lines) if line.startswith("power cut: ")), "the power did not go")


def wait_until(ready: Any, timeout_s: float, what: str) -> None:
    """Until `ready` says so; an AssertionError with `what` when it does not in time."""
    deadline_s = time.monotonic() + timeout_s
    while not ready():
        assert time.monotonic() < deadline_s, what
        time.sleep(0.5)
