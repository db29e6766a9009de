# SPDX-License-Identifier: Apache-2.0
"""Somebody else's board, made up: what Zephyr's image and OS groups and MCUboot's serial recovery answer, per mode.

A mock of what cannot be had here: real Zephyr and MCUboot in QEMU are in tests/system (swap and RAM-load, console and
raw framing, recovery); overwrite-only, direct-XIP, several images, old servers and broken ones are only here. Modelled
after the public behaviour of Zephyr's `img_mgmt` and `os_mgmt` and MCUboot's `boot_serial`; `smpclient` is led
against it too (`test_foreign_peer`). Its clock only moves when somebody waits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import cbor2

from assay.formats.foreign_image import parse_foreign_image
from assay.protocols.smp.framing import Demultiplexer, Frame, Framing, encode

ERRORS = {"not-supported": (8, None), "no-flash": (2, 20), "bad-state": (6, 33)}
"""Number of SMP version 1, and of group 1 in version 2 (None: SMP's own in both)."""


@dataclass
class Slot:
    """What lies in a slot."""

    data: bytes
    pending: bool = False
    confirmed: bool = False

    @property
    def version(self) -> str:
        return parse_foreign_image(self.data).version

    @property
    def order(self) -> tuple[int, ...]:
        return tuple(map(int, self.version.partition("+")[0].split(".")))

    @property
    def image_hash(self) -> bytes:
        return parse_foreign_image(self.data).image_hash


@dataclass
class PseudoBoard:
    """A board that runs `slots[image, 0]`; tests change its fields."""

    mode: str
    slots: dict[tuple[int, int], Slot]
    revert: bool = False
    framing: Framing = Framing.CONSOLE
    errors: int = 2
    tells: tuple[int, int] | None = (512, 4)
    info: str | None = "Zephyr their_board"
    told_mode: int | None = None
    echoes: bool = True
    hashes_in_recovery: bool = True
    has_recovery: bool = True
    erase_s: float = 0.0
    boot_s: float = 0.6
    signature_is_good: Callable[[bytes], bool] = lambda _data: True
    comes_up: Callable[[bytes], bool] = lambda _data: True
    log_between: bool = False
    restarts_for_ever: bool = False
    floods: bool = False
    drops_reset: bool = False
    newer_than_smp: bool = True
    hidden: frozenset[int] = frozenset()
    now_s: float = 0.0
    in_recovery: bool = False
    asked: list[str] = field(default_factory=list)
    versions: set[int] = field(default_factory=set)
    longest: int = 0

    def __post_init__(self) -> None:
        self._demultiplexer = Demultiplexer(Framing.CONSOLE)
        self._out: list[tuple[float, bytes]] = []
        self._up_at_s = self._busy_until_s = 0.0
        self._upload: tuple[bytes, bytearray, int, int] | None = None
        images = {image for image, _ in self.slots}
        self.active = dict.fromkeys(images, 0)
        for slot in self.slots.values():
            slot.confirmed = True

    # ---- the line

    def take(self, data: bytes) -> None:
        """Bytes from the host."""
        if self.now_s < self._up_at_s or self.restarts_for_ever:
            return
        if self.framing is Framing.CONSOLE:
            for event in self._demultiplexer.feed(data):
                if isinstance(event, Frame):
                    self._frame(event.data)
        elif len(data) >= 8:
            self._frame(data)

    def give(self) -> bytes:
        """What has been sent by now."""
        if self.floods:
            return b"log: the same thing again and again\n" * 400
        if self.restarts_for_ever and self._out == [] and self.asked and "reset" in self.asked:
            self._say("*** Booting MCUboot v2.1.0 ***", 0.4)
        ready = b"".join(data for at_s, data in self._out if at_s <= self.now_s)
        self._out = [(at_s, data) for at_s, data in self._out if at_s > self.now_s]
        return ready

    def next_s(self) -> float | None:
        """When there is something to give."""
        return min((at_s for at_s, _ in self._out), default=None)

    def _say(self, line: str, in_s: float = 0.0) -> None:
        if self.framing is Framing.CONSOLE:
            self._out.append((self.now_s + in_s, line.encode() + b"\r\n"))

    def _frame(self, frame: bytes) -> None:
        self.longest = max(self.longest, len(frame))
        self.versions.add((frame[0] >> 3 & 3) + 1)
        group, command, op = int.from_bytes(frame[4:6], "big"), frame[7], frame[0] & 7
        before_s = self.now_s
        answer, takes_s = self._answer(group, command, op, cbor2.loads(frame[8:]))
        body = cbor2.dumps(answer)
        head = bytes([frame[0] + 1, 0]) + len(body).to_bytes(2, "big") + frame[4:8]
        sent = encode(head + body, self.framing)
        if self.log_between and self.framing is Framing.CONSOLE:
            lines = sent.splitlines(keepends=True)
            sent = b"[00:01] <inf> log: before\r\n" + b"[00:02] <wrn> log: between\r\n".join(lines)
        if command == 5 and group == 0 and self.drops_reset:
            return
        self._busy_until_s = max(self._busy_until_s, before_s) + takes_s
        self._out.append((self._busy_until_s, sent))

    # ---- the groups

    def _answer(self, group: int, command: int, op: int, asked: dict[str, Any]) -> tuple[dict[str, Any], float]:
        app = not self.in_recovery
        if (group, command) == (1, 0):
            return (self._set_state(asked) if op == 2 else self._state()), 0.0
        if (group, command) == (1, 1):
            return self._take_upload(asked)
        if (group, command) == (0, 5):
            return self._reset(asked), 0.0
        if (group, command) == (0, 6) and self.tells is not None:
            return {"buf_size": self.tells[0], "buf_count": self.tells[1]}, 0.0
        if (group, command) == (0, 0) and app and self.echoes:
            return {"r": asked["d"]}, 0.0
        if (group, command) == (0, 7) and app and self.info is not None:
            return {"output": self.info}, 0.0
        if (group, command) == (0, 8) and app and self.told_mode is not None:
            return {"mode": self.told_mode}, 0.0
        return self._no("not-supported"), 0.0

    def _no(self, word: str) -> dict[str, Any]:
        plain, grouped = ERRORS[word]
        if self.errors == 1 or grouped is None or self.in_recovery:
            return {"rc": plain}
        return {"err": {"group": 1, "rc": grouped}}

    def _state(self) -> dict[str, Any]:
        rows = []
        for (image, number), slot in sorted(self.slots.items()):
            row: dict[str, Any] = {"slot": number, "version": slot.version}
            if len(self.active) > 1:
                row["image"] = image
            if not self.in_recovery or self.hashes_in_recovery:
                row["hash"] = slot.image_hash
            if not self.in_recovery:
                active = self.active[image] == number and image not in self.hidden
                flags = {"bootable": True, "pending": slot.pending, "confirmed": slot.confirmed, "active": active}
                row |= {key: value for key, value in flags.items() if value}
                row |= {"compressed": False} if self.newer_than_smp else {}
            rows.append(row)
        return {"images": rows, "splitStatus": 0}

    def _set_state(self, asked: dict[str, Any]) -> dict[str, Any]:
        self.asked.append("confirm" if asked.get("confirm") else "mark")
        if self.mode in ("direct-xip", "ram-load") and not self.revert:
            return self._no("not-supported")
        for (image, number), slot in self.slots.items():
            if slot.image_hash == asked.get("hash"):
                if asked.get("confirm") and self.active[image] == number:
                    slot.confirmed = True
                else:
                    slot.pending = True
                return self._state()
        return self._no("bad-state")

    def _take_upload(self, asked: dict[str, Any]) -> tuple[dict[str, Any], float]:
        if asked["off"] == 0 and (self._upload is None or self._upload[0] != asked.get("sha") or self.in_recovery):
            image = asked.get("image", 0)
            if image not in self.active:
                return self._no("bad-state"), 0.0
            slot = 0 if self.in_recovery else 1 - self.active[image]
            self.asked.append(f"upload {image} to {slot}")
            self._upload = (asked.get("sha", b""), bytearray(asked["data"]), asked["len"], (image << 8) + slot)
            return {"rc": 0, "off": len(asked["data"])}, self.erase_s
        if self._upload is None:
            return self._no("bad-state"), 0.0
        _, data, length, where = self._upload
        if asked["off"] == len(data):
            data += asked["data"]
        if len(data) == length:
            self.slots[where >> 8, where & 0xFF] = Slot(bytes(data))
            self._upload = None
            return {"rc": 0, "off": length, "match": hashlib.sha256(data).digest() is not None}, 0.0
        return {"rc": 0, "off": len(data)}, 0.0

    # ---- the bootloader

    def _reset(self, asked: dict[str, Any]) -> dict[str, Any]:
        self.asked.append("reset into recovery" if asked.get("boot_mode") else "reset")
        self._upload = None
        self._up_at_s = self.now_s + self.boot_s
        self.in_recovery = self.has_recovery and bool(asked.get("boot_mode"))
        self._say("*** Booting MCUboot v2.1.0 ***", 0.1)
        if not self.in_recovery:
            for image in self.active:
                self._boot(image)
            tested = [image for image, at in self.active.items() if not self.comes_up(self.slots[image, at].data)]
            for image in tested:  # its watchdog resets it
                self._boot(image)
        return {}

    def _boot(self, image: int) -> None:
        first, second = self.slots.get((image, 0)), self.slots.get((image, 1))
        if self.mode == "swap" or self.mode == "overwrite-only":
            if second is not None and second.pending and self.signature_is_good(second.data):
                self.slots[image, 0] = Slot(second.data)
                del self.slots[image, 1]
                if self.mode == "swap" and first is not None:
                    self.slots[image, 1] = Slot(first.data, confirmed=True)
            elif self.mode == "swap" and second is not None and first is not None and not first.confirmed:
                self.slots[image, 0], self.slots[image, 1] = Slot(second.data, confirmed=True), Slot(first.data)
            elif second is not None:
                second.pending = False
            return
        good = {at: slot for (of, at), slot in self.slots.items() if of == image and self.signature_is_good(slot.data)}
        if self.revert:
            good = {at: slot for at, slot in good.items() if slot.pending or slot.confirmed}
        self.active[image] = max(good, key=lambda at: (good[at].order, -at))
        good[self.active[image]].pending = False
        if not self.revert:
            good[self.active[image]].confirmed = True


class BoardLink:
    """A transport to a pseudo board; waiting moves the clock."""

    address = "pseudo"

    def __init__(self, board: PseudoBoard) -> None:
        self.board = board

    def read(self, max_bytes: int, timeout_s: float) -> bytes:
        data = self.board.give()
        if not data:
            ready_s = self.board.next_s()
            until_s = self.board.now_s + max(timeout_s, 1e-6)
            self.board.now_s = min(until_s, max(ready_s, self.board.now_s + 1e-6)) if ready_s is not None else until_s
            data = self.board.give()
        elif self.board.floods:
            self.board.now_s += 0.01
        return data

    def write(self, data: bytes) -> None:
        self.board.take(data)

    def drop_input(self) -> None:
        self.board.give()

    def close(self) -> None:
        pass


class BoardClock:
    """The board's clock, for whoever waits beside the link."""

    def __init__(self, board: PseudoBoard) -> None:
        self.board = board

    def monotonic_s(self) -> float:
        return self.board.now_s

    def sleep(self, seconds: float) -> None:
        self.board.now_s += seconds
