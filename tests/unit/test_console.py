# SPDX-License-Identifier: Apache-2.0
"""The console: lines with their time, beside others, through unplugging, floods and noise, and a clean end."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import pytest

from assay.drivers import console_tap
from assay.drivers.console_tap import LOOK_EACH_S, Tap, TapFeed
from assay.drivers.locks.file_lock import FileLocks
from assay.errors import StorageError
from assay.pipeline import console_watch
from assay.pipeline.driver_doors import open_transport
from assay.protocols.smp.framing import Framing, encode

ROOT = Path(__file__).parents[2]
PATIENCE_S = 100.0
TRY = """
import sys
from assay.drivers.locks.file_lock import FileLocks
from assay.errors import PlaceBusy
try:
    with FileLocks().acquire(sys.argv[1], verb="test", place="desk", wait_s=float(sys.argv[2])):
        print("has it", flush=True)
        sys.stdin.readline()
except PlaceBusy as busy:
    print(busy.message)
"""


class Unit:
    """A unit on a port that can be pulled out and put in again."""

    def __init__(self, link: Path) -> None:
        self.link = link
        self.plug_in()

    def plug_in(self) -> None:
        self.ours, theirs = os.openpty()
        tty.setraw(theirs)
        self._theirs = theirs
        self.link.symlink_to(os.ttyname(theirs))

    def pull_out(self) -> None:
        self.link.unlink()
        os.close(self._theirs)
        os.close(self.ours)

    def says(self, data: bytes) -> None:
        while data:
            data = data[os.write(self.ours, data) :]

    def hears(self, length: int) -> bytes:
        heard = b""
        while len(heard) < length:
            heard += os.read(self.ours, length - len(heard))
        return heard


class Console:
    """`assay console` with its lines as they come."""

    def __init__(self, folder: Path, *words: str, place: str = "desk") -> None:
        command = [sys.executable, "-u", "-m", "assay", "console", place, *words]
        self.process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.out: list[str] = []
        self.notes: list[str] = []
        for pipe, lines in ((self.process.stdout, self.out), (self.process.stderr, self.notes)):
            threading.Thread(target=self._collect, args=(pipe, lines), daemon=True).start()

    def _collect(self, pipe: object, lines: list[str]) -> None:
        with suppress(ValueError):
            lines += ()
            for line in pipe:  # type: ignore[attr-defined]
                lines.append(line.rstrip("\n"))  # others look at it meanwhile

    def wait_for(self, pattern: str, lines: list[str]) -> str:
        end_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < end_s:
            for line in list(lines):
                if re.search(pattern, line):
                    return line
            time.sleep(0.02)
        raise AssertionError(f"waited for {pattern!r}; lines: {self.out}, notes: {self.notes}")

    def end(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("ASSAY_LOCK_DIR", str(tmp_path / "locks"))
    (tmp_path / "boards").symlink_to(ROOT / "boards")
    (tmp_path / "bench.toml").write_text(
        f'schema = "assay.bench/1"\n[[places]]\nname = "desk"\nboard = "rv32-virt"\nport = "{tmp_path / "tty"}"\n'
    )
    yield tmp_path


@pytest.fixture
def unit(desk: Path) -> Iterator[Unit]:
    made = Unit(desk / "tty")
    yield made
    with suppress(OSError):
        made.pull_out()


@pytest.fixture
def consoles() -> Iterator[list[Console]]:
    made: list[Console] = []
    yield made
    for console in made:
        console.process.kill()
        console.process.wait()


def opened(consoles: list[Console], desk: Path, *words: str) -> Console:
    console = Console(desk, *words)
    consoles.append(console)
    console.wait_for("connected to", console.notes)
    return console


def test_lines_have_a_time_and_go_to_a_file(unit: Unit, desk: Path, consoles: list[Console]) -> None:
    console = opened(consoles, desk, "--log", "all.log", "--filter", "temp")
    unit.says(b"boot ok\r\n\x1b[1;32mtemp=21\x1b[0m\r\n\x1b]0;evil\x07\xff\r\nprompt> ")
    line = console.wait_for("temp", console.out)
    assert re.fullmatch(r"\[\d\d:\d\d:\d\d\.\d{3}\] temp=21", line)
    end_s = time.monotonic() + PATIENCE_S
    while "prompt>" not in (desk / "all.log").read_text() and time.monotonic() < end_s:
        time.sleep(0.05)
    assert console.end() == 0
    log = (desk / "all.log").read_text()
    assert re.search(r"^\d{4}-\d\d-\d\dT\S+ boot ok$", log, re.MULTILINE)
    assert "prompt> " in log and "\x1b" not in log and "\x07" not in log
    assert console.out == [line]


def test_a_unit_that_was_unplugged_is_waited_for(unit: Unit, desk: Path, consoles: list[Console]) -> None:
    console = opened(consoles, desk)
    unit.says(b"one\n")
    console.wait_for("one", console.out)
    unit.pull_out()
    console.wait_for("waiting for the unit", console.notes)
    unit.plug_in()
    end_s = time.monotonic() + PATIENCE_S
    while len([note for note in console.notes if "connected to" in note]) < 2 and time.monotonic() < end_s:
        time.sleep(0.05)
    unit.says(b"two\n")
    console.wait_for("two", console.out)
    assert len([note for note in console.notes if "connected to" in note]) == 2
    assert console.end() == 0


def test_a_unit_that_is_not_there_at_the_start_is_told(desk: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "assay", "console", "desk"],
        cwd=desk,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 3 and f"there is no port {desk / 'tty'}" in done.stderr


def test_two_read_at_once_and_the_second_takes_over(unit: Unit, desk: Path, consoles: list[Console]) -> None:
    first = opened(consoles, desk)
    second = Console(desk)
    consoles.append(second)
    second.wait_for(r"listening only: desk is used by assay console \(pid " + str(first.process.pid), second.notes)
    end_s = time.monotonic() + PATIENCE_S
    while "to both" not in "".join(second.out) and time.monotonic() < end_s:  # the first sees it at its next look
        unit.says(b"to both\n")
        time.sleep(LOOK_EACH_S)
    first.wait_for("to both", first.out)
    second.wait_for("to both", second.out)
    assert first.end() == 0
    second.wait_for("connected to", second.notes)
    unit.says(b"to one\n")
    second.wait_for("to one", second.out)
    assert second.end() == 0


def test_who_waits_for_the_place_gets_it(unit: Unit, desk: Path, consoles: list[Console]) -> None:
    """Not who only tries, and not another console; afterwards the port is taken again."""
    port = str(desk / "tty")
    console = opened(consoles, desk)
    tries = subprocess.run([sys.executable, "-c", TRY, port, "0"], capture_output=True, text=True, check=False)
    assert f"assay console (pid {console.process.pid}" in tries.stdout
    waits = subprocess.Popen([sys.executable, "-c", TRY, port, "60"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert waits.stdin is not None and waits.stdout is not None
    assert waits.stdout.readline() == b"has it\n"
    console.wait_for(rf"gives way to assay test \(pid {waits.pid}", console.notes)
    assert len([note for note in console.notes if "gives way" in note]) == 1
    waits.communicate(b"\n")
    end_s = time.monotonic() + PATIENCE_S
    while len([note for note in console.notes if "connected to" in note]) < 2 and time.monotonic() < end_s:
        time.sleep(0.02)
    unit.says(b"again\n")
    console.wait_for("again", console.out)
    assert console.end() == 0


def test_beside_a_running_verb_it_only_listens(unit: Unit, desk: Path, consoles: list[Console]) -> None:
    port = str(desk / "tty")
    with FileLocks().acquire(port, verb="test", place="desk"):
        transport = open_transport(port, 115200)
        console = Console(desk, "--listen", "--frames")
        consoles.append(console)
        end_s = time.monotonic() + PATIENCE_S
        while not list((desk / "locks").glob("taps/*")) and time.monotonic() < end_s:
            time.sleep(0.05)
        time.sleep(2 * LOOK_EACH_S)
        transport.read(1, 0)
        unit.says(b"app 1.0\n" + encode(bytes(8) + b"answer", Framing.CONSOLE) + b"end\n")
        received = b""
        while not received.endswith(b"end\n"):
            received += transport.read(4096, 1.0)
        assert received.startswith(b"app 1.0\n"), "nothing was taken from the one who has the port"
        console.wait_for("end", console.out)
        assert any("app 1.0" in line for line in console.out)
        assert any("# SMP frame of 14 bytes" in line for line in console.out)
        assert console.end() == 0
        transport.close()
    assert list((desk / "locks" / "taps").iterdir()) == []


def test_a_file_is_sent_and_refused_beside_others(unit: Unit, desk: Path, consoles: list[Console]) -> None:
    text = bytes(range(256)) * 4
    (desk / "script").write_bytes(text)
    console = opened(consoles, desk, "--send", "script")
    assert unit.hears(len(text)) == text
    command = [sys.executable, "-m", "assay", "console", "desk", "--send", "script"]
    second = subprocess.run(command, cwd=desk, capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode == 3 and "is used by assay console" in second.stderr
    assert console.end() == 0


@pytest.mark.parametrize("baud", [9600, 115200, 921600])
def test_a_file_is_sent_at_the_speed_of_the_line(baud: int, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s, sent, rest = 0.0, 0, 64 * 100

    class Line:
        def read(self, _max_bytes: int, timeout_s: float) -> bytes:
            nonlocal now_s
            now_s += min(timeout_s, 0.001)  # its echo comes meanwhile
            return b"."

        def write(self, data: bytes) -> None:
            nonlocal sent
            sent += len(data)

    def typed() -> bytes:
        nonlocal rest
        rest -= 64
        return b"x" * 64 if rest >= 0 else b""

    monkeypatch.setattr("assay.pipeline.console_watch.time.monotonic", lambda: now_s)
    heard = console_watch._own(Line(), typed, baud, str)  # type: ignore[arg-type]
    while sent < 64 * 100:
        next(heard)
    takes_s = 64 * 99 * 10 / baud
    assert takes_s <= now_s <= 1.02 * takes_s + 0.2


def test_a_flood_and_noise_end_cleanly(unit: Unit, desk: Path, consoles: list[Console]) -> None:
    console = opened(consoles, desk, "--seconds", "8")
    stop = time.monotonic() + 4

    def flood() -> None:
        with suppress(OSError):
            while time.monotonic() < stop:
                unit.says(b"flood flood flood flood\n" * 40 + os.urandom(200) + b"\n")

    thread = threading.Thread(target=flood, daemon=True)
    thread.start()
    assert console.process.wait(PATIENCE_S) == 0
    assert any("flood" in line for line in console.out)
    assert all(line.isprintable() for line in console.out)


def test_json_is_one_document(unit: Unit, desk: Path) -> None:
    ended = threading.Event()

    def speak() -> None:
        while not ended.wait(0.5):
            unit.says(b"late\n")

    thread = threading.Thread(target=speak)
    thread.start()
    command = [sys.executable, "-m", "assay", "console", "desk", "--json", "--seconds", "7"]
    done = subprocess.run(command, cwd=desk, capture_output=True, text=True, timeout=200, check=False)
    ended.set()
    thread.join()
    document = json.loads(done.stdout)
    assert (document["status"], set(document["lines"])) == (0, {"late"})


def test_what_is_typed_is_sent_and_ctrl_d_ends_it(unit: Unit, desk: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(desk)
        os.execv(sys.executable, [sys.executable, "-m", "assay", "console", "desk", "--eol", "crlf"])
    try:
        said = b""
        while b"connected to" not in said:
            said += os.read(terminal, 1024)
        os.write(terminal, b"help\n")
        assert unit.hears(6) == b"help\r\n"
        os.write(terminal, b"\x04")
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0
    finally:
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        os.close(terminal)


@pytest.mark.parametrize(
    ("words", "says"),
    [(("--filter", "("), "is no regular expression"), (("--listen", "--send", "bench.toml"), "--listen sends nothing")],
)
def test_a_wrong_wish_is_told(words: tuple[str, ...], says: str, unit: Unit, desk: Path) -> None:
    command = [sys.executable, "-m", "assay", "console", "desk", *words]
    done = subprocess.run(command, cwd=desk, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2 and says in done.stderr


# The tap itself


def test_a_slow_listener_loses_bytes_and_is_told_how_many(desk: Path) -> None:
    feed = TapFeed("/dev/x")
    with Tap("/dev/x") as tap:
        sent = 0
        for _ in range(3000):
            feed.send(bytes(4096))
            sent += 4096
        received, lost = 0, 0
        while data := tap.read(0.2)[1]:
            received += len(data)
        feed.send(b"on")
        more, data = tap.read(5.0)
        lost += more
        assert data == b"on" and lost > 0 and received + lost == sent
    feed.close()


def test_a_killed_listener_is_swept_away(desk: Path) -> None:
    code = "import os; from assay.drivers.console_tap import Tap; t = Tap('/dev/x'); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code], timeout=60, check=False)
    (dead,) = (desk / "locks" / "taps").iterdir()
    TapFeed("/dev/x").send(b"x")
    assert not dead.exists()


def test_a_folder_that_cannot_be_made_is_told(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (desk / "file").write_text("")
    monkeypatch.setenv("ASSAY_TAP_DIR", str(desk / "file"))
    with pytest.raises(StorageError, match="nobody can be listened to"):
        Tap("/dev/x")
    monkeypatch.setenv("ASSAY_TAP_DIR", str(desk / ("long" * 30) / ("path" * 30)))
    Tap("/dev/x").close()


def test_a_listener_that_cannot_be_reached_keeps_nothing_from_the_others(
    desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = console_tap.short_path

    def short(path: Path) -> AbstractContextManager[str]:
        if path == dead:
            raise FileNotFoundError(path)
        return real(path)

    with Tap("/dev/x") as one, Tap("/dev/x") as other:
        feed = TapFeed("/dev/x")
        feed.send(b"")
        dead = next(iter(feed._listeners))
        monkeypatch.setattr(console_tap, "short_path", short)
        feed.send(b"hello")
        feed.close()
        assert b"hello" in (one.read(0.2)[1], other.read(0.2)[1])
