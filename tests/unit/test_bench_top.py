# SPDX-License-Identifier: Apache-2.0
"""`assay bench top`: what its page shows, by Textual's own pilot, and that looking on disturbs nobody."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable, Static

from assay.cli.top_page import TopPage
from assay.drivers.console_tap import TapFeed
from assay.errors import StorageError
from assay.pipeline.bench_watch import BenchWatch, PlaceRow, now
from assay.pipeline.quarantine import PlaceState
from assay.pipeline.site import Site
from assay.stages.hil.unit_history import history_of

HOLDER = {"pid": 7, "user": "ann", "host": "h", "verb": "update", "since": "", "place": "desk", "note": "calibration"}


def row(name: str, port: str, *, holder: dict[str, Any] | None = None, state: str = "there") -> PlaceRow:
    used = f"assay update (pid 7, user ann) for {name}" if holder else None
    return PlaceRow(name, "my-board", port, "port", state, holder, used, ("bob",) if holder else ())


class Host:
    """Places of a host, as a test changes them."""

    def __init__(self, folder: Path) -> None:
        self.rows: list[PlaceRow] = []
        self.fault: Exception | None = None
        self.watch = BenchWatch(Site(folder / ".assay"), self.look)

    def look(self) -> list[PlaceRow]:
        if self.fault is not None:
            raise self.fault
        return self.rows


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    monkeypatch.setenv("ASSAY_LOCK_DIR", str(tmp_path / "locks"))
    host = Host(tmp_path)
    host.rows = [row("shelf", "/dev/b"), row("desk", "/dev/a", holder=HOLDER), row("attic", "/dev/c", state="away")]
    yield host
    host.watch.close()


def on_page(
    host: Host, script: Callable[[Pilot[None], TopPage], Awaitable[None]], size: tuple[int, int] = (80, 24)
) -> None:
    async def run() -> None:
        page = TopPage(host.watch, every_s=0.05)
        async with page.run_test(size=size) as pilot:
            await until(pilot, lambda: len(names(page)) == len(host.rows))
            await script(pilot, page)

    asyncio.run(run())


async def until(pilot: Pilot[None], true: Callable[[], bool], seconds: float = 100.0) -> None:
    end_s = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end_s, "the page does not come to show it"
        await pilot.pause(0.02)


def names(page: TopPage) -> list[str]:
    table = page.query_one("#places", DataTable)
    return [str(table.get_row_at(index)[0]) for index in range(table.row_count)]


def cells(page: TopPage, index: int) -> list[str]:
    return [str(cell) for cell in page.query_one("#places", DataTable).get_row_at(index)]


def text(page: TopPage, name: str) -> str:
    return str(page.query_one(name, Static).content)


def test_every_place_with_who_has_it_and_what_runs(host: Host) -> None:
    async def script(pilot: Pilot[None], page: TopPage) -> None:
        assert names(page) == ["attic", "desk", "shelf"]
        assert cells(page, 1) == ["desk", "there", "ann (7)", "update: calibration"]
        assert cells(page, 2)[2:] == ["free", ""]
        assert "3 places, 1 in use" in text(page, "#title")
        await pilot.press("down")
        await until(pilot, lambda: "pid 7, user ann" in text(page, "#said") and "1 wait" in text(page, "#said"))

    on_page(host, script)


def test_the_last_lines_come_from_whoever_has_the_port(host: Host) -> None:
    async def script(pilot: Pilot[None], page: TopPage) -> None:
        feed = TapFeed("/dev/c")
        try:
            await until(pilot, lambda: bool(host.watch._heard))
            time.sleep(0.25)  # a sender looks for listeners five times a second
            feed.send(b"[bold]no markup[/bold] \x1b[31mred\x1b[0m\r\nhalf a line")
            await until(pilot, lambda: "[bold]no markup[/bold] red" in text(page, "#said"))
            await until(pilot, lambda: "half a line" in text(page, "#said"))
            await until(pilot, lambda: cells(page, 0)[-1] == "half a line")
        finally:
            feed.close()

    on_page(host, script, size=(150, 40))


def test_sort_filter_and_quit(host: Host) -> None:
    async def script(pilot: Pilot[None], page: TopPage) -> None:
        await pilot.press("s")
        assert names(page) == ["desk", "attic", "shelf"]  # who has a place comes first
        await pilot.press("s")
        assert names(page)[0] == "attic" and "by state" in text(page, "#title")
        await pilot.press("slash", *"ANN")
        await until(pilot, lambda: names(page) == ["desk"])
        await pilot.press("enter")
        assert "only 'ann'" in text(page, "#title")
        await pilot.press("escape")
        await until(pilot, lambda: len(names(page)) == 3)
        await pilot.press("q")
        assert not page.is_running

    on_page(host, script)


def test_a_place_that_vanishes_and_a_bench_file_that_breaks(host: Host) -> None:
    async def script(pilot: Pilot[None], page: TopPage) -> None:
        await pilot.press("down", "down")
        host.rows = host.rows[1:]
        await until(pilot, lambda: names(page) == ["attic", "desk"])
        host.fault = StorageError("bench.toml: no such file", remedy="write it")
        await until(pilot, lambda: "bench.toml: no such file" in text(page, "#title"))
        assert names(page) == ["attic", "desk"]
        host.fault = None
        await until(pilot, lambda: "bench.toml" not in text(page, "#title"))
        await until(pilot, lambda: set(host.watch._heard) == {"/dev/a", "/dev/c"})

    on_page(host, script)


def test_a_flood_does_not_keep_the_page_from_its_keys(host: Host) -> None:
    async def script(pilot: Pilot[None], page: TopPage) -> None:
        feed = TapFeed("/dev/c")
        try:
            end_s = time.monotonic() + 1.0
            while time.monotonic() < end_s:
                feed.send(b"x" * 60 + b"\n" + b"y" * 8000 + b"\n")
                await asyncio.sleep(0)
            await pilot.press("s")
            await until(pilot, lambda: "by user" in text(page, "#title"))
        finally:
            feed.close()

    on_page(host, script)


def test_a_step_belongs_to_who_holds_the_place() -> None:
    steps = {"desk": "flash, in step upload", "shelf": "update, in step reset"}
    held = {**HOLDER, "note": ""}
    assert now(row("desk", "/dev/a", holder=held), steps, ()).runs == "update"
    assert now(row("shelf", "/dev/a", holder=held), steps, ()).runs == "update, in step reset"
    assert now(row("shelf", "/dev/a"), steps, ()).runs == ""


def test_a_place_in_quarantine_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read anew only when the log has grown."""
    site, reads = Site(tmp_path / ".assay"), []
    checkpoint = site.folder / "log" / "checkpoint"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"one")

    def states(_site: Site) -> dict[str, PlaceState]:
        reads.append(checkpoint.read_bytes())
        return {"shelf": PlaceState("shelf", "loose cable", "ann", "", history_of([]))}

    monkeypatch.setattr("assay.pipeline.quarantine.states", states)
    watch = BenchWatch(site, lambda: [row("shelf", "/dev/b"), row("desk", "/dev/a", holder=HOLDER)])
    try:
        for _ in range(2):
            rows, steps = watch.look()
        assert [watch.now(each, steps).runs for each in rows] == ["in quarantine: loose cable", "update: calibration"]
        checkpoint.write_bytes(b"two")
        watch.look()
        assert reads == [b"one", b"two"]
    finally:
        watch.close()


def _command(*words: str) -> list[str]:
    return [sys.executable, "-m", "assay", "bench", "top", *words]


def test_without_a_terminal_it_says_what_to_do(tmp_path: Path) -> None:
    done = subprocess.run(
        _command(), capture_output=True, text=True, cwd=tmp_path, stdin=subprocess.DEVNULL, timeout=60
    )
    assert done.returncode == 2 and "--once" in done.stderr


def test_a_signal_leaves_the_terminal_as_it_was(tmp_path: Path) -> None:
    main, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "NO_COLOR": "1", "ASSAY_LOCK_DIR": str(tmp_path / "locks")}
    child = subprocess.Popen(_command(), stdin=theirs, stdout=theirs, stderr=theirs, cwd=tmp_path, env=environment)
    os.close(theirs)
    seen = b""
    try:
        seen = _read_until(main, b"0 places")
        child.send_signal(signal.SIGTERM)
        seen += _read_until(main, b"stopped by SIGTERM")
        assert child.wait(100) == 3
    finally:
        child.kill()
        child.wait()
        os.close(main)
    assert seen.index(b"\x1b[?1049l") < seen.index(b"stopped by SIGTERM")  # the other screen was left first


def _read_until(port: int, words: bytes) -> bytes:
    seen, end_s = b"", time.monotonic() + 60
    while words not in seen:
        assert time.monotonic() < end_s, seen
        try:
            seen += os.read(port, 65536)
        except OSError:
            break
    return seen


def test_long_names_leave_room_for_what_was_said(host: Host) -> None:
    long = "a-place-with-a-name-as-long-as-names-may-be-which-is-63-letters"
    user = {**HOLDER, "user": "u" * 60, "note": "n" * 200}
    host.rows = [row(long, "/dev/a", holder=user), row("desk", "/dev/b")]

    async def script(pilot: Pilot[None], page: TopPage) -> None:
        assert names(page) == ["a-place-with-a…-is-63-letters"[:14] + "…is-63-letters", "desk"]
        assert [len(cell) for cell in cells(page, 0)[:-1]] == [28, 8, 5, 28, 28]
        await until(pilot, lambda: text(page, "#said").startswith(f"{long}: assay update"))

    on_page(host, script, size=(150, 30))


def test_what_a_unit_sends_moves_no_cursor_and_turns_no_line_around(host: Host) -> None:
    async def script(pilot: Pilot[None], page: TopPage) -> None:
        feed = TapFeed("/dev/c")
        try:
            await until(pilot, lambda: bool(host.watch._heard))
            time.sleep(0.25)  # a sender looks for listeners five times a second
            feed.send("\x1b[2J\x1b[H\u202eevil \x07 工作台 \x9b31m\x00".encode() + b"\xff\xfe\r\n")
            shown = "\\u{202e}evil \\u{7} 工作台 \\u{9b}31m\\u{0}\\xff\\xfe"
            await until(pilot, lambda: shown in text(page, "#said"))
        finally:
            feed.close()

    on_page(host, script, size=(150, 40))
