# SPDX-License-Identifier: Apache-2.0
"""A provisioned unit on a twin of the kept site, and what tests ask of it."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cut_relay import CutRelay, cut_relay
from linux_site import BOARD, GOOD, KEPT, ROOT, assay, bootloader, end_all, good, release

from assay.drivers.ssh.host import SshHost
from assay.drivers.ssh.opening import open_ssh
from assay.drivers.twin.linux_disk import PORT_FILE, chosen_port
from assay.pipeline.linux_places import ssh_of
from assay.pipeline.manifest_files import load_board
from assay.pipeline.places import PlaceAddress, open_place
from assay.pipeline.site import Site

TWIN = "module"
FOLDER = KEPT / "site" / "twins" / TWIN
BUNDLE_BYTES = 20_000_000
"""Fewer than a bundle has: cuts come before this."""


@dataclass(frozen=True)
class WholeUpdate:
    """How long one is, how often the disk was asked to flush from power on to its end, and how long a start of the unit
    with its evidence is, in seconds.
    """

    seconds: float
    flushes: int
    start_s: float


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
        end_all()
        assay("twin", "stop", TWIN, "--force")


def update_words(version: str, trust: Path) -> tuple[str, ...]:
    """The command that brings the unit to that short version, be it an older one."""
    words = ("update", release(version), "--place", TWIN, "--trust", str(trust))
    return (*words, "--unsafe-allow-older-version", "a test") if version in GOOD else words


def update(version: str, trust: Path) -> Any:
    """What that command says."""
    return assay(*update_words(version, trust))


def runs(trust: Path) -> tuple[str, str]:
    """Version and state, by the unit's own evidence."""
    report = good("evidence", "--place", TWIN, "--trust", str(trust))
    assert report["how"] == "recomputed"
    return report["version"].partition("+")[0], "confirmed" if report["kept"] else report["state"]


def unit_host() -> SshHost:
    """The unit's own SSH server, past all verbs."""
    board = load_board(ROOT / "boards" / f"{BOARD}.toml")
    return open_ssh(ssh_of(PlaceAddress(TWIN, board, "", twin=FOLDER), board))


def rauc_installs(host: SshHost) -> bool:
    """At this moment."""
    return b"rauc install" in host.run(["ps"]).stdout


def forget_other_slot() -> None:
    """What the slot holds that does not run, and what was uploaded: the next update sends everything."""
    with open_place(Site(KEPT / "site"), TWIN, verb="test", start=ROOT) as place:
        place.device.erase()


def other_version(runs_now: str) -> str:
    """The good one that does not run."""
    return next(version for version in GOOD if version != runs_now)


@contextmanager
def relayed(cuts: tuple[int, ...]) -> Iterator[CutRelay]:
    """All verbs go to the unit over a relay."""
    port = chosen_port(FOLDER)
    try:
        with cut_relay(port, cuts) as relay:
            (FOLDER / PORT_FILE).write_text(str(relay.port))
            yield relay
    finally:
        (FOLDER / PORT_FILE).write_text(str(port))


def link_cuts(dice: random.Random, count: int) -> tuple[int, ...]:
    """After how many bytes of an upload its link is cut."""
    return tuple(sorted(dice.randrange(BUNDLE_BYTES) for _ in range(count)))


def power_ons() -> int:
    """How often the twin's power came on since it was started."""
    lines = (FOLDER / "wire.log").read_text().splitlines()
    return sum("power on" in line for line in lines)


def power_cuts() -> list[str]:
    """What the disk said at each end of its power: the sectors that it lost."""
    lines = (FOLDER / "wire.log").read_text().splitlines()
    return [line for line in lines if line.startswith("power cut: ")]


def wait_until(ready: Any, timeout_s: float, what: str) -> None:
    """Until `ready` says so; an AssertionError with `what` when it does not in time."""
    deadline_s = time.monotonic() + timeout_s
    while not ready():
        assert time.monotonic() < deadline_s, what
        time.sleep(0.5)
