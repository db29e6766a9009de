# SPDX-License-Identifier: Apache-2.0
"""Upload of an image with several frames in flight; goes back to where the device is when something was lost.

Guards: the device's offset is the only truth: what it has not named is sent again, and an upload that was broken off
goes on where it stopped. A line that damages long frames gets shorter ones.
Leaves to others: whether the right image arrived (the stage compares image hashes).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from smp.image_management import ImageUploadWriteRequest, ImageUploadWriteResponse

from assay.drivers.mcumgr.session import Session, refusal
from assay.errors import LinkError
from assay.interfaces.device import Parameters, Progress, UploadReport
from assay.protocols.smp.answers import No
from assay.protocols.smp.framing import CONSOLE_OVERHEAD, Framing

WINDOW_MAX = 4  # frames in flight: two fill any line (98.5 % of it, measured), four hide a slow host too
CHUNK_MIN = 64  # bytes of image in a frame on a bad line
FAILURES_MAX = 6  # in a row without progress, before the upload is given up
CHUNK_TIMEOUT_S = 1.0  # to program 2 KB and erase a sector
ENDS_TIMEOUT_S = 5.0  # the first frame may erase a slot, the last one checks the image
WHAT = "the upload"


@dataclass(frozen=True)
class _Sent:
    request: ImageUploadWriteRequest
    offset: int
    size: int


class Upload:
    """One upload over a session."""

    def __init__(self, session: Session, parameters: Parameters, data: bytes, file_sha256: bytes) -> None:
        self._session = session
        self._data = data
        self._sha256 = file_sha256
        self._window_max = max(1, min(parameters.buf_count, WINDOW_MAX))
        self._window = 1  # until the device has answered the first frame
        self._room = parameters.buf_size - (CONSOLE_OVERHEAD if session.framing is Framing.CONSOLE else 0)
        self._chunk = self._chunk_size()
        self._flight: deque[_Sent] = deque()
        self._sent_up_to = 0  # offset that the next frame has
        self._highest = 0  # end of the last byte ever sent
        self._failures = 0

    def run(self, progress: Progress | None) -> UploadReport:
        """Send all. Raises DeviceRefusal, DeviceTimeout, LinkError."""
        session, size = self._session, len(self._data)
        begun_s, before = session.monotonic_s(), vars(session.counters).copy()
        resumed_from, done = self._begin()
        while done < size:
            if progress is not None:
                progress(done, size)
            self._fill()
            done = self._advance(done)
        if progress is not None:
            progress(size, size)
        after = session.counters
        return UploadReport(
            size=size,
            resumed_from=resumed_from,
            duration_s=session.monotonic_s() - begun_s,
            frames=after.frames - before["frames"],
            retries=after.retries - before["retries"],
            frames_damaged=after.frames_damaged - before["frames_damaged"],
        )

    def _begin(self) -> tuple[int, int]:
        """The first frame, alone: its answer says where to go on.

        Gives the offset resumed from (0 for a new upload) and how far the device is.
        """
        answered: int | None = None
        while answered is None:
            self._sent_up_to = 0
            self._fill()
            first = self._flight[0].size
            answered = self._wait(ENDS_TIMEOUT_S, 0)
            if answered is None:
                self._failed("its first frame")
        self._window = self._window_max
        self._sent_up_to = answered
        return (0 if answered == first else answered), answered

    def _fill(self) -> None:
        while len(self._flight) < self._window and self._sent_up_to < len(self._data):
            offset = self._sent_up_to
            chunk = self._data[offset : offset + self._chunk]
            request = self._request(offset, chunk)
            self._flight.append(_Sent(request, offset, len(chunk)))
            self._session.send(request)
            self._sent_up_to = offset + len(chunk)
            self._highest = max(self._highest, self._sent_up_to)

    def _advance(self, done: int) -> int:
        """Wait for one answer; gives how far the device is."""
        expected = self._flight[0].offset + self._flight[0].size
        last = self._sent_up_to == len(self._data)
        reached = self._wait(ENDS_TIMEOUT_S if last else CHUNK_TIMEOUT_S, done)
        if reached is None:
            self._go_back(done, "a frame")
            return done
        if reached > done:
            self._failures = 0
            self._window = self._window_max
        if reached < expected:
            self._go_back(self._settle(reached), "a frame")
        self._sent_up_to = max(self._sent_up_to, reached)
        return reached

    def _wait(self, timeout_s: float, done: int) -> int | None:
        """The offset in the next answer, None when none came; frames that it overtakes have left the flight."""
        session = self._session
        frame = session.receive([sent.request for sent in self._flight], session.timeout_s(timeout_s))
        if frame is None:
            return None
        while frame[6] != self._flight.popleft().request.header.sequence:
            pass
        answer = session.read(frame, ImageUploadWriteResponse, WHAT)
        if isinstance(answer, No):
            raise refusal(WHAT, answer)
        return self._checked(answer, done)

    def _checked(self, answer: ImageUploadWriteResponse, done: int) -> int:
        offset = answer.off
        address = self._session.transport.address
        if offset is None or not 0 <= offset <= len(self._data):
            raise LinkError(
                f"the device on {address} names offset {offset} in the upload", remedy="reset it, try again"
            )
        if done and offset > max(self._highest, done):
            raise LinkError(f"the device on {address} has more than was sent: {offset}", remedy="reset it, try again")
        if answer.match is False:
            raise LinkError(
                f"the device on {address} holds other bytes than were sent", remedy="upload again, in console framing"
            )
        return offset

    def _settle(self, reached: int) -> int:
        """A frame was lost; those behind it are answered with the same offset. Gives the last offset heard."""
        while self._flight:
            answered = self._wait(CHUNK_TIMEOUT_S, reached)
            if answered is None:
                break
            reached = max(reached, answered)
        return reached

    def _go_back(self, offset: int, what: str) -> None:
        self._flight.clear()
        self._sent_up_to = offset
        self._window = 1
        self._failed(what)

    def _failed(self, what: str) -> None:
        """One more failure in a row: shorter frames from the second on, the end after some."""
        self._flight.clear()
        self._failures += 1
        self._session.counters.retries += 1
        if self._failures > FAILURES_MAX:
            raise self._session.silence(f"{what} of {WHAT} (offset {self._sent_up_to})", CHUNK_TIMEOUT_S * FAILURES_MAX)
        if self._failures > 1:
            self._chunk = max(self._chunk // 2, CHUNK_MIN)

    def _chunk_size(self) -> int:
        """What fits behind the longest header: that of the first frame, with length and digest."""
        longest = ImageUploadWriteRequest(off=0, data=b"", image=0, len=len(self._data), sha=self._sha256, sequence=0)
        # Two bytes more for the length of `data`, four for an offset that grows.
        return max(CHUNK_MIN, self._room - len(bytes(longest)) - 6)

    def _request(self, offset: int, chunk: bytes) -> ImageUploadWriteRequest:
        sequence = self._session.next_sequence()
        if offset:
            return ImageUploadWriteRequest(off=offset, data=chunk, sequence=sequence)
        return ImageUploadWriteRequest(
            off=0, data=chunk, image=0, len=len(self._data), sha=self._sha256, sequence=sequence
        )
