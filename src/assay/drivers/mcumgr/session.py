# SPDX-License-Identifier: Apache-2.0
"""Requests and answers on one link: sequence numbers, time-outs, trying again, and the console lines in between.

Guards: an answer is only taken for the request that it belongs to; a refused or timed-out request leaves the session
usable; silence, noise and "no" become three different errors.
Leaves to others: which requests there are (`device`), and uploads with several frames in flight (`upload`).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel
from smp.message import Request

from assay.errors import DeviceTimeout, LinkError
from assay.interfaces.device import DeviceRefusal
from assay.interfaces.transport import MendingTransport, Transport
from assay.protocols.smp.answers import MalformedAnswer, No, answer_header, answers, read_answer
from assay.protocols.smp.framing import Damage, Demultiplexer, Frame, Framing, Line, encode, of_version

T = TypeVar("T", bound=BaseModel)

ANSWER_TIMEOUT_S = 2.0  # the slowest quick answer, a hash over a slot, takes 50 ms
TRIES = 3  # of a request that may be repeated
BUSY_PAUSE_S = 0.1  # before a busy device is asked again
READ_MAX = 65536  # bytes in one go
LINES_MAX = 2000  # console lines kept until somebody takes them; older ones go
LAST_LINES = 3  # console lines quoted in an error
NOISE_BYTES_MIN = 16  # fewer strange bytes than this are the end of something that was cut off
QUOTED_BYTES_MAX = 60
STRANGE_SHARE = 10  # of a line for people at most one character in so many is none
BITS_PER_BYTE = 10
FRAME_BYTES_MAX = 8400  # on the line: 6144 bytes in console framing
QUIET_S = 0.02  # a line is quiet when nothing came for this long: 230 bytes at 115200 bit/s
QUIET_TIMEOUT_S = 1.0


class Noise(LinkError):
    """What came is neither SMP nor text."""


@dataclass
class Counters:
    """What went wrong and was put right, since the session began."""

    frames: int = 0
    retries: int = 0
    frames_damaged: int = 0


class Session:
    """SMP on a transport. `baud` (bit/s) only stretches the time-outs; `version` is SMP's: 1 for old servers.

    `patience` stretches the time that a device has to answer, for one that does more before it does. Of a link that is
    `mending` itself, what was asked before it broke is not waited for any longer.
    """

    def __init__(
        self,
        transport: Transport,
        framing: Framing = Framing.CONSOLE,
        *,
        baud: int = 115200,
        version: int = 2,
        patience: float = 1.0,
        mending: MendingTransport | None = None,
        monotonic_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.transport = transport
        self.framing = framing
        self.counters = Counters()
        self.monotonic_s = monotonic_s
        self.sleep = sleep
        self._byte_s = BITS_PER_BYTE / baud
        self._version = version
        self._patience = patience
        self._mending = mending
        self._asked_after = 0  # breaks
        self._demultiplexer = Demultiplexer(framing)
        self._frames: deque[bytes] = deque()
        self._lines: deque[str] = deque(maxlen=LINES_MAX)
        self._sequence = 0
        self._strange = b""  # what came since the last good frame and is neither frame nor text

    @property
    def tells_losses(self) -> bool:
        """What is sent arrives, unless the link breaks."""
        return self._mending is not None

    def next_sequence(self) -> int:
        """A sequence number (0 to 255) that no request of the last 255 has had."""
        self._sequence = (self._sequence + 1) & 0xFF
        return self._sequence

    def line_s(self, size: int) -> float:
        """How long the line needs for `size` bytes."""
        return size * self._byte_s

    def timeout_s(self, base_s: float) -> float:
        """`base_s` for the device, and what the line needs for the longest frame, or for two halves of it."""
        return base_s * self._patience + self.line_s(FRAME_BYTES_MAX)

    def request(
        self,
        ask: Callable[[int], Request],
        kind: type[T],
        what: str,
        *,
        timeout_s: float = ANSWER_TIMEOUT_S,
        tries: int = TRIES,
    ) -> T:
        """Send what `ask` makes of a sequence number, and wait for its answer.

        `what` names the request in errors. A request that may not be done twice has `tries` 1. Raises DeviceRefusal,
        DeviceTimeout, LinkError.
        """
        deadline_s = self.monotonic_s() + self.timeout_s(timeout_s) * tries
        for attempt in range(tries):
            message = ask(self.next_sequence())
            self.send(message)
            frame = self.receive([message], self._wait_s(self.timeout_s(timeout_s), deadline_s))
            last = attempt + 1 == tries
            if frame is not None:
                answer = self.read(frame, kind, what)
                if not isinstance(answer, No):
                    return answer
                if answer.word != "busy" or last:
                    raise refusal(what, answer)
                self.sleep(BUSY_PAUSE_S)
            if not last:
                self.counters.retries += 1
        raise self.silence(what, self.timeout_s(timeout_s) * tries)

    def send(self, message: Request) -> int:
        """Put a request on the line; gives how many bytes that was. Raises LinkError."""
        encoded = encode(of_version(bytes(message), self._version), self.framing)
        self._asked_after = self._breaks()
        self.transport.write(encoded)
        self.counters.frames += 1
        return len(encoded)

    def switch(self, framing: Framing) -> None:
        """Speak in another framing from now on."""
        if framing is not self.framing:
            self._take(self._demultiplexer.give_up())
            self.framing, self._demultiplexer = framing, Demultiplexer(framing)

    def end_line(self) -> None:
        """For a device that took what was sent for a line: end it, so that a frame can begin."""
        self.transport.write(b"\n")

    def receive(self, asked: list[Request], timeout_s: float) -> bytes | None:
        """The next frame that answers one of `asked`; None after `timeout_s` without one, or when the link broke. Other
        frames are dropped.
        """
        self._demultiplexer.expect({answer_header(message) for message in asked})
        deadline_s = self.monotonic_s() + timeout_s
        while True:
            while self._frames:
                frame = self._frames.popleft()
                if any(answers(frame, message) for message in asked):
                    self._strange = b""
                    return frame
            rest_s = deadline_s - self.monotonic_s()
            if rest_s <= 0 or self._breaks() != self._asked_after:
                self._take(self._demultiplexer.give_up())
                return None
            self.pump(rest_s)

    def read(self, frame: bytes, kind: type[T], what: str) -> T | No:
        """What a frame says. Raises LinkError when it is no answer to `what`."""
        try:
            return read_answer(frame, kind)
        except MalformedAnswer as error:
            raise LinkError(
                f"the answer to {what} on {self.transport.address} is {error}",
                remedy="check that the port is of a board that speaks this protocol",
            ) from error

    def pump(self, timeout_s: float) -> bool:
        """Take in what comes within `timeout_s`; False when nothing came."""
        data = self.transport.read(READ_MAX, max(0.0, timeout_s))
        if data:
            self._take(self._demultiplexer.feed(data))
            self._note_strange(data)
        return bool(data)

    def take_lines(self) -> list[str]:
        """Console lines that came and were not taken, oldest first."""
        lines = list(self._lines)
        self._lines.clear()
        return lines

    def put_back(self, lines: list[str]) -> None:
        """Lines that were taken and are not wanted yet."""
        self._lines.extendleft(reversed(lines))

    def drop_input(self) -> None:
        """Forget all that was received, also what is still on its way."""
        deadline_s = self.monotonic_s() + QUIET_TIMEOUT_S
        self.transport.drop_input()
        while self.transport.read(READ_MAX, QUIET_S) and self.monotonic_s() < deadline_s:
            pass
        self._demultiplexer.clear()
        self._frames.clear()
        self._lines.clear()
        self._strange = b""

    def silence(self, what: str, waited_s: float) -> LinkError:
        """The error for an answer that did not come: a link that is away, or noise if noise came, else DeviceTimeout
        with the last lines.
        """
        address = self.transport.address
        if self._mending is not None and self._mending.away:
            return DeviceTimeout(  # as for any silence: whoever waits for a restart goes on waiting
                f"the link to {address} broke in {what}, and was not back after {waited_s:.1f} s: {self._mending.away}",
                remedy="look at cable, network and power of the unit; the same command then goes on where it was",
            )
        if len(self._strange) >= NOISE_BYTES_MIN:
            return Noise(
                f"noise on {address}: instead of an answer to {what} came {self._strange[:QUOTED_BYTES_MAX]!r}",
                remedy="check baud rate, ground and cable, and that this is the port of the board",
            )
        lines = [line for line in self._lines if _is_text(line)][-LAST_LINES:]
        came = f"; the last lines were {lines}" if lines else "; nothing came"
        return DeviceTimeout(
            f"the device on {address} did not answer {what} within {waited_s:.1f} s{came}",
            remedy="check its power and that this is its port, then do it again",
        )

    def _wait_s(self, once_s: float, deadline_s: float) -> float:
        """For an answer to what has just been sent: on a link that stands and tells its losses it arrived, and asking
        again would only make a busy device do it twice.
        """
        arrived = self._mending is not None and not self._mending.away
        return max(once_s, deadline_s - self.monotonic_s()) if arrived else once_s

    def _breaks(self) -> int:
        return 0 if self._mending is None else self._mending.breaks

    def _take(self, events: list[Frame | Line | Damage]) -> None:
        for event in events:
            if isinstance(event, Frame):
                self._frames.append(event.data)
            elif isinstance(event, Line):
                self._lines.append(event.text)
            else:
                self.counters.frames_damaged += 1

    def _note_strange(self, data: bytes) -> None:
        if self.framing is Framing.CONSOLE:
            strange = bytes(byte for byte in data if byte > 0x7E or (byte < 0x20 and byte not in _EXPECTED_CONTROLS))
            self._strange = (self._strange + strange)[:READ_MAX]


def _is_text(line: str) -> bool:
    """Late answers and noise come as lines, too, and tell nobody anything."""
    strange = sum(not char.isprintable() for char in line) + line.count("\\x")
    return strange * STRANGE_SHARE <= len(line)


_EXPECTED_CONTROLS = b"\x04\x06\x08\t\x14\n\x0b\x0c\r\x1b"
"""Frame delimiters, line ends, and what terminals use."""


def refusal(what: str, answer: No) -> DeviceRefusal:
    """A `no` as an error."""
    return DeviceRefusal(
        what, group=answer.group, rc=answer.rc, word=answer.word, remedy=_REMEDIES.get(answer.word, "")
    )


_REMEDIES = {
    "unknown": "the device does not say why: see what its console says, reset it, and try again",
    "bad-request": "the device does not understand the request: update its firmware, or this tool",
    "not-supported": "this firmware does not know the request: update it",
    "not-here": "the other stage of the firmware (bootloader or app) answers this",
    "no-entropy": "the board's entropy source gives nothing: check it, a key cannot be made without",
    "no-key": "the unit has no identity yet: provision it",
    "already-provisioned": "the unit has an identity; it is never replaced",
    "no-image": "there is no image in that slot: upload one",
    "board-mismatch": "the image is made for another board",
    "revision": "the image needs a later revision of the board",
    "bad-signature": "the image is not signed by the key that this bootloader accepts",
    "bad-hash": "the image is damaged: upload it again",
    "bad-header": "the file is no image for this bootloader",
    "downgrade": "the image's security counter is lower than the device's",
    "too-large": "the data does not fit into the device",
    "wrong-base": "the patch is made for another image than the one that runs: send the whole image",
    "not-bootable": "a patch came where an image is needed: send the whole image",
    "bad-patch": "the patch cannot be decoded: send the whole image",
    "wrong-length": "the file is not exactly one image: sign it without --pad, and upload it whole",
    "unknown-tlv": "the image bears a signed entry that this firmware does not know: update the bootloader first",
    "lying-trailer": "the image brings a trailer of its own: sign it without --pad and --confirm",
    "dependency": "the image needs another image, or a later version of it: update both together",
    "group-incomplete": "another image waits beside this one: ask for both, or erase the other one",
    "no-free-slot": "confirm what runs, or erase what waits: the other slot is still needed",
    "image-already-pending": "reset the device: an image waits for that",
    "current-version-is-newer": "sign it with a higher version: this firmware takes no older one",
    "invalid-image-header-magic": "give the signed image, as imgtool writes it",
    "invalid-image-header": "give the signed image, as imgtool writes it",
    "invalid-image-vector-table": "the image is linked for another slot: give the one for the free slot",
    "invalid-flash-address": "the image is linked for another slot: give the one for the free slot",
    "invalid-image-too-large": "the image does not fit into the slot",
    "image-confirmation-denied": "this firmware confirms only what runs",
    "image-setting-test-to-active-denied": "it runs already",
    "no-memory": "the device has no buffer left: set smp.buffers in the board TOML to less",
    "flash-erase-failed": "the device's flash failed: the unit may be broken",
    "flash-write-failed": "the device's flash failed: the unit may be broken",
    "access-denied": "this firmware allows that to nobody, or not now: see how it was configured",
    "too-old": "the server asks for SMP version 2: smp.version in the board TOML",
    "too-new": "the server knows SMP version 1 only: smp.version in the board TOML",
    "busy": "the device is busy: try again",
    "flash": "the device's flash failed: the unit may be broken",
}
