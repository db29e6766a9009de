# SPDX-License-Identifier: Apache-2.0
"""Side by side in one run, as ratios: the command's start, boot to the first test, uploads against smpclient.

Run by `nox -s bench`. Nothing here passes or fails by a speed. Each pair is measured in turn, so that a busy machine
slows both; the median of several rounds is given.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "system"))

from life_site import APP, BOOTLOADER, ROOT, LifeSite, environment, life_site
from smpclient import SMPClient
from smpclient.transport.serial import SMPSerialTransport

from assay.drivers.mcumgr.device import open_device
from assay.drivers.twin.lifecycle import Twin, running_twin
from assay.drivers.twin.twin_folder import TwinFolder
from assay.interfaces.device import Stage

BOARD = "ast1030-evb"
LINE_BAUD = 115_200
"""bit/s of the throttled wire."""
BITS_A_BYTE = 10


def seconds(call: Callable[[], object]) -> float:
    """How long `call` takes."""
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def in_turn(rounds: int, **calls: Callable[[], object]) -> dict[str, float]:
    """The median seconds of each call, measured in turn."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            taken[name].append(seconds(call))
    return {name: statistics.median(values) for name, values in taken.items()}


def row(what: str, ours: str, theirs: str, ratio: float) -> None:
    """One line of the table."""
    print(f"{what:<44} {ours:>14} {theirs:>22} {ratio:>8.2f}", flush=True)


def program(*command: str) -> Callable[[], object]:
    """A call that runs `command` quietly."""
    return lambda: subprocess.run(command, check=True, capture_output=True, env=environment(), cwd=ROOT)


def bench_start(rounds: int) -> None:
    """`assay --help` and `assay --version` against `python -c pass`."""
    python = sys.executable
    taken = in_turn(
        rounds,
        bare=program(python, "-c", "pass"),
        help=program(python, "-m", "assay", "--help"),
        version=program(python, "-m", "assay", "--version"),
    )
    for name in ("help", "version"):
        ours, bare = f"{taken[name] * 1e3:.0f} ms", f"{taken['bare'] * 1e3:.0f} ms (python -c pass)"
        row(f"assay --{name}", ours, bare, taken[name] / taken["bare"])


def image_of(site: LifeSite, version: str) -> bytes:
    """The signed image of the app from the site's store."""
    import json

    for blob in (site.folder / "store" / "blobs" / "sha256").iterdir():
        text = blob.read_bytes()
        if text.startswith(b"{") and b'"assay.release/1"' in text:
            release = json.loads(text)
            if (release.get("name"), release.get("version")) == (APP, version):
                digest = release["image"]["file_sha256"]
                return (site.folder / "store" / "blobs" / "sha256" / digest).read_bytes()
    raise SystemExit(f"bench: no image {APP}@{version} in the store")


def upload_ours(twin: Twin, image: bytes) -> None:
    """Upload by assay's client; the slot is emptied first, outside the time of neither."""
    device = open_device(twin.tty)
    try:
        device.upload(image, hashlib.sha256(image).digest())
    finally:
        device.close()


def upload_smpclient(twin: Twin, image: bytes) -> None:
    """Upload by smpclient with its largest frames for this server."""

    async def upload() -> None:
        async with SMPClient(SMPSerialTransport(), twin.tty) as client:
            async for _ in client.upload(image):
                pass

    asyncio.run(upload())


def erase(twin: Twin) -> None:
    """Empty the secondary slot, so that no client finds the image there already."""
    device = open_device(twin.tty)
    try:
        device.erase()
    finally:
        device.close()


def bench_uploads(twin: Twin, image: bytes, rounds: int) -> None:
    """The same image to the same twin by both clients, as fast as the emulator goes and at a real baud rate."""
    for baud in (None, LINE_BAUD):
        twin.control.set_baud(baud)
        taken: dict[str, list[float]] = {"ours": [], "smpclient": []}
        for _ in range(rounds if baud is None else 1):
            for name, upload in (("ours", upload_ours), ("smpclient", upload_smpclient)):
                erase(twin)
                taken[name].append(seconds(lambda upload=upload: upload(twin, image)))  # type: ignore[misc]
        ours, theirs = (len(image) / statistics.median(taken[name]) for name in ("ours", "smpclient"))
        label = f"upload of {len(image)} bytes, {'no line rate' if baud is None else f'{baud} baud'}"
        row(label, f"{ours / 1e3:.1f} KB/s", f"{theirs / 1e3:.1f} KB/s (smpclient)", ours / theirs)
        if baud:
            line = baud / BITS_A_BYTE
            row(
                "  of the line (console framing allows 73 %)",
                f"{ours / line:.1%}",
                f"{theirs / line:.1%}",
                ours / theirs,
            )
    twin.control.set_baud(None)


def boot(twin: Twin) -> None:
    """Power cycle until the app answers."""
    device = open_device(twin.tty)
    try:
        twin.power.cycle(off_s=0)
        device.wait_ready(Stage.APP, 20)
    finally:
        device.close()


def first_test(site: LifeSite, place: str) -> Callable[[], object]:
    """pytest with one test that asks the unit for its name: plugin, lock, port, proof of the image, test."""
    folder = Path(tempfile.mkdtemp(prefix="assay-bench-"))
    (folder / "test_first.py").write_text("def test_first(unit):\n    assert unit.info.name\n")
    options = ["--assay-place", place, "--assay-release", f"{APP}@1.0.0", "--assay-trust", str(site.trust)]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder / "test_first.py")]
    return program(*command, *options, "--assay-site", str(site.folder))


def bench_first_test(site: LifeSite, twin: Twin, place: str, rounds: int) -> None:
    """A whole pytest run with one test on the board against the bare boot, and against pytest without a board."""
    bare = Path(tempfile.mkdtemp(prefix="assay-bench-")) / "test_bare.py"
    bare.write_text("def test_bare():\n    pass\n")
    taken = in_turn(
        rounds,
        boot=lambda: boot(twin),
        first=first_test(site, place),
        bare=program(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(bare)),
    )
    row("power on to an app that answers", f"{taken['boot'] * 1e3:.0f} ms", "", 1)
    floor = taken["boot"] + taken["bare"]
    ours = f"{taken['first'] * 1e3:.0f} ms"
    row("boot to first test passed", ours, f"{floor * 1e3:.0f} ms (boot + bare pytest)", taken["first"] / floor)


def main() -> None:
    """Measure everything on one twin."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="how often each is measured [7]")
    rounds = parser.parse_args().rounds
    folder = Path(tempfile.mkdtemp(prefix="assay-bench-site-"))
    site = life_site(BOARD, folder)
    site.twin("bench")
    print(f"{'':<44} {'assay':>14} {'beside it':>22} {'ratio':>8}")
    bench_start(rounds)
    with running_twin(TwinFolder(folder / "twins" / "bench")) as twin:
        site.good(*site.provision_line("bench"))
        bench_first_test(site, twin, "bench", rounds)
        bench_uploads(twin, image_of(site, "1.1.0"), rounds)
    print(f"medians of {rounds}; {BOARD} as a twin, {BOOTLOADER}; a twin shows no flash time")


if __name__ == "__main__":
    main()
