# SPDX-License-Identifier: Apache-2.0
"""A device on a link, both made up, with a clock that only moves when somebody waits.

It answers SMP as the device contract says, so that the driver can be led into every corner in no time. What real
firmware does is tested on the twins (tests/system).
"""

from __future__ import annotations

import hashlib
import random
import zlib
from collections.abc import Callable
from typing import Any

import cbor2

from assay.drivers.mcumgr.device import McumgrDevice
from assay.drivers.mcumgr.session import Session
from assay.protocols.smp.framing import Damage, Demultiplexer, Framing, Line, encode

CHIP = bytes(range(16))
Mangle = Callable[[bytes], bytes]


class PseudoLink:
    """A transport whose other end is a function: bytes in, bytes out. Silence costs no time but the clock's."""

    address = "pseudo"

    def __init__(self, answer: Callable[[bytes], bytes]) -> None:
        self.answer = answer
        self.received = bytearray()
        self.now_s = 0.0
        self.to_device: Mangle = bytes
        self.to_host: Mangle = bytes
        self.closed = False

    def read(self, max_bytes: int, timeout_s: float) -> bytes:
        if not self.received:
            self.now_s += max(timeout_s, 1e-6)
        data = bytes(self.received[:max_bytes])
        del self.received[:max_bytes]
        return data

    def write(self, data: bytes) -> None:
        self.received += self.to_host(self.answer(self.to_device(data)))

    def drop_input(self) -> None:
        self.received.clear()

    def close(self) -> None:
        self.closed = True


class PseudoDevice:
    """What answers SMP. Tests change its fields; `refuse` maps (group, command) to an answer that says no."""

    def __init__(self, framing: Framing = Framing.CONSOLE, *, buf_size: int = 512, buf_count: int = 4) -> None:
        self.framing = framing
        self.understands = {framing}
        self.checks = True  # the checksum of upload frames
        self.says_match = False
        self.takes_multiples_of = 1  # bytes of an upload frame that it takes, but for the last
        self.link = PseudoLink(self._feed)
        self.parameters: dict[str, Any] = {"buf_size": buf_size, "buf_count": buf_count}
        self.refuse: dict[tuple[int, int], dict[str, Any]] = {}
        self.stage = "app"
        self.console = b""  # text that comes before the next answer
        self.flash = bytearray()
        self.upload_size = 0
        self.upload_sha = b""
        self.boots = 1
        self.uptime_ms = 5
        self.resets = 0
        self.requests: list[tuple[int, int, dict[str, Any]]] = []
        self.longest = 0
        self.notes = [{"seq": n, "kind": 1 + n % 7, "code": n, "hash": bytes(8), "reason": "r"} for n in range(5)]
        self._demultiplexer = Demultiplexer(Framing.CONSOLE)

    def open(self) -> McumgrDevice:
        """The driver on this device."""
        link = self.link

        def sleep(seconds: float) -> None:
            link.now_s += seconds

        return McumgrDevice(Session(link, self.framing, monotonic_s=lambda: link.now_s, sleep=sleep))

    def open_auto(self) -> McumgrDevice:
        """The driver that may send uploads in raw framing."""
        device = self.open()
        device._raw_uploads = True
        return device

    def _feed(self, data: bytes) -> bytes:
        framing = Framing.RAW if data[:1] in (b"\x08", b"\x0a") else Framing.CONSOLE
        if data and framing not in self.understands:
            return b""
        self.framing = framing
        if framing is Framing.RAW:
            whole = len(data) >= 8 and len(data) == 8 + int.from_bytes(data[2:4], "big")
            return self._answer(data) if whole else b""
        answers = b""
        for event in self._demultiplexer.feed(data):
            if not isinstance(event, Line | Damage):
                answers += self._answer(event.data)
        return answers

    def _answer(self, frame: bytes) -> bytes:
        operation, group, sequence, command = frame[0], int.from_bytes(frame[4:6], "big"), frame[6], frame[7]
        self.longest = max(self.longest, len(frame))
        try:
            content = cbor2.loads(frame[8:])
        except (ValueError, cbor2.CBORError):
            content = {}
        self.requests.append((group, command, content))
        said = self.refuse.get((group, command))
        body = cbor2.dumps(self._do(operation & 7, group, command, content) if said is None else said)
        header = bytes([operation + 1, 0]) + len(body).to_bytes(2, "big") + frame[4:6] + bytes([sequence, command])
        text, self.console = self.console, b""
        return text + encode(header + body, self.framing)

    def _do(self, operation: int, group: int, command: int, content: dict[str, Any]) -> dict[str, Any]:
        if (group, command) == (1, 1):
            return self._upload(content)
        if (group, command) == (0, 5):
            self.resets += 1
            self.boots += 1
        answers: dict[tuple[int, int, int], dict[str, Any]] = {
            (2, 0, 0): {"r": content.get("d")},
            (2, 0, 5): {},
            (0, 0, 6): self.parameters,
            (0, 1, 0): {"images": [{"slot": 0, "version": "1.0.0", "hash": bytes(32), "active": True}]},
            (2, 1, 0): {"images": []},
            (2, 1, 5): {},
            (0, 0x4153, 0): {
                "proto": 1, "stage": self.stage, "board": "b", "rev": 1, "chip": CHIP, "name": "n",
                "version": "1.2.3", "new-in-2030": [1, {}],
            },
            (2, 0x4153, 1): {"pubkey": bytes(32), "pop": bytes(64), "chip": CHIP},
            (2, 0x4153, 2): {},
            (0, 0x4153, 2): {"serial": "S1", "cert": b"der"},
            (0, 0x4153, 3): {"slot": content.get("slot"), "hash": b"h" * 32, "size": 9, "how": "recomputed"},
            (2, 0x4153, 4): {"evidence": b"cose"},
            (0, 0x4153, 5): {"state": "fail", "code": 3, "reason": "ram"},
            (0, 0x4153, 6): self._notes(content.get("from", 0)),
            (0, 0x4153, 7): {"uptime_ms": self.uptime_ms, "boots": self.boots, "stack_free": 1, "frames_bad": 0},
        }  # fmt: skip
        return answers.get((operation, group, command), {"rc": 8})

    def _notes(self, start: int) -> dict[str, Any]:
        rows = [note for note in self.notes if note["seq"] >= start][:2]
        return {"notes": rows, "next": (rows[-1]["seq"] + 1) if rows else start}

    def _upload(self, content: dict[str, Any]) -> dict[str, Any]:
        if (
            not isinstance(content, dict)
            or not isinstance(content.get("off"), int)
            or not isinstance(content.get("data"), bytes)
        ):
            return {"err": {"group": 0x4153, "rc": 2}}
        crc = zlib.crc32(content["data"], zlib.crc32(content["off"].to_bytes(8, "little")[:4]))
        if self.checks and content.get("crc", crc) != crc:
            return {"off": len(self.flash)}
        if content["off"] == 0 and "sha" in content and content["sha"] != self.upload_sha:
            self.flash, self.upload_size, self.upload_sha = bytearray(), content["len"], content["sha"]
        if content["off"] == len(self.flash):
            data = content["data"]
            last = len(self.flash) + len(data) == self.upload_size
            self.flash += data if last else data[: len(data) // self.takes_multiples_of * self.takes_multiples_of]
        if len(self.flash) < self.upload_size or not self.says_match:
            return {"off": len(self.flash)}
        if hashlib.sha256(self.flash).digest() != self.upload_sha:
            self.upload_sha = b""
            return {"off": self.upload_size, "match": False}
        return {"off": len(self.flash), "match": True}


def lossy(seed: int, rate: float) -> Mangle:
    """A line that loses, flips and doubles bytes, each with probability `rate`, always in the same way for one seed."""
    dice = random.Random(seed)

    def mangle(data: bytes) -> bytes:
        out = bytearray()
        for byte in data:
            fate = dice.random()
            if fate < rate:
                continue
            out.append(byte ^ (1 << dice.randrange(8)) if fate < 2 * rate else byte)
            if 2 * rate <= fate < 3 * rate:
                out.append(byte)
        return bytes(out)

    return mangle


def sample_image(size: int, seed: int = 1) -> tuple[bytes, bytes]:
    """Bytes to upload, and their SHA-256."""
    data = random.Random(seed).randbytes(size)
    return data, hashlib.sha256(data).digest()
