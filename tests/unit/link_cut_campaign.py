# SPDX-License-Identifier: Apache-2.0
"""Cuts the link to a real sshd at many moments of an upload, by a seed, and counts what came of it.

    unshare --net python tests/unit/link_cut_campaign.py --cuts 25 --seed 1 [--behind]

Each cut comes between the first packet of the login and a little after the upload's end; then the same file is sent
again. With `--behind` the link is the one from a jump host on. Status 1 when a file was wrong at the end, or a cut was
not noticed in time.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bad_link import PacketLink
from bad_link_session import FAR, behind_a_gate, network, sha256

from assay.drivers.ssh.opening import open_ssh
from assay.errors import DeviceTimeout, LinkError
from assay.interfaces.remote_host import RemoteHost

SIZE = 3 << 20
AFTER_ITS_END = 1.05
"""Of the time that login and upload took: some cuts come when they are over."""
NOTICED_S_MAX = 35.0
"""The handshake has limits of its own; all else is noticed within 10 s where this process gets its turn."""


@dataclass
class Cut:
    """What came of one."""

    after_s: float
    noticed_s: float | None
    resumed_at: int
    right: bool


class Cutter:
    """Cuts the link after a while, in a thread."""

    def __init__(self, link: PacketLink, after_s: float) -> None:
        self._link, self.cut_s = link, 0.0
        self._timer = threading.Timer(after_s, self._cut)
        self._timer.start()

    def _cut(self) -> None:
        self._link.set(cut=True)
        self.cut_s = time.monotonic()

    def over(self) -> None:
        self._timer.join()
        self._link.set(cut=False)


def sent(host: RemoteHost, place: Path, data: bytes) -> float:
    """Seconds of a login and an upload."""
    host.close()
    begun_s = time.monotonic()
    host.put(data, str(place), sha256(data))
    return time.monotonic() - begun_s


def one_cut(host: RemoteHost, link: PacketLink, place: Path, data: bytes, after_s: float) -> Cut:
    """Cut once, and send it again."""
    place.unlink()
    cutter, noticed_s = Cutter(link, after_s), None
    try:
        sent(host, place, data)
    except (LinkError, DeviceTimeout):
        noticed_s = time.monotonic() - cutter.cut_s
    cutter.over()
    report = host.put(data, str(place), sha256(data))
    return Cut(after_s, noticed_s, report.resumed_at, place.read_bytes() == data)


@contextmanager
def the_host(folder: Path, seed: int, behind: bool) -> Iterator[tuple[RemoteHost, PacketLink]]:
    """Over there, behind the link; or behind a jump host that is on this side of it."""
    with network(folder / "sshd", seed) as (server, link), open_ssh(server.address(host=FAR)) as host:
        link.set(delay_ms=5, rate_kbit=20_000)
        if not behind:
            yield host, link
            return
        with behind_a_gate(host, folder / "gate") as inner:
            yield inner, link


def main() -> int:
    """0 when every file was right and every cut noticed in time."""
    parser = argparse.ArgumentParser(description="Cut the link to a real sshd at many moments.")
    parser.add_argument("--cuts", type=int, default=25)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--behind", action="store_true", help="the link from a jump host on")
    given = parser.parse_args()
    dice, cuts = random.Random(given.seed), []
    data = dice.randbytes(SIZE)
    with (
        tempfile.TemporaryDirectory(prefix="assay-cuts-") as scratch,
        the_host(Path(scratch).resolve(), given.seed, given.behind) as (host, link),
    ):
        place = Path(scratch).resolve() / "x.bin"
        whole_s = sent(host, place, data)
        for _ in range(given.cuts):
            cuts.append(one_cut(host, link, place, data, dice.uniform(0, AFTER_ITS_END * whole_s)))
            print(cuts[-1], file=sys.stderr, flush=True)
    noticed = [cut.noticed_s for cut in cuts if cut.noticed_s is not None]
    told = {
        "cuts": len(cuts), "whole_s": round(whole_s, 1), "broke": len(noticed),
        "worst_s": round(max(noticed, default=0.0), 1),
        "resumed": sum(cut.resumed_at > 0 for cut in cuts), "right": sum(cut.right for cut in cuts),
    }  # fmt: skip
    print(json.dumps(told))
    return 0 if told["right"] == len(cuts) and max(noticed, default=0.0) < NOTICED_S_MAX else 1


if __name__ == "__main__":
    sys.exit(main())
