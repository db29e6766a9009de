# SPDX-License-Identifier: Apache-2.0
"""The client's side of GDB's remote protocol, as far as a fault needs it: memory, registers, breakpoints, steps.

It speaks to QEMU's stub over a Unix socket. What an address means is the caller's matter.
"""

from __future__ import annotations

import select
import socket
import time
from pathlib import Path

CHUNK_BYTES = 1024  # of memory in one packet; the stub takes packets of 4096 characters
TRAPPED = "T05"  # how the stub tells a breakpoint; an interruption is T02
ANSWER_S = 20.0  # a stub that is silent for so long is dead


class GdbStubError(RuntimeError):
    """The stub refused a request, or said nothing."""


class GdbStub:
    """One connection. The machine is stopped whenever a method but `resume` returns."""

    def __init__(self, path: Path) -> None:
        self._link = socket.socket(socket.AF_UNIX)
        self._readable = select.poll()
        self._readable.register(self._link, select.POLLIN)
        end = time.monotonic() + ANSWER_S
        while True:
            try:
                self._link.connect(str(path))
                break
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.005)
        self._heard = b""
        self._ask("QStartNoAckMode")
        self._link.sendall(b"+")
        self.ask("?")
        self.ask("qXfer:features:read:target.xml:0,ffb")  # only who has seen it may ask for one register

    def close(self) -> None:
        """Leaves the machine as it is."""
        self._link.close()

    def _send(self, text: str) -> None:
        raw = text.encode("ascii")
        self._link.sendall(b"$" + raw + b"#%02x" % (sum(raw) & 0xFF))

    def _packet(self, timeout_s: float) -> str | None:
        """The next packet, or None after that time."""
        end = time.monotonic() + timeout_s
        while True:
            start = self._heard.find(b"$")
            stop = self._heard.find(b"#", start)
            if start >= 0 and 0 <= stop <= len(self._heard) - 3:
                text = self._heard[start + 1 : stop].decode("ascii")
                self._heard = self._heard[stop + 3 :]
                return text
            if not self._readable.poll(max(0.0, end - time.monotonic()) * 1000.0):
                return None
            heard = self._link.recv(65536)
            if not heard:
                raise GdbStubError("the stub is gone")
            self._heard += heard

    def _ask(self, text: str) -> str:
        self._send(text)
        answer = self._packet(ANSWER_S)
        if answer is None:
            raise GdbStubError(f"no answer to {text[:40]}")
        return answer

    def ask(self, text: str) -> str:
        """One request and its answer."""
        answer = self._ask(text)
        if answer.startswith("E") or not answer:
            raise GdbStubError(f"{text[:40]}: {answer}")
        return answer

    def ask_all(self, texts: list[str]) -> None:
        """Requests that answer OK, sent together. None of them may start the machine."""
        for text in texts:
            self._send(text)
        for text in texts:
            if self._packet(ANSWER_S) != "OK":
                raise GdbStubError(f"{text[:40]} was refused")

    def read(self, address: int, length: int) -> bytes:
        """Memory."""
        parts = [
            self.ask(f"m{address + done:x},{min(CHUNK_BYTES, length - done):x}")
            for done in range(0, length, CHUNK_BYTES)
        ]
        return bytes.fromhex("".join(parts))

    def write(self, address: int, data: bytes) -> None:
        """Memory, code too: what was translated of it is translated anew."""
        parts = [(address + at, data[at : at + CHUNK_BYTES]) for at in range(0, len(data), CHUNK_BYTES)]
        self.ask_all([f"M{at:x},{len(part):x}:{part.hex()}" for at, part in parts])

    def register(self, number: int) -> int:
        """A 32-bit register."""
        return int.from_bytes(bytes.fromhex(self.ask(f"p{number:x}")), "little")

    def set_some(self, values: dict[int, int]) -> None:
        """32-bit registers."""
        self.ask_all([f"P{number:x}={value.to_bytes(4, 'little').hex()}" for number, value in values.items()])

    def registers(self) -> str:
        """All of them, as the stub writes them; for `set_registers`."""
        return self.ask("g")

    def set_registers(self, values: str) -> None:
        """All of them."""
        self.ask(f"G{values}")

    def change_breakpoints(self, gone: set[int], new: set[int]) -> None:
        """Takes away those that are `gone`, sets those that are `new`."""
        self.ask_all([*(f"z1,{address:x},2" for address in gone), *(f"Z1,{address:x},2" for address in new)])

    def step(self) -> None:
        """One instruction; interrupts wait."""
        self.ask("s")

    def resume(self, timeout_s: float) -> bool:
        """Runs until a breakpoint, or that long: then it is stopped where it is, and the answer is False."""
        self._send("c")
        if self._packet(timeout_s) is not None:
            return True
        self._link.sendall(b"\x03")
        answer = self._packet(ANSWER_S)
        if answer is None:
            raise GdbStubError("the machine does not stop")
        return answer.startswith(TRAPPED)  # it may have come to one in the last moment
