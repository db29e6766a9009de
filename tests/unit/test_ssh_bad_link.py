# SPDX-License-Identifier: Apache-2.0
"""A link that is cut, slow or loses packets: noticed within seconds, and gone on where it was; real sshd, real packets.

Without network namespaces (a container that forbids them) only the streams at the end are played; under nox that has to
be said (`ASSAY_WITHOUT_NAMESPACES=1`).
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import pytest
from bad_link import Lane, StreamLink, Weather
from ssh_server import SshServer, needs_sshd, ssh_server

from assay.drivers.ssh.opening import open_ssh
from assay.errors import LinkError

pytestmark = [needs_sshd, pytest.mark.timeout(400)]  # of a machine that has much else to do

NOTICED_S_MAX = 20.0
BEHIND_S_MAX = 30.0
"""By looks, not by the kernel: 8 s to 9 s, and more where this process has to wait for its turn."""
STALLED_S_MAX = 70.0
"""To TCP a relay that lives and takes nothing is no broken link: where all was sent, the transfer's limits end it."""
GATE_PORT = 2222
SESSION = Path(__file__).with_name("bad_link_session.py")
OWN_NETWORK = ("unshare", "--net") if os.geteuid() == 0 else (
    "unshare", "--user", "--map-current-user", "--keep-caps", "--net",
)  # fmt: skip


@cache
def no_namespaces() -> str:
    """Why none can be made here; empty when they can."""
    if shutil.which("unshare") is None:
        return "no unshare"
    if not os.access("/dev/net/tun", os.W_OK):
        return "no /dev/net/tun"
    words = [*OWN_NETWORK, *OWN_NETWORK[:1], "--net", "true"]
    tried = subprocess.run(words, capture_output=True, text=True, check=False)
    return tried.stderr.strip() if tried.returncode else ""


def may_be_missing(why: str, environment: Mapping[str, str]) -> NoReturn:
    """Skips by hand; under nox, which says that all ran, only where somebody said that they may be missing."""
    said = f"no network namespaces here: {why}"
    if "NOX_CURRENT_SESSION" in environment and "ASSAY_WITHOUT_NAMESPACES" not in environment:
        pytest.fail(f"{said}; set ASSAY_WITHOUT_NAMESPACES=1 to go without these tests", pytrace=False)
    pytest.skip(said)


def test_missing_namespaces_are_no_silent_pass() -> None:
    with pytest.raises(pytest.fail.Exception, match="ASSAY_WITHOUT_NAMESPACES"):
        may_be_missing("no unshare", {"NOX_CURRENT_SESSION": "tests"})
    for allowed in ({}, {"NOX_CURRENT_SESSION": "tests", "ASSAY_WITHOUT_NAMESPACES": "1"}):
        with pytest.raises(pytest.skip.Exception, match="no unshare"):
            may_be_missing("no unshare", allowed)


def played(scenario: str, folder: Path, seed: int = 1) -> dict[str, Any]:
    if why := no_namespaces():
        may_be_missing(why, os.environ)
    words = [*OWN_NETWORK, sys.executable, str(SESSION), scenario, str(folder), str(seed)]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr
    told: dict[str, Any] = json.loads(ended.stdout)
    print(scenario, told)
    return told


def test_a_cut_in_an_upload_is_noticed_and_gone_on_from(tmp_path: Path) -> None:
    told = played("cut_in_an_upload", tmp_path)
    assert told["noticed_s"] < NOTICED_S_MAX
    assert "the link to" in told["words"] and "broke" in told["words"]
    assert told["right"]
    assert told["resumed_at"] > 1 << 20
    assert told["sent"] == told["size"] - told["resumed_at"]
    assert told["carried"] < told["sent"] * 1.3  # what travelled was the rest, with its headers


def test_a_cut_while_a_command_is_silent_is_noticed(tmp_path: Path) -> None:
    told = played("cut_while_idle", tmp_path)
    assert told["noticed_s"] < NOTICED_S_MAX
    assert told["again"] == "back\n"


def test_a_cut_at_any_moment_of_the_login_is_noticed(tmp_path: Path) -> None:
    told = played("cut_at_login", tmp_path)
    assert len(told["noticed_s"]) == 4 and max(told["noticed_s"]) < NOTICED_S_MAX + 3
    assert told["again"] == "back\n"


def test_a_cut_before_a_jump_host_is_noticed_and_gone_on_from(tmp_path: Path) -> None:
    told = played("cut_over_a_jump_host", tmp_path)
    assert told["noticed_s"] < NOTICED_S_MAX
    assert f"10.91.2.2:{GATE_PORT} broke" in told["words"]
    assert told["right"] and told["resumed_at"] > 1 << 20


def test_a_cut_behind_a_jump_host_is_noticed_and_told(tmp_path: Path) -> None:
    """Nobody's kernel tells us: what is cut is the way from the jump host on."""
    told = played("cut_behind_a_jump_host", tmp_path)
    for noticed in (told, told["idle"]):
        assert noticed["noticed_s"] < BEHIND_S_MAX
        assert f"10.91.2.2:{GATE_PORT}, from" in noticed["words"]
        assert f"127.0.0.1:{GATE_PORT + 1} on, broke: nothing comes from it any more" in noticed["words"]
    assert told["right"] and told["resumed_at"] > 1 << 20
    assert told["idle"]["again"] == "back\n"


def test_a_slow_link_behind_a_jump_host_is_not_taken_for_a_dead_one(tmp_path: Path) -> None:
    told = played("slow_behind_a_jump_host", tmp_path)
    assert told["right"] and told["sent"] == told["size"]
    assert told["seconds"] > told["size"] * 8 / 128_000


def test_many_cuts(tmp_path: Path) -> None:
    told = played("many_cuts", tmp_path)
    assert told["cuts"] == 3 and told["right"]
    assert 0 < told["resumed_at"] < told["size"]


def test_a_slow_link_is_not_taken_for_a_dead_one(tmp_path: Path) -> None:
    told = played("slow", tmp_path)
    assert told["right"] and told["sent"] == told["size"]
    assert told["seconds"] > told["size"] * 8 / 256_000  # the weather was what it says


def test_packets_are_lost_and_the_file_is_right(tmp_path: Path) -> None:
    told = played("lossy", tmp_path)
    assert told["right"] and told["lost"] > 20


def test_the_same_seed_is_the_same_weather() -> None:
    def lost(seed: int) -> list[bytes]:
        lane = Lane(random.Random(seed), Weather(loss=0.3, delay_ms=10, jitter_ms=5))
        for number in range(200):
            lane.put(bytes([number]), number / 1000)
        return list(lane.due(10.0))

    assert lost(1) == lost(1) != lost(2)
    assert 100 < len(lost(1)) < 180


# Streams, for machines without namespaces


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[tuple[SshServer, StreamLink]]:
    with ssh_server(tmp_path / "sshd") as server:
        link = StreamLink(server.port)
        yield server, link
        link.close()


def test_a_stream_that_stalls_in_an_upload(behind: tuple[SshServer, StreamLink], tmp_path: Path) -> None:
    server, link = behind
    data, stalled_s = os.urandom(24 << 20), 0.0

    def stall(done: int, _: int) -> None:
        nonlocal stalled_s
        if done > len(data) // 2 and not stalled_s:
            link.stalled.set()
            stalled_s = time.monotonic()

    place = tmp_path.resolve() / "x.bin"
    with open_ssh(server.address(port=link.port)) as host:
        digest = hashlib.sha256(data).hexdigest()
        with pytest.raises(LinkError):
            host.put(data, str(place), digest, progress=stall)
        assert time.monotonic() - stalled_s < STALLED_S_MAX
        link.stalled.clear()
        link.hang_up()
        report = host.put(data, str(place), digest)
    assert report.resumed_at > 1 << 20 and report.sent == len(data) - report.resumed_at
    assert place.read_bytes() == data


def test_a_host_that_hangs_up_in_a_command(behind: tuple[SshServer, StreamLink]) -> None:
    server, link = behind
    with open_ssh(server.address(port=link.port)) as host:
        assert host.run(["true"]).ok
        threading.Timer(0.5, link.hang_up).start()
        began_s = time.monotonic()
        with pytest.raises(LinkError, match="broke"):
            host.run(["sleep", "60"])
        assert time.monotonic() - began_s < NOTICED_S_MAX
        assert host.run(["true"]).ok
