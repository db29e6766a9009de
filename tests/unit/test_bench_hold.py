# SPDX-License-Identifier: Apache-2.0
"""Holding a place for a command, a shell or a job: who gets it next, who is told what, and what a kill leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from assay.drivers.locks.file_lock import FileLocks
from assay.drivers.locks.keeper import start_keeper
from assay.errors import UsageFault

ROOT = Path(__file__).parents[2]
ASSAY = [sys.executable, "-m", "assay"]
PATIENCE_S = 200.0
BENCH = """schema = "assay.bench/1"
[[places]]
name = "desk"
board = "rv32-virt"
port = "/dev/assay-no-such-port"
"""


class Bench:
    """Commands of one project with one place; what they start is ended with the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[subprocess.Popen[str]] = []

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [*ASSAY, "bench", *words]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=200, check=False)

    def start(self, *words: str) -> subprocess.Popen[str]:
        return self.shell([*ASSAY, "bench", *words])

    def shell(self, command: list[str]) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            command, cwd=self.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.started.append(process)
        return process

    def holders(self) -> list[dict[str, object]]:
        return list(json.loads(self.run("who", "--json").stdout)["holders"])

    def waiting(self) -> list[str]:
        return list(json.loads(self.run("who", "desk", "--json").stdout)["waiting"])


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setenv("ASSAY_LOCK_DIR", str(tmp_path / "locks"))
    (tmp_path / "boards").symlink_to(ROOT / "boards")
    (tmp_path / "bench.toml").write_text(BENCH)
    made = Bench(tmp_path)
    yield made
    for process in made.started:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            assert pipe is not None
            pipe.close()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def wait_until(what: str, happens: object) -> None:
    end_s = time.monotonic() + PATIENCE_S
    assert callable(happens)
    while not happens():
        assert time.monotonic() < end_s, f"waited for: {what}"
        time.sleep(0.05)


def gone(pid: int) -> bool:
    """Ended, if perhaps not yet waited for by its new parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_place_is_held_while_a_command_runs(bench: Bench) -> None:
    holder = bench.start("acquire", "--note", "calibration", "desk", "--", "sh", "-c", "echo $ASSAY_HELD_PLACE; cat")
    assert line_of(holder) == "desk"
    refused = bench.run("acquire", "desk", "--", "true")
    assert refused.returncode == 3
    assert f"desk is used by assay bench acquire (pid {holder.pid}, user " in refused.stderr
    assert "for: calibration" in refused.stderr
    (seen,) = bench.holders()
    assert (seen["pid"], seen["place"], seen["note"]) == (holder.pid, "desk", "calibration")
    assert holder.stdin is not None
    holder.stdin.close()
    assert holder.wait(PATIENCE_S) == 0
    assert bench.holders() == []


@pytest.mark.parametrize(("command", "status"), [("exit 7", 7), ("kill -KILL $$", 137)])
def test_the_status_is_the_commands(bench: Bench, command: str, status: int) -> None:
    assert bench.run("acquire", "desk", "--", "sh", "-c", command).returncode == status


def test_a_command_that_is_not_there_is_named(bench: Bench) -> None:
    done = bench.run("acquire", "desk", "--", "no-such-program")
    assert done.returncode == 3 and "cannot run no-such-program" in done.stderr
    assert bench.holders() == []


def test_what_runs_below_shares_the_place(bench: Bench) -> None:
    inner = f"{sys.executable} -m assay bench acquire desk -- echo inside"
    done = bench.run("acquire", "desk", "--", "sh", "-c", inner)
    assert (done.returncode, done.stdout.strip()) == (0, "inside")


def test_a_killed_holder_leaves_neither_lock_nor_command(bench: Bench) -> None:
    holder = bench.start("acquire", "desk", "--", "sh", "-c", "echo $$; exec sleep 1000")
    command = int(line_of(holder))
    holder.kill()
    wait_until("the end of the command", lambda: gone(command))
    assert bench.run("acquire", "--wait", "30", "desk", "--", "true").returncode == 0


WORKS_BELOW = ["sleep 261 & echo $!; wait; true", "setsid sh -c 'echo $$; sleep 261; true'; true"]


@pytest.mark.parametrize("command", WORKS_BELOW)
def test_a_killed_holder_leaves_nobody_at_work(bench: Bench, command: str) -> None:
    """What the command started works on the place as much as the command does."""
    holder = bench.start("acquire", "desk", "--", "sh", "-c", command)
    worker = int(line_of(holder))
    holder.kill()
    holder.wait()
    wait_until("the end of what the command started", lambda: gone(worker))
    assert bench.run("acquire", "--wait", "30", "desk", "--", "true").returncode == 0


def test_who_ignores_the_hangup_goes_on_without_the_place(bench: Bench) -> None:
    holder = bench.start("acquire", "desk", "--", "sh", "-c", "trap '' HUP; echo $$; while :; do sleep 0.1; done")
    stubborn = int(line_of(holder))
    holder.kill()
    try:
        assert bench.run("acquire", "--wait", "30", "desk", "--", "true").returncode == 0
        assert not gone(stubborn)
    finally:
        os.kill(stubborn, signal.SIGKILL)


def test_a_killed_guard_takes_the_command_along(bench: Bench) -> None:
    holder = bench.start("acquire", "desk", "--", "sh", "-c", "echo $$ $PPID; exec sleep 261")
    command, guard = map(int, line_of(holder).split())
    assert guard != holder.pid
    os.kill(guard, signal.SIGKILL)
    assert holder.wait(PATIENCE_S) == 137
    wait_until("the end of the command", lambda: gone(command))


def test_a_daemon_that_the_command_leaves_holds_nothing(bench: Bench) -> None:
    done = bench.run("acquire", "desk", "--", "sh", "-c", "setsid sleep 30 >/dev/null 2>&1 & echo $!")
    daemon = int(done.stdout)
    try:
        assert bench.run("acquire", "desk", "--", "true").returncode == 0
    finally:
        os.kill(daemon, signal.SIGKILL)


@pytest.mark.timeout(900)  # a line of seven commands, on a host that is busy
def test_who_comes_first_is_served_first(bench: Bench) -> None:
    holder = bench.start("acquire", "desk", "--", "cat")
    wait_until("the holder", lambda: len(bench.holders()) == 1)
    order = bench.folder / "order"
    waiters = []
    for number in range(5):
        command = ["acquire", "--wait", "1000", "--note", f"n{number}", "desk", "--"]
        waiters.append(bench.start(*command, "sh", "-c", f"echo {number} >> {order}"))
        wait_until(f"{number + 1} in the line", lambda count=number + 1: len(bench.waiting()) == count)
    told = bench.run("acquire", "--wait", "0.3", "desk", "--", "true")
    assert told.returncode == 3 and "5 wait before: assay bench acquire" in told.stderr
    at_once = f"desk is used by assay bench acquire (pid {holder.pid}, "
    assert at_once in told.stderr and "5 wait before; this waits for it, at most 0.3 s" in told.stderr
    waiters[1].send_signal(signal.SIGKILL)
    wait_until("the killed one out of the line", lambda: len(bench.waiting()) == 4)
    assert holder.stdin is not None
    holder.stdin.close()
    assert [waiters[number].wait(PATIENCE_S) for number in (0, 2, 3, 4)] == [0] * 4
    assert order.read_text().split() == ["0", "2", "3", "4"]


def test_a_stopped_waiter_lets_others_pass(bench: Bench) -> None:
    holder = bench.start("acquire", "desk", "--", "cat")
    wait_until("the holder", lambda: len(bench.holders()) == 1)
    first = bench.start("acquire", "--wait", "1000", "desk", "--", "true")
    wait_until("the first in the line", lambda: len(bench.waiting()) == 1)
    first.send_signal(signal.SIGSTOP)
    assert holder.stdin is not None
    holder.stdin.close()
    holder.wait(PATIENCE_S)
    assert bench.run("acquire", "--wait", "30", "desk", "--", "true").returncode == 0
    first.send_signal(signal.SIGCONT)
    assert first.wait(PATIENCE_S) == 0


SHELL = "{assay} bench acquire {options} desk >&2 || exit 9; echo held; read x; {then}"


def shell_with_hold(bench: Bench, options: str = "", then: str = "true") -> subprocess.Popen[str]:
    text = SHELL.format(assay=" ".join(ASSAY), options=options, then=then)
    shell = bench.shell(["bash", "-c", text])
    assert line_of(shell) == "held"
    return shell


def test_a_shell_holds_a_place_until_it_ends(bench: Bench) -> None:
    shell = shell_with_hold(bench)
    (holder,) = bench.holders()
    assert holder["pid"] == shell.pid
    assert bench.run("acquire", "desk", "--", "true").returncode == 3
    shell.kill()
    wait_until("a free place", lambda: bench.holders() == [])
    assert bench.run("acquire", "desk", "--", "true").returncode == 0


def test_what_the_shell_starts_shares_its_place_and_it_gives_it_back(bench: Bench) -> None:
    assay = " ".join(ASSAY)
    then = f"{assay} bench acquire desk -- echo inside; {assay} bench release desk; {assay} bench who desk"
    shell = shell_with_hold(bench, then=then)
    said, _ = shell.communicate("\n", timeout=PATIENCE_S)
    assert said.splitlines() == ["inside", "desk is free", "desk is free"]


def test_nobody_else_gives_it_back(bench: Bench) -> None:
    shell = shell_with_hold(bench)
    done = bench.run("release", "desk")
    assert done.returncode == 4 and f"desk is held by assay bench acquire (pid {shell.pid}" in done.stderr
    assert len(bench.holders()) == 1


def test_a_hold_ends_with_its_time(bench: Bench) -> None:
    shell_with_hold(bench, "--for 0.5s")
    wait_until("the end of the time", lambda: bench.holders() == [])


def test_a_long_hold_is_held(bench: Bench) -> None:
    """600 hours are more milliseconds than poll(2) takes at once."""
    done = shell_with_hold(bench, "--for 600h")
    assert [seen["place"] for seen in bench.holders()] == ["desk"]
    done.kill()


def test_a_hold_for_a_process_that_ended_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the moment between the question whether it runs and the keeper's own."""
    monkeypatch.setenv("ASSAY_LOCK_DIR", str(tmp_path))
    ended = subprocess.Popen(["true"])
    ended.wait()
    with pytest.raises(UsageFault, match=f"process {ended.pid} has ended"):
        start_keeper(FileLocks().acquire_all(("/dev/assay-no-such-port",), verb="test", place="desk"), ended.pid, None)


def test_a_probe_that_a_place_with_a_port_has_is_not_free(bench: Bench) -> None:
    """In the bench file of somebody else: one file may not give one unit two names."""
    bench_file, other = bench.folder / "bench.toml", bench.folder / "other.toml"
    bench_file.write_text(bench_file.read_text() + 'probe = "E66"\n')
    other.write_text('schema = "assay.bench/1"\n[[places]]\nname = "bare"\nboard = "rv32-virt"\nprobe = "E66"\n')
    holder = bench.start("acquire", "desk", "--", "sh", "-c", "echo held; cat")
    assert line_of(holder) == "held"
    refused = bench.run("acquire", "--bench", str(other), "bare", "--", "true")
    assert refused.returncode == 3
    assert f"bare is used by assay bench acquire (pid {holder.pid}, user " in refused.stderr
    assert f"pid {holder.pid}" in bench.run("who", "bare", "--bench", str(other)).stdout


def test_a_killed_keeper_holds_nothing(bench: Bench) -> None:
    shell_with_hold(bench)
    (lock,) = (bench.folder / "locks").glob("*.0.lock")
    os.kill(json.loads(lock.read_bytes())["keeper"], signal.SIGKILL)
    wait_until("a free place", lambda: bench.holders() == [])


def test_a_running_command_is_not_ended_by_release(bench: Bench) -> None:
    inner = f"{' '.join(ASSAY)} bench release desk"
    done = bench.run("acquire", "desk", "--", "sh", "-c", inner)
    assert done.returncode == 4 and "it is free when that process ends" in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--for", "2 days", "desk"), "'2 days' is no time"),
        (("--pid", "4194000", "desk"), "there is no process 4194000"),
        (("--for", "1m", "desk", "--", "true"), "are for a hold without a command"),
        (("dseks",), "there is no place and no twin called 'dseks'"),
    ],
)
def test_a_wrong_wish_is_told(bench: Bench, words: tuple[str, ...], says: str) -> None:
    done = bench.run("acquire", *words)
    assert done.returncode == 2 and says in done.stderr


def test_a_damaged_line_is_an_empty_one(bench: Bench) -> None:
    holder = bench.start("acquire", "desk", "--", "cat")
    wait_until("the holder", lambda: len(bench.holders()) == 1)
    assert bench.run("acquire", "--wait", "0.2", "desk", "--", "true").returncode == 3
    (line,) = (bench.folder / "locks").glob("*.line")
    line.write_bytes(b'[{"ticket": 1')
    assert holder.stdin is not None
    holder.stdin.close()
    assert bench.run("acquire", "--wait", "30", "desk", "--", "true").returncode == 0


def test_a_command_finds_no_secret_in_its_environment(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PIN, the password of a registry, the token of a CI job, what opens a key service; with --secrets those with
    which verbs sign.
    """
    monkeypatch.setenv("ASSAY_PIN_HSM", "secret-1")
    monkeypatch.setenv("ASSAY_REGISTRY_PASSWORD", "secret-2")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "secret-3")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-4")
    monkeypatch.setenv("HARMLESS", "yes")
    plain = bench.run("acquire", "desk", "--", "env")
    assert (plain.returncode, "secret-" in plain.stdout, "HARMLESS=yes" in plain.stdout) == (0, False, True)
    given = bench.run("acquire", "--secrets", "desk", "--", "env").stdout
    assert [f"secret-{number}" in given for number in (1, 2, 3, 4)] == [True, False, True, True]
    assert bench.run("acquire", "--secrets", "desk").returncode == 2
