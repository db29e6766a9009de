# SPDX-License-Identifier: Apache-2.0
"""Rows about many units at once: eight uploads at a time against one, and what idle twins cost."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import measuring
from life_site import APP, LifeSite, unit_site
from line_rows import unit, upload_ours
from measuring import row
from twin_firmware import firmware_for, large_app

from assay.drivers.twin.lifecycle import Twin, start_twin
from assay.drivers.twin.twin_folder import TwinFolder

BAUD = 115_200
SIZE = 150_000
MANY = 8
IDLE = 32
IDLE_S = 5.0


@contextlib.contextmanager
def units(count: int, baud: int | None) -> Iterator[list[Twin]]:
    """Running twins with the app 1.0.0: copies of one, so that making them costs no time."""
    firmware = firmware_for(measuring.board)
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        with unit() as (_, twin):
            first = twin.folder.path
            twin.power.off()
            for number in range(count):
                shutil.copytree(
                    first, Path(name) / f"u{number}", ignore=shutil.ignore_patterns("control", "tty", "*.l*")
                )
        twins = []
        for number in range(count):
            folder = TwinFolder(Path(name) / f"u{number}")
            twins.append(start_twin(folder, firmware.rom, owner_pid=os.getpid(), baud=baud))
            stack.callback(twins[-1].stop)
        yield twins


def eight_at_once() -> None:
    """Row: seconds for one image to each of eight twins at a time, against one twin."""
    image = Path(tempfile.gettempdir()) / f"assay-bench-{os.getpid()}.img"
    image.write_bytes(large_app(measuring.board, SIZE))
    with units(MANY, BAUD) as twins:
        one_s = _at_once(twins[:1], image)
        many_s = _at_once([*twins[1:], _emptied(twins[0])], image)
    image.unlink()
    what = f"{SIZE} bytes to {MANY} twins at {BAUD} baud"
    row(what, f"{many_s:.1f} s", f"{one_s:.1f} s (one twin)", many_s / one_s)


def eight_verbs() -> None:
    """Row: seconds of `assay flash` to eight places at a time, from gate to record, against one."""
    with tempfile.TemporaryDirectory(prefix="assay-bench-verbs-") as folder:
        site = unit_site(measuring.board, Path(folder) / "site")
        twins = site.folder / "twins"
        names = [f"u{number}" for number in range(MANY)]
        for name in names:
            shutil.copytree(twins / "a", twins / name)
        with contextlib.ExitStack() as stack:
            for name in ("a", *names):
                site.good("twin", "start", name, "--baud", str(BAUD))
                stack.callback(site.verb, "twin", "stop", name, "--force")
            one_s, many_s = _verb_at(site, "a"), _verb_at(site, *names)
    what = f"assay flash of {MANY} twins at {BAUD} baud, gate to record"
    row(what, f"{many_s:.1f} s", f"{one_s:.1f} s (one twin)", many_s / one_s)


def _verb_at(site: LifeSite, *places: str) -> float:
    named = [word for place in places for word in ("--place", place)]
    begun_s = time.monotonic()
    site.good("flash", f"{APP}@1.1.0", *named, "--trust", site.trust)
    return time.monotonic() - begun_s


def _emptied(twin: Twin) -> Twin:
    from line_rows import erase

    erase(twin)
    return twin


def _at_once(twins: list[Twin], image: Path) -> float:
    """Seconds from the word to the last one's end; each upload is a process of its own, ready before the word."""
    command = [sys.executable, __file__, str(image), str(BAUD)]
    running = [
        subprocess.Popen([*command, twin.tty], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for twin in twins
    ]
    for upload in running:
        assert upload.stdout is not None and upload.stdout.readline() == "ready\n"
    begun_s = time.monotonic()
    for upload in running:
        assert upload.stdin is not None
        upload.stdin.write("go\n")
        upload.stdin.flush()
    statuses = [upload.wait() for upload in running]
    assert statuses == [0] * len(twins), statuses
    return time.monotonic() - begun_s


def idle_twins() -> None:
    """Row: how much of a core each of many idle twins takes, QEMU and wire together."""
    with units(IDLE, None) as twins:
        time.sleep(1.0)  # they have booted
        pids = [pid for twin in twins for pid in (twin.status().wire_pid, twin.status().qemu_pid) if pid]
        before = [_cpu_s(pid) for pid in pids]
        time.sleep(IDLE_S)
        shares = [(_cpu_s(pid) - used) / IDLE_S for pid, used in zip(pids, before, strict=True)]
        memory = sum(_pss_kib(pid) for pid in pids) / 1024 / IDLE
    row(f"a core, each of {IDLE} idle twins", f"{sum(shares) / IDLE:.2%}", f"{memory:.0f} MiB each", None)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _pss_kib(pid: int) -> int:
    rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in rows if line.startswith("Pss:"))


def main(image: str, baud: str, port: str) -> None:
    """One upload, on the word."""
    data = Path(image).read_bytes()
    print("ready", flush=True)
    sys.stdin.readline()
    upload_ours(port, data, int(baud), "auto")


if __name__ == "__main__":
    main(*sys.argv[1:])
