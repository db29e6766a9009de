# SPDX-License-Identifier: Apache-2.0
"""What must hold when the port is the trouble: pulled at any moment, a device that reboots for ever, one that floods.

Each is run as a user runs it: one clear message that names what was waited for, status 3, no traceback, no hang; and
the unit is flashed by the next command. What is shown elsewhere: silence, noise, other programs and wrong boards for
every verb (`test_what_must_hold`), permissions (`test_drivers_serial`), two units with one serial number
(`test_bench_scan`), somebody else's boards that reboot or flood (`test_foreign_modes`).
"""

from __future__ import annotations

import contextlib
import os
import pty
import random
import threading
import time
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest
from life_site import APP, ROOT, LifeSite, Told, unit_site

from assay.drivers.twin.control import TwinControl
from assay.drivers.twin.twin_folder import TwinFolder
from assay.drivers.twin.wire_profile import LineProfile, WireProfile

pytestmark = pytest.mark.timeout(900)
BOARD = "ast1030-evb"
END_S = 200.0
"""Until a verb has ended: some verbs wait 10 s for an answer, and machines are busy."""
SEED, PULLS, SPARE = 4, 10, 10
AWAY_S = 0.4
WITHIN_B = (
    *(("to_device", 600), ("to_device", 6_000), ("to_device", 60_000)),
    *(("to_host", 600), ("to_host", 3_000)),
)
"""A pull is within the first so many bytes of a direction: the questions before an upload are hit as often as it is."""
ECHOES = "def test_it(smp):\n    for _ in range(100):\n        assert smp.echo('x' * 64) == 'x' * 64\n"
REBOOTS = b"ASSAY-BOOT 1 board=ast1030-evb reason=watchdog\r\nfault at 0x00012345, reset\r\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> LifeSite:
    """Twin `a` is unit DEMO-000001."""
    return unit_site(BOARD, tmp_path_factory.mktemp("ports") / "site")


def line(site: LifeSite, verb: str, place: str, results: Path) -> tuple[str | Path, ...]:
    """The command line of a verb; each of them passes on a unit in order, whichever ran before."""
    trusted = ("--place", place, "--trust", site.trust)
    lines: dict[str, tuple[str | Path, ...]] = {
        "flash": ("flash", f"{APP}@1.0.0", *trusted),
        "update": ("update", f"{APP}@1.1.0", *trusted),
        "test": ("test", ROOT / "suites" / APP, "--release", f"{APP}@1.0.0", "--results", results, *trusted),
        "evidence": ("evidence", *trusted),
        "ask": ("bench", "ask", place),
    }
    return lines[verb]


def assert_clear(told: Told, *words: str) -> None:
    assert told.status == told.data["status"] == 3, told.said
    message = told.data.get("error") or told.data["reason"]
    assert all(word in message for word in words), told.said
    assert "Traceback" not in told.said


@pytest.fixture(scope="module")
def control(site: LifeSite) -> Iterator[TwinControl]:
    """Twin `a` runs, so that its cable is a thing of its own."""
    site.good("twin", "start", "a")
    yield TwinControl(TwinFolder(site.folder / "twins" / "a"))
    site.good("twin", "stop", "a", "--force")


def pulled(control: TwinControl, site: LifeSite, direction: str, at: int, *words: str | Path) -> Told:
    """What a verb says whose cable is pulled at that byte of a direction; afterwards it is plugged in again."""
    control.set_wire(WireProfile(**{direction: LineProfile(listed=((at, "disconnect"),), disconnect_s=AWAY_S)}))
    told = site.within(*words)
    control.set_wire(WireProfile())
    end_s = time.monotonic() + END_S
    while not (site.folder / "twins" / "a" / "tty").exists():
        assert time.monotonic() < end_s
        time.sleep(0.05)
    return told


def passes(site: LifeSite, *words: str | Path) -> Told:
    """A verb, again while a twin on a busy machine answers too late; it passes in the end."""
    end_s = time.monotonic() + END_S
    while (told := site.within(*words)).status:
        assert told.status == 3 and time.monotonic() < end_s, told.said
    return told


@pytest.mark.parametrize(
    ("verb", "direction", "at"),
    [("flash", "to_device", 30_000), ("test", "to_host", 2_500), ("evidence", "to_host", 200), ("ask", "to_host", 20)],
)
def test_the_cable_is_pulled_in_the_middle(
    site: LifeSite, control: TwinControl, tmp_path: Path, verb: str, direction: str, at: int
) -> None:
    words = list(line(site, verb, "a", tmp_path / "results"))
    if verb == "flash":
        words[1] = f"{APP}@1.1.0"  # 1.0.0 is there: nothing would travel
    else:
        passes(site, *line(site, "flash", "a", tmp_path))
    if verb == "test":
        words[1] = tmp_path / "suite"
        (tmp_path / "suite").mkdir()
        (tmp_path / "suite" / "test_it.py").write_text(ECHOES)
    assert_clear(pulled(control, site, direction, at, *words))
    passes(site, *(line(site, "evidence", "a", tmp_path) if verb == "test" else words))


@pytest.mark.timeout(1800)
def test_cables_pulled_at_random_bytes_of_updates(site: LifeSite, control: TwinControl, tmp_path: Path) -> None:
    """Each pull is one clear error; the unit runs the one image or the other, proved, and the same command goes on."""
    dice, update = random.Random(SEED), line(site, "update", "a", tmp_path)
    ran: list[str] = []
    passes(site, *line(site, "flash", "a", tmp_path))
    for _ in range(PULLS + SPARE):
        direction, within_b = dice.choice(WITHIN_B)
        told = pulled(control, site, direction, dice.randrange(1, within_b), *update)
        if not told.status:  # the cable would have been pulled after the end
            passes(site, *line(site, "flash", "a", tmp_path))
            continue
        assert_clear(told, str(site.folder / "twins" / "a" / "tty"))
        assert told.data["remedy"], told.said
        ran.append(passes(site, *line(site, "evidence", "a", tmp_path)).data["version"])
        if len(ran) == PULLS:
            break
    passes(site, *update)
    print(f"after each of {len(ran)} pulls the unit ran {ran}")
    assert len(ran) == PULLS and set(ran) <= {"1.0.0", "1.1.0"}


@contextlib.contextmanager
def talking(words: bytes, every_s: float) -> Iterator[str]:
    """A port on which something says `words` again and again, and hears nothing."""
    main, theirs = pty.openpty()
    tty.setraw(theirs)
    os.set_blocking(main, False)
    stop = threading.Event()

    def talk() -> None:
        while not stop.wait(every_s):
            with contextlib.suppress(BlockingIOError, OSError):
                os.write(main, words)
            with contextlib.suppress(BlockingIOError, OSError):
                os.read(main, 65536)

    thread = threading.Thread(target=talk, daemon=True)
    thread.start()
    try:
        yield os.ttyname(theirs)
    finally:
        stop.set()
        thread.join()
        os.close(main)
        os.close(theirs)


@pytest.mark.parametrize("verb", ["ask", "flash", "update", "test", "evidence"])
def test_a_device_that_reboots_for_ever(site: LifeSite, tmp_path: Path, verb: str) -> None:
    with talking(REBOOTS, 0.05) as port:
        told = site.verb(*line(site, verb, "loop", tmp_path / "results"), "--bench", bench(tmp_path, "loop", port))
    assert_clear(told, "fault at 0x00012345")


@pytest.mark.parametrize("verb", ["ask", "flash", "update", "test", "evidence"])
def test_a_console_that_floods(site: LifeSite, tmp_path: Path, verb: str) -> None:
    with talking(b"the quick brown fox jumps over the lazy dog\r\n" * 80, 0.0) as port:
        told = site.verb(*line(site, verb, "flood", tmp_path / "results"), "--bench", bench(tmp_path, "flood", port))
    assert_clear(told, "the lazy dog")


def bench(folder: Path, name: str, port: str) -> Path:
    file = folder / "bench.toml"
    file.write_text(f'schema = "assay.bench/1"\n[[places]]\nname = "{name}"\nboard = "{BOARD}"\nport = "{port}"\n')
    return file
