# SPDX-License-Identifier: Apache-2.0
"""A bad network between two ends, in user space and by a seed: delay, jitter, loss, a rate, and cuts.

`PacketLink` carries IP packets between two network namespaces (TUN), so that both ends have a real TCP that loses real
packets; it is a process of its own, and takes its weather as JSON while it runs. `StreamLink` carries TCP streams where
no namespace can be made: it can be slow, stall and end, but loses nothing.
"""

from __future__ import annotations

import contextlib
import heapq
import json
import os
import random
import select
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

PACKET_MAX = 65536
IDLE_S = 0.5


@dataclass(frozen=True)
class Weather:
    """How one direction is. `rate_kbit` 0 is as fast as it goes; `queue_kb` is what waits at most."""

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    loss: float = 0.0
    rate_kbit: float = 0.0
    queue_kb: int = 256
    cut: bool = False


@dataclass
class Lane:
    """One direction: what goes in, and when it comes out; the clock and the dice come from outside."""

    dice: random.Random
    weather: Weather = Weather()
    carried: int = 0
    lost: int = 0
    _busy_s: float = 0.0
    _queue: list[tuple[float, int, bytes]] = field(default_factory=list)
    _waiting: int = 0
    _count: int = 0

    def put(self, packet: bytes, now_s: float) -> None:
        weather = self.weather
        full = self._waiting + len(packet) > weather.queue_kb * 1024
        if self.dice.random() < weather.loss or weather.cut or full:
            self.lost += 1
            return
        self._busy_s = max(now_s, self._busy_s)
        if weather.rate_kbit:
            self._busy_s += len(packet) * 8 / (weather.rate_kbit * 1000)
        out_s = self._busy_s + (weather.delay_ms + self.dice.uniform(0, weather.jitter_ms)) / 1000
        self._count += 1
        self._waiting += len(packet)
        heapq.heappush(self._queue, (out_s, self._count, packet))

    def due(self, now_s: float) -> Iterator[bytes]:
        while self._queue and self._queue[0][0] <= now_s:
            packet = heapq.heappop(self._queue)[2]
            self._waiting -= len(packet)
            if not self.weather.cut:
                self.carried += len(packet)
                yield packet

    def next_s(self) -> float | None:
        return self._queue[0][0] if self._queue else None


class PacketLink:
    """A process that carries packets between two TUN descriptors."""

    def __init__(self, near: int, far: int, seed: int) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if self.pid == 0:
            self._control.close()
            with contextlib.suppress(KeyboardInterrupt):
                _carry(near, far, theirs, seed)
            os._exit(0)
        theirs.close()

    def set(self, **weather: Any) -> dict[str, int]:
        """Change the weather both ways; gives bytes carried and packets lost so far, up (near to far) and down."""
        self._control.send(json.dumps(weather).encode())
        told: dict[str, int] = json.loads(self._control.recv(PACKET_MAX))
        return told

    def close(self) -> None:
        self._control.close()
        os.waitpid(self.pid, 0)


def _carry(near: int, far: int, control: socket.socket, seed: int) -> None:
    lanes = {near: Lane(random.Random(seed)), far: Lane(random.Random(seed + 1))}
    other = {near: far, far: near}
    for tun in lanes:
        os.set_blocking(tun, False)
    while True:
        now_s = time.monotonic()
        waits = [next_s - now_s for lane in lanes.values() if (next_s := lane.next_s()) is not None]
        ready, _, _ = select.select([near, far, control], [], [], max(0.0, min([IDLE_S, *waits])))
        now_s = time.monotonic()
        if control in ready and not _obey(control, lanes, near, far):
            return
        for tun, lane in lanes.items():
            with contextlib.suppress(BlockingIOError):
                while tun in ready:
                    lane.put(os.read(tun, PACKET_MAX), now_s)
            for packet in lane.due(now_s):
                with contextlib.suppress(OSError):  # its queue is full: lost, as on any link
                    os.write(other[tun], packet)


def _obey(control: socket.socket, lanes: dict[int, Lane], near: int, far: int) -> bool:
    words = control.recv(PACKET_MAX)
    if not words:
        return False
    for lane in lanes.values():
        lane.weather = replace(lane.weather, **json.loads(words))
    up, down = lanes[near], lanes[far]
    told = {"up": up.carried, "down": down.carried, "lost_up": up.lost, "lost_down": down.lost}
    control.send(json.dumps(told).encode())
    return True


class StreamLink:
    """Carries TCP streams to a port of this machine; every stream of it has the same weather."""

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._door.getsockname()[1])
        self.stalled = threading.Event()
        self.carried = 0
        self.rate_kbit = 0.0
        self._open: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def hang_up(self) -> None:
        """End every stream at once, as a host that restarts does."""
        ends, self._open = self._open, []  # who connects anew meanwhile is not meant
        for end in ends:
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                end.shutdown(socket.SHUT_RDWR)
                end.close()

    def close(self) -> None:
        self._door.close()
        self.stalled.clear()
        self.hang_up()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._door.accept()
                near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
                far = socket.create_connection(("127.0.0.1", self._to_port))
                self._open += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 14):
                while self.stalled.is_set():
                    time.sleep(0.05)
                if self.rate_kbit:
                    time.sleep(len(data) * 8 / (self.rate_kbit * 1000))
                sink.sendall(data)
                self.carried += len(data)
            sink.shutdown(socket.SHUT_WR)
