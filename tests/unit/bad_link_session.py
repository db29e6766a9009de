# SPDX-License-Identifier: Apache-2.0
"""What an upload does on a bad link, played in network namespaces: this program is started in one of its own.

    unshare --net python bad_link_session.py SCENARIO FOLDER SEED

It makes a second namespace with an sshd in it, a link between both (`bad_link.PacketLink`), plays the scenario, and
prints what came of it as JSON.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import json
import os
import random
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bad_link import PacketLink
from ssh_server import SshServer, ssh_server

from assay.drivers.ssh.host import SshHost
from assay.drivers.ssh.opening import open_ssh
from assay.errors import LinkError
from assay.interfaces.remote_host import RemoteHost

TUNSETIFF, IFF_TUN, IFF_NO_PI, IFF_UP = 0x400454CA, 1, 0x1000, 1
SIOCSIFADDR, SIOCSIFNETMASK, SIOCGIFFLAGS, SIOCSIFFLAGS = 0x8916, 0x891C, 0x8913, 0x8914
CLONE_NEWNET = 0x40000000
NEAR, FAR = "10.91.2.1", "10.91.2.2"
PORT = 2222


def _network_of_its_own() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "no network namespace")


def _bring_up(name: str, address: str | None) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for request, value in ((SIOCSIFADDR, address), (SIOCSIFNETMASK, "255.255.255.0")):
            if address is not None and value is not None:
                inet = struct.pack("HH4s8x", socket.AF_INET, 0, socket.inet_aton(value))
                fcntl.ioctl(asked, request, struct.pack("16s16s", name.encode(), inet))
        flags = struct.unpack("16sh14x", fcntl.ioctl(asked, SIOCGIFFLAGS, struct.pack("16sh14x", name.encode(), 0)))[1]
        fcntl.ioctl(asked, SIOCSIFFLAGS, struct.pack("16sh14x", name.encode(), flags | IFF_UP))


def _tun(name: str, address: str) -> int:
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH14x", name.encode(), IFF_TUN | IFF_NO_PI))
    _bring_up("lo", None)
    _bring_up(name, address)
    return tun


@contextmanager
def network(folder: Path, seed: int) -> Iterator[tuple[SshServer, PacketLink]]:
    """An sshd over there, and the link to it."""
    near = _tun("wan0", NEAR)
    ours, theirs = socket.socketpair()

    def over_there() -> None:
        _network_of_its_own()
        socket.send_fds(theirs, [b"t"], [_tun("wan1", FAR)])

    with ssh_server(folder, limits=over_there, listen=FAR, port=PORT) as server:
        far = socket.recv_fds(ours, 1, 1)[1][0]
        link = PacketLink(near, far, seed)
        try:
            _wait_for(server)
            yield server, link
        finally:
            link.close()


def _wait_for(server: SshServer) -> None:
    end_s = time.monotonic() + 30
    while time.monotonic() < end_s:
        try:
            socket.create_connection((FAR, PORT), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(server.log)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Cutter:
    """Cuts the link when so many bytes of a file were told to be under way."""

    def __init__(self, link: PacketLink, at: int) -> None:
        self._link, self._at, self.cut_s = link, at, 0.0

    def __call__(self, done: int, _size: int) -> None:
        if done >= self._at and not self.cut_s:
            self._link.set(cut=True)
            self.cut_s = time.monotonic()


def cut_in_an_upload(host: RemoteHost, link: PacketLink, place: Path, seed: int) -> dict[str, Any]:
    data = random.Random(seed).randbytes(12 << 20)
    link.set(delay_ms=5, rate_kbit=20_000)
    cutter = Cutter(link, len(data) // 2)
    try:
        host.put(data, str(place), sha256(data), progress=cutter)
    except LinkError as error:
        noticed_s, words = time.monotonic() - cutter.cut_s, error.message
    before = link.set(cut=False)
    report = host.put(data, str(place), sha256(data))
    after = link.set()
    return {
        "noticed_s": noticed_s, "words": words, "size": len(data), "resumed_at": report.resumed_at, "sent": report.sent,
        "carried": after["up"] - before["up"], "right": place.read_bytes() == data,
    }  # fmt: skip


def cut_while_idle(host: RemoteHost, link: PacketLink, place: Path, seed: int) -> dict[str, Any]:
    host.run(["true"])
    cut_s = 0.0

    def cut() -> None:
        nonlocal cut_s
        cut_s = time.monotonic()
        link.set(cut=True)

    threading.Timer(1.0, cut).start()
    try:
        host.run(["sleep", "100"], timeout_s=100)
    except LinkError as error:
        noticed_s, words = time.monotonic() - cut_s, error.message
    link.set(cut=False)
    return {"noticed_s": noticed_s, "words": words, "again": host.run(["echo", "back"]).stdout.decode()}


def cut_at_login(host: RemoteHost, link: PacketLink, place: Path, seed: int) -> dict[str, Any]:
    """At moments between the first packet and the first command."""
    dice = random.Random(seed)
    link.set(delay_ms=40)
    noticed = []
    for _ in range(4):
        host.close()
        cut = threading.Timer(dice.uniform(0.1, 0.6), link.set, kwargs={"cut": True})
        cut.start()
        began_s = time.monotonic()
        try:
            host.run(["sleep", "100"], timeout_s=100)
        except LinkError:
            noticed.append(time.monotonic() - began_s)
        cut.join()
        link.set(cut=False)
    return {"noticed_s": noticed, "again": host.run(["echo", "back"]).stdout.decode()}


def cut_over_a_jump_host(host: RemoteHost, link: PacketLink, place: Path, seed: int) -> dict[str, Any]:
    """The host is behind the one that the link goes to; nobody but the link's own socket can notice."""
    assert isinstance(host, SshHost)
    gate, folder = host.address, place.parent / "inner"
    daemon = int((place.parent / "sshd" / "pid").read_text())

    def beside_the_gate() -> None:
        there = os.open(f"/proc/{daemon}/ns/net", os.O_RDONLY)
        if ctypes.CDLL(None, use_errno=True).setns(there, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "cannot join the gate's network")

    with (
        ssh_server(folder, limits=beside_the_gate, listen="127.0.0.1", port=PORT + 1, wait=False) as inner,
        open_ssh(inner.address(jump=(gate,))) as behind,
    ):
        behind.wait_up(30)
        return cut_in_an_upload(behind, link, place, seed)


@contextmanager
def behind_a_gate(host: RemoteHost, folder: Path) -> Iterator[RemoteHost]:
    """The way to the host over another sshd on this side of the link: what is cut then has no socket of ours."""
    assert isinstance(host, SshHost)
    with (
        ssh_server(folder, listen="127.0.0.1", port=PORT + 1) as gate,
        open_ssh(host.address.model_copy(update={"jump": (gate.address(),)})) as behind,
    ):
        behind.wait_up(30)
        yield behind


def cut_behind_a_jump_host(host: RemoteHost, link: PacketLink, place: Path, seed: int) -> dict[str, Any]:
    with behind_a_gate(host, place.parent / "gate") as behind:
        return {**cut_in_an_upload(behind, link, place, seed), "idle": cut_while_idle(behind, link, place, seed)}


def slow_behind_a_jump_host(host: RemoteHost, link: PacketLink, place: Path, seed: int) -> dict[str, Any]:
    with behind_a_gate(host, place.parent / "gate") as behind:
        return _whole(behind, link, place, seed, 300_000, delay_ms=60, rate_kbit=128, queue_kb=64)


def many_cuts(host: RemoteHost, link: PacketLink, place: Path, seed: int) -> dict[str, Any]:
    dice = random.Random(seed)
    data = dice.randbytes(6 << 20)
    link.set(delay_ms=10, jitter_ms=5, loss=0.005, rate_kbit=20_000)
    reports, cuts, done = [], 0, 0
    for _ in range(12):
        cutter = Cutter(link, done + dice.randrange(len(data) // 3) if cuts < 3 else len(data) * 2)
        try:
            reports.append(host.put(data, str(place), sha256(data), progress=cutter))
            break
        except LinkError:
            cuts += 1
            part = Path(f"{place}.part")
            done = part.stat().st_size if part.exists() else 0
            link.set(cut=False)
    report = reports[0]
    return {
        "cuts": cuts, "size": len(data), "resumed_at": report.resumed_at, "sent": report.sent,
        "right": place.read_bytes() == data,
    }  # fmt: skip


def _whole(host: RemoteHost, link: PacketLink, place: Path, seed: int, size: int, **weather: Any) -> dict[str, Any]:
    data = random.Random(seed).randbytes(size)
    before = link.set(**weather)
    began_s = time.monotonic()
    report = host.put(data, str(place), sha256(data))
    after = link.set()
    return {
        "seconds": time.monotonic() - began_s, "sent": report.sent, "size": size,
        "lost": after["lost_up"] - before["lost_up"], "right": place.read_bytes() == data,
    }  # fmt: skip


def slow(host: RemoteHost, link: PacketLink, place: Path, seed: int) -> dict[str, Any]:
    return _whole(host, link, place, seed, 300_000, delay_ms=60, rate_kbit=256, queue_kb=64)


def lossy(host: RemoteHost, link: PacketLink, place: Path, seed: int) -> dict[str, Any]:
    return _whole(host, link, place, seed, 3 << 20, delay_ms=15, jitter_ms=5, loss=0.03, rate_kbit=50_000)


SCENARIOS: dict[str, Callable[[RemoteHost, PacketLink, Path, int], dict[str, Any]]] = {
    each.__name__: each
    for each in (
        cut_in_an_upload,
        cut_while_idle,
        cut_at_login,
        cut_over_a_jump_host,
        cut_behind_a_jump_host,
        slow_behind_a_jump_host,
        many_cuts,
        slow,
        lossy,
    )
}


def main() -> None:
    scenario, folder, seed = sys.argv[1], Path(sys.argv[2]).resolve(), int(sys.argv[3])
    with network(folder / "sshd", seed) as (server, link), open_ssh(server.address(host=FAR)) as host:
        told = SCENARIOS[scenario](host, link, folder / "x.bin", seed)
    print(json.dumps(told))


if __name__ == "__main__":
    main()
