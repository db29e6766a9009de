# SPDX-License-Identifier: Apache-2.0
"""The wire as a process: it starts once, ends with its owner, leaves nothing, and says why when it cannot."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pseudo_twin import port, read_line, twin_on_pseudo_qemu, wait_until

from assay.drivers.twin.control import TwinControl, open_twin_power
from assay.drivers.twin.control_server import short_path
from assay.drivers.twin.lifecycle import Twin, running_twin, start_twin
from assay.drivers.twin.line_faults import LineFaults
from assay.drivers.twin.twin_folder import TwinFolder
from assay.drivers.twin.wire_profile import LineProfile, WireProfile, profile_of
from assay.errors import AssayError, InfrastructureError, LinkError, StorageError, ToolMissing, UsageFault, at_layer
from assay.pipeline.manifest_files import load_wire


def gone(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[TwinFolder]:
    yield from twin_on_pseudo_qemu(tmp_path, "ast1030-evb")


def use(folder: TwinFolder, **changes: object) -> None:
    settings = folder.read_settings()
    folder.write_settings(replace(settings, machine=replace(settings.machine, **changes)))


def test_start_talk_cycle_stop(folder: TwinFolder) -> None:
    twin = start_twin(folder, owner_pid=os.getpid())
    with port(twin) as fd:
        assert read_line(fd) == b"BOOT 0\r\n"
        os.write(fd, b"hello\n")
        assert read_line(fd) == b"hello\n"
        twin.power.cycle()  # the same port, still open
        assert read_line(fd) == b"BOOT 1\r\n"
        assert twin.power.is_on()
        twin.power.off()
        twin.power.off()
        assert not twin.power.is_on()
        os.write(fd, b"nobody hears this\n")
        twin.power.on()
        assert read_line(fd) == b"BOOT 2\r\n"
        os.write(fd, b"x\n")
        assert read_line(fd) == b"x\n"
    status = twin.status()
    assert (status.running, status.power, status.power_ons, status.owner_pid) == (True, "on", 3, os.getpid())
    pids = (status.wire_pid, status.qemu_pid)
    twin.stop()
    assert all(gone(pid) for pid in pids if pid)
    assert not folder.tty.is_symlink() and not folder.control.exists()
    assert not twin.status().running
    twin.stop()


def test_a_start_of_a_running_twin_uses_it(folder: TwinFolder) -> None:
    first = start_twin(folder, owner_pid=os.getpid())
    second = start_twin(folder, owner_pid=os.getpid(), baud=9600)
    assert first.status().wire_pid == second.status().wire_pid
    assert first.status().baud == 9600
    other = folder.path.parent / "other.elf"
    other.write_bytes(b"\x7fELF other")
    with pytest.raises(UsageFault, match="runs with the mask ROM"):
        start_twin(folder, other)


def test_many_starters_start_one_wire(folder: TwinFolder) -> None:
    pids: list[int | None] = []
    threads = [
        threading.Thread(target=lambda: pids.append(start_twin(folder, owner_pid=os.getpid()).status().wire_pid))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pids) == 4 and len(set(pids)) == 1


def test_a_killed_wire_leaves_no_orphan_and_the_next_start_works(folder: TwinFolder) -> None:
    status = start_twin(folder, owner_pid=os.getpid()).status()
    assert status.wire_pid and status.qemu_pid
    os.kill(status.wire_pid, signal.SIGKILL)
    wait_until(lambda: gone(status.qemu_pid or 0))
    assert folder.tty.is_symlink()  # what a killed wire leaves
    twin = start_twin(folder, owner_pid=os.getpid())
    with port(twin) as fd:
        assert read_line(fd).startswith(b"BOOT")


def test_the_wire_ends_with_its_owner_however_that_ends(folder: TwinFolder) -> None:
    owner = subprocess.Popen(["sleep", "60"])
    status = start_twin(folder, owner_pid=owner.pid).status()
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    wait_until(lambda: gone(status.wire_pid or 0) and gone(status.qemu_pid or 0))
    assert not folder.tty.is_symlink()


def test_without_an_owner_it_lives_on(folder: TwinFolder) -> None:
    code = (
        "import sys; from pathlib import Path; from assay.drivers.twin.lifecycle import start_twin;"
        "from assay.drivers.twin.twin_folder import TwinFolder; start_twin(TwinFolder(Path(sys.argv[1])))"
    )
    subprocess.run([sys.executable, "-c", code, str(folder.path)], check=True, timeout=100)
    assert TwinControl(folder).status().running


def test_the_block_ends_the_twin(folder: TwinFolder) -> None:
    with running_twin(folder) as twin:
        assert twin.status().running
    assert not TwinControl(folder).status().running


def test_a_dead_owner_starts_nothing(folder: TwinFolder) -> None:
    owner = subprocess.Popen(["true"])
    owner.wait()
    with pytest.raises(InfrastructureError, match="cannot begin"):
        start_twin(folder, owner_pid=owner.pid)
    assert not TwinControl(folder).alive()


def test_qemu_missing_says_what_to_install(folder: TwinFolder) -> None:
    use(folder, qemu="qemu-system-none", package="qemu-system-arm")
    with pytest.raises(ToolMissing, match="qemu-system-none is not installed") as caught:
        start_twin(folder, owner_pid=os.getpid())
    assert "apt-get install -y qemu-system-arm" in caught.value.remedy
    assert not folder.tty.is_symlink()


def test_qemu_that_does_not_start_is_quoted(folder: TwinFolder) -> None:
    use(folder, arguments=("-crash",))
    with pytest.raises(InfrastructureError, match="could not load the ROM"):
        start_twin(folder, owner_pid=os.getpid())


def test_a_rom_that_vanished(folder: TwinFolder) -> None:
    Path(folder.read_settings().rom or "").unlink()
    with pytest.raises(StorageError, match=r"cannot read .*rom\.elf"):
        start_twin(folder, owner_pid=os.getpid())
    with pytest.raises(UsageFault, match="no mask ROM at"):
        start_twin(folder, Path("/nonexistent.elf"))
    (folder.path / "no.elf").write_bytes(b"schema = 1")
    with pytest.raises(UsageFault, match="is no ELF file"):
        start_twin(folder, folder.path / "no.elf")


def test_a_qemu_without_io_uring_is_started_without(folder: TwinFolder) -> None:
    use(folder, arguments=("-no-io-uring",))
    with port(start_twin(folder, owner_pid=os.getpid())) as fd:
        assert read_line(fd) == b"BOOT 0\r\n"


def test_qemu_that_ends_by_itself_is_power_off_and_why_is_logged(folder: TwinFolder) -> None:
    twin = start_twin(folder, owner_pid=os.getpid())
    with port(twin) as fd:
        os.write(fd, b"!exit\n")
        wait_until(lambda: not twin.power.is_on())
        assert "Lockup" in folder.wire_log.read_text()
        twin.power.on()
        assert twin.power.is_on()


def test_entropy_comes_and_is_in_no_log(folder: TwinFolder) -> None:
    twin = start_twin(folder, owner_pid=os.getpid())
    with port(twin) as fd:
        read_line(fd)
        os.write(fd, b"!entropy 32 60\n")
        assert read_line(fd) == b"32 bytes\r\n"
        twin.stop()
    settings = folder.read_settings()
    folder.write_settings(replace(settings, profile=replace(settings.profile, entropy=False)))
    with port(start_twin(folder, owner_pid=os.getpid())) as fd:
        read_line(fd)
        os.write(fd, b"!entropy 32 0.5\n")
        assert read_line(fd) == b"silence\r\n"
    assert len(folder.wire_log.read_bytes()) < 1000 and folder.wire_log.read_bytes().isascii()


def test_a_cut_at_a_moment_of_the_wires_clock(folder: TwinFolder) -> None:
    twin = start_twin(folder, owner_pid=os.getpid())
    begun_s = time.monotonic()
    twin.control.power("cut", after_s=2.0)
    assert twin.power.is_on()
    wait_until(lambda: not twin.power.is_on())
    assert 1.98 < time.monotonic() - begun_s < 20


def seconds_there_and_back(fd: int, size: int) -> float:
    """From before the first byte goes to when the last is back; the echo fills both directions at once."""
    sent = os.urandom(size).replace(b"!", b".")
    writer = threading.Thread(target=lambda: os.write(fd, sent))
    begun_s, got = time.monotonic(), bytearray()
    writer.start()
    while len(got) < size:
        got += os.read(fd, 65536)
    took_s = time.monotonic() - begun_s
    writer.join()
    assert bytes(got) == sent
    return took_s


def held_up_s(*pids: int | None) -> float:
    """Seconds for which these processes could have run, and had no processor; 0 where the kernel does not tell."""
    waits = [task.read_text().split()[1] for pid in pids for task in Path(f"/proc/{pid}/task").glob("*/schedstat")]
    return sum(map(int, waits)) / 1e9


@pytest.mark.parametrize("baud", [57600, 230400])
def test_the_line_has_the_rate_that_was_asked_for(folder: TwinFolder, baud: int) -> None:
    twin = start_twin(folder, owner_pid=os.getpid(), baud=baud)
    expected_s, tries = 2.0, [9.9]
    pids = os.getpid(), twin.status().wire_pid, twin.status().qemu_pid
    begun_s, waited_s = time.monotonic(), held_up_s(*pids)
    with port(twin) as fd:
        read_line(fd)
        # A busy host may hold the processes up; the line itself is never faster.
        while min(tries) > expected_s * 1.02 and time.monotonic() < begun_s + 120:
            tries.append(seconds_there_and_back(fd, baud // 10 * 2))
            assert tries[-1] > expected_s * 0.98
        starved = held_up_s(*pids) - waited_s > time.monotonic() - begun_s
    assert min(tries) < expected_s * 1.08 or starved, tries  # one bit more in each byte would be 1.1


def test_a_port_that_nobody_reads_does_not_hold_up_the_chip(folder: TwinFolder) -> None:
    twin = start_twin(folder, owner_pid=os.getpid())
    with port(twin) as fd:
        os.set_blocking(fd, False)
        end_s = time.monotonic() + 60
        while not twin.status().bytes_dropped and time.monotonic() < end_s:
            with contextlib.suppress(BlockingIOError):
                os.write(fd, b"x" * 4096)
            time.sleep(0.01)
        assert twin.status().bytes_dropped
    with port(twin) as fd:
        twin.power.cycle()
        line = b""
        while b"BOOT" not in line:
            line += os.read(fd, 65536)


def test_nonsense_on_the_control_socket_harms_only_itself(folder: TwinFolder) -> None:
    twin = start_twin(folder, owner_pid=os.getpid())
    assert stat.S_IMODE(folder.control.stat().st_mode) & 0o077 == 0
    for request, word in [
        (b"nonsense\n", "no JSON"), (b"[1]\n", "no object"), (b'{"do": "dance"}\n', "knows no"),
        (b'{"do": "power", "action": "up"}\n', "no power action"), (b'{"do": "baud", "baud": "x"}\n', "baud"),
        (b'{"do": "baud", "baud": 1}\n', "baud"), (b'{"do": "power", "action": "cycle", "off_s": 1e9}\n', "a time of"),
    ]:  # fmt: skip
        with socket.socket(socket.AF_UNIX) as client, short_path(folder.control) as path:
            client.connect(path)
            client.sendall(request)
            answer = json.loads(client.recv(4096))
            assert not answer["ok"] and word in answer["error"], request
    with socket.socket(socket.AF_UNIX) as client, short_path(folder.control) as path:
        client.connect(path)
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            client.sendall(b"x" * 20_000)
            assert client.recv(100) == b""
    assert twin.status().running


def test_a_twin_that_does_not_run_says_so(folder: TwinFolder) -> None:
    with pytest.raises(LinkError, match="does not run") as caught, at_layer("power"):
        Twin(folder).power.on()
    assert "assay twin start t" in caught.value.remedy
    assert caught.value.layer == "port"  # its wire is gone, and it was the port


def test_a_bench_file_may_name_a_twins_switch(folder: TwinFolder) -> None:
    start_twin(folder, owner_pid=os.getpid())
    for address in (folder.path, folder.tty):
        assert open_twin_power(str(address)).is_on()
    with pytest.raises(UsageFault, match="no twin"):
        open_twin_power("/nonexistent/tty")


def test_a_folder_deeper_than_a_socket_path(folder: TwinFolder) -> None:
    deep = folder.path.parent.joinpath(*["d" * 60] * 4)
    deep.mkdir(parents=True)
    moved = TwinFolder(folder.path.rename(deep / "t"))
    with running_twin(moved) as twin, port(twin) as fd:
        assert read_line(fd).startswith(b"BOOT")


def test_an_unwritable_folder_says_so(folder: TwinFolder) -> None:
    folder.wire_log.mkdir()  # root may write anywhere; a folder in the file's place refuses root too
    with pytest.raises(AssayError, match=r"cannot write .*wire\.log"):
        start_twin(folder, owner_pid=os.getpid())
    folder.wire_log.rmdir()


def test_the_wire_starts_fast(folder: TwinFolder) -> None:
    """In a second, or what twenty starts of Python take on a host that is busy just now."""
    tries = []
    while len(tries) < 10 and not any(tries):
        begun_s = time.monotonic()
        subprocess.run([sys.executable, "-S", "-c", ""], check=True)
        bare_s = time.monotonic() - begun_s
        begun_s = time.monotonic()
        twin = start_twin(folder, owner_pid=os.getpid())
        tries.append(time.monotonic() - begun_s < max(1.0, 20 * bare_s))
        twin.stop()
    assert any(tries)


def put_in(twin: Twin, *listed: tuple[int, str], way: str = "to_device", **more: float) -> None:
    line = LineProfile(listed=listed, **more)
    twin.control.set_wire(replace(WireProfile(), **{way: line}))


def test_another_wire_while_it_runs(folder: TwinFolder) -> None:
    twin = start_twin(folder, owner_pid=os.getpid())
    with port(twin) as fd:
        read_line(fd)
        for _ in range(2):  # bytes are counted anew with each wire: the same happens again
            put_in(twin, (1, "lost"), (3, "repeated"), (5, "damaged"))
            os.write(fd, b"abcdefg\n")
            line = read_line(fd)
            assert line[:4] == b"acdd" and line[5] != ord("f") and line[6:] == b"g\n"
        status = twin.status()
        assert status.faults == {
            "to_device": {"bytes": 8, "lost": 1, "repeated": 1, "damaged": 1},
            "to_host": {"bytes": 8},
        }
        assert status.profile is not None and status.profile["to_device"]["listed"] == [
            [1, "lost"],
            [3, "repeated"],
            [5, "damaged"],
        ]


def test_a_wire_that_is_a_file_does_the_same_again_to_the_same_bytes(folder: TwinFolder, tmp_path: Path) -> None:
    """And it is what the file and its seed say: a failure on a bad cable is replayed."""
    file, data = tmp_path / "bad.toml", b"x" * 400
    shares = "[to_device]\ndamaged = 0.02\nlost = 0.02\nrepeated = 0.02\n"
    twin = start_twin(folder, owner_pid=os.getpid())
    heard = []
    with port(twin) as fd:
        read_line(fd)
        for seed in (7, 7, 8):
            file.write_text(f'schema = "assay.wire/1"\nseed = {seed}\n{shares}')
            profile = profile_of(load_wire(file))
            told = LineFaults(profile.to_device, seed, "to_device").apply(data)
            expected = b"".join(piece.data for piece in told)
            twin.control.set_wire(profile)
            os.write(fd, data)
            said = b""
            while len(said) < len(expected):
                said += os.read(fd, len(expected) - len(said))
            heard.append(said)
            assert said == expected
    assert heard[0] == heard[1] != heard[2]


def test_a_stall_and_latency(folder: TwinFolder) -> None:
    twin = start_twin(folder, owner_pid=os.getpid())
    with port(twin) as fd:
        read_line(fd)
        put_in(twin, (3, "stall"), stall_s=3.0)
        begun_s = time.monotonic()
        os.write(fd, b"abcdef\n")
        heard = b""
        while len(heard) < 3:
            heard += os.read(fd, 100)
        assert heard == b"abc" and time.monotonic() - begun_s < 2.9
        assert read_line(fd) == b"def\n" and time.monotonic() - begun_s > 2.99
        twin.control.set_wire(WireProfile(latency_s=0.15))
        begun_s = time.monotonic()
        os.write(fd, b"abc\n")
        assert read_line(fd) == b"abc\n" and time.monotonic() - begun_s > 0.29


def test_the_port_goes_away_and_comes_back(folder: TwinFolder) -> None:
    twin = start_twin(folder, owner_pid=os.getpid())
    with port(twin) as fd:
        read_line(fd)
        put_in(twin, (4, "disconnect"), disconnect_s=3.0)
        os.write(fd, b"abc\n")
        assert read_line(fd) == b"abc\n"
        os.write(fd, b"lost\n")
        with pytest.raises(OSError, match=r"Input/output error|^$") as caught:
            while os.read(fd, 100):
                pass
            raise OSError
        assert caught.value.errno in (None, 5)
        assert not folder.tty.is_symlink()
    wait_until(folder.tty.is_symlink)
    with port(twin) as fd:
        os.write(fd, b"again\n")
        assert read_line(fd).endswith(b"again\n")


def test_a_wire_is_kept_for_the_next_start(folder: TwinFolder) -> None:
    bad = WireProfile(baud=9600, seed=9, to_host=LineProfile(lost=0.5))
    start_twin(folder, owner_pid=os.getpid(), wire=bad).stop()
    twin = start_twin(folder, owner_pid=os.getpid())
    assert folder.read_settings().profile == bad and twin.status().baud == 9600
    clean = start_twin(folder, owner_pid=os.getpid(), wire=WireProfile())
    assert clean.status().baud is None and clean.status().profile == WireProfile().as_json() | {
        way: vars(LineProfile()) | {"listed": []} for way in ("to_device", "to_host")
    }
