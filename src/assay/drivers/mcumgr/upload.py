# SPDX-License-Identifier: Apache-2.0
"""Upload of an image with several frames in flight; goes back to where the device is when something was lost.

Guards: the device's offset is the only truth: what it has not named is sent again, and an upload that was broken off
goes on where it stopped. In raw framing, where nothing protects what comes back, neither a refusal nor an offset is
believed at once, and a line that damages frames beyond that is left for console framing.
Leaves to others: how fast (`upload_pace`); whether the right image arrived (the stage compares image hashes).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from smp.image_management import ImageUploadWriteRequest, ImageUploadWriteResponse

from assay.drivers.mcumgr.session import Session, refusal
from assay.drivers.mcumgr.upload_pace import Pace
from assay.errors import LinkError
from assay.interfaces.device import DeviceRefusal, Parameters, Progress, UploadReport
from assay.interfaces.lasting_upload import FORGOTTEN
from assay.protocols.smp.answers import No
from assay.protocols.smp.framing import CONSOLE_OVERHEAD, LINE_LENGTH_MAX, PACKET_PAYLOAD, Framing
from assay.protocols.smp.upload_chunk import (
    CHECKSUM_BYTES,
    GRAIN_BYTES,
    HEADER_BYTES,
    QUESTION_BYTES,
    QUESTION_FRAME_BYTES,
    chunk,
    fitting,
    question,
)

FAILURES_MAX = 6  # in a row without progress, before the upload is given up
SETBACKS_MAX = 20  # times that a device names less than before, without ever more: it resets again and again, or lies
CHUNK_MIN = 32  # bytes of image in a frame, on the worst of lines and in the smallest of buffers
DOUBTS_MAX = 2  # refusals in a row in raw framing before one is believed, or asked for again in console framing
RAW_SILENCES_MAX = 2  # frames without an answer before raw framing is left: the device has lost where frames begin
ENDS_TIMEOUT_S = 5.0  # the first frame may erase a slot, the last one checks the image
WHAT = "the upload"
BAD_HASH = "bad-hash"

Prepare = Callable[[], tuple[Parameters, Framing]]
"""Asks the device, once, what its buffers are and which framing it takes bulk in."""


class _Damaged(LinkError):
    """The device holds other bytes than were sent."""


@dataclass(frozen=True)
class _Sent:
    request: ImageUploadWriteRequest
    offset: int
    size: int  # of data
    on_line: int  # bytes
    carried_s: float


class Upload:
    """One upload over a session. `prepare` is only called when there is something to send. The first frame is answered
    within `question_timeout_s` seconds (default: as the last one), the last within `ends_timeout_s`.
    """

    def __init__(
        self,
        session: Session,
        prepare: Prepare,
        data: bytes,
        file_sha256: bytes,
        image: int = 0,
        *,
        ends_timeout_s: float = ENDS_TIMEOUT_S,
        question_timeout_s: float | None = None,
        first_frame_max: int = QUESTION_FRAME_BYTES,
    ) -> None:
        self._session = session
        self._home = session.framing
        self._prepare = prepare
        self._data = data
        self._image = image
        self._ends_timeout_s = ends_timeout_s
        self._question_timeout_s = ends_timeout_s if question_timeout_s is None else question_timeout_s
        self._name = file_sha256 if first_frame_max >= QUESTION_FRAME_BYTES else None
        self._buffer = 0
        self._pace = Pace(session.line_s(1), 1)
        self._flight: deque[_Sent] = deque()
        self._sent_up_to = 0  # offset that the next frame has
        self._highest = 0  # end of the last byte ever sent
        self._failures = 0  # in a row
        self._furthest = 0  # offset that the device has named
        self._setbacks = 0  # since it named that one
        self._doubts = 0  # in a row
        self._refused: DeviceRefusal | None = None  # the first of the refusals that are doubted
        self._silences = 0  # in raw framing
        self._grain = 1
        self._heard_nothing = False  # of the frames before those under way

    def run(self, progress: Progress | None) -> UploadReport:
        """Send all. Raises DeviceRefusal, DeviceTimeout, LinkError."""
        session, size = self._session, len(self._data)
        begun_s, before = session.monotonic_s(), vars(session.counters).copy()
        try:
            resumed_from = self._send_until_it_is_there(progress)
        finally:
            session.switch(self._home)
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

    def _send_until_it_is_there(self, progress: Progress | None) -> int:
        try:
            return self._send(progress)
        except (_Damaged, DeviceRefusal) as error:
            if not self._arrived_damaged(error):
                raise
        self._session.counters.retries += 1
        self._leave_raw()
        return self._send(progress)  # once more, from its beginning: the device has dropped what it had

    def _arrived_damaged(self, error: LinkError | DeviceRefusal) -> bool:
        """The bytes changed on their way: on a line without losses in console framing it is the file that is bad."""
        if not isinstance(error, _Damaged) and not (isinstance(error, DeviceRefusal) and error.word == BAD_HASH):
            return False
        return self._pace.losses > 0 or self._session.framing is Framing.RAW

    def _send(self, progress: Progress | None) -> int:
        """Send what is not there; answers the offset resumed from, 0 for a new upload."""
        size = len(self._data)
        done = self._ask()
        resumed_from = 0 if done == min(QUESTION_BYTES, size) else done
        if done < size and not self._buffer:
            self._get_ready()
        self._sent_up_to = self._highest = done
        while done < size:
            if progress is not None:
                progress(done, size)
            self._fill()
            done = self._advance(done)
        return resumed_from

    def _get_ready(self) -> None:
        parameters, framing = self._prepare()
        self._buffer = parameters.buf_size
        losses = self._pace.losses
        self._pace = Pace(self._session.line_s(1), parameters.buf_count)
        self._pace.losses = losses
        self._session.switch(framing)

    def _ask(self) -> int:
        """Where to go on. Raises DeviceRefusal: this frame is also where the device says no to the whole upload."""
        while True:
            self._put(question(self._data, self._name, self._session.next_sequence(), self._image), QUESTION_BYTES)
            answered = self._wait(self._question_timeout_s, 0, whole=True)
            if answered is not None:
                self._failures = 0
                return answered
            self._failed("its first frame", silent=True)

    def _fill(self) -> None:
        while len(self._flight) < self._pace.window and self._sent_up_to < len(self._data):
            offset = self._sent_up_to
            data = self._data[offset : offset + self._chunk_size()]
            checked = self._session.framing is Framing.RAW
            self._put(chunk(offset, data, self._session.next_sequence(), checked=checked), len(data))
            self._sent_up_to = offset + len(data)
            self._highest = max(self._highest, self._sent_up_to)

    def _put(self, request: ImageUploadWriteRequest, size: int) -> None:
        on_line = self._session.send(request)
        carried_s = self._pace.sent(on_line, self._session.monotonic_s())
        self._flight.append(_Sent(request, request.off, size, on_line, carried_s))

    def _advance(self, done: int) -> int:
        """Wait for one answer; gives how far the device is."""
        expected = self._flight[0].offset + self._flight[0].size
        # On a line where frames get lost the last one may be, too; a link that mends itself tells when it lost any.
        last = self._sent_up_to == len(self._data) and (self._session.tells_losses or not self._pace.losses)
        reached = self._wait(self._ends_timeout_s if last else self._pace.patience_s(), done)
        if reached is None:
            self._go_back(done, silent=True)
            return done
        if self._heard_nothing and reached > expected:
            self._pace.was_late()
            self._silences = max(0, self._silences - 1)
        self._heard_nothing = False
        if reached < expected:
            reached = self._settle(reached)
            if reached <= done:
                self._set_back(reached, done)
                self._go_back(reached, silent=False)
                return reached
            self._flight.clear()
            self._sent_up_to, self._grain = reached, GRAIN_BYTES  # it took a part of a frame
        self._failures = self._doubts = 0
        self._refused = None
        if reached > self._furthest:
            self._furthest, self._setbacks = reached, 0
        self._sent_up_to = max(self._sent_up_to, reached)
        return reached

    def _wait(self, timeout_s: float, done: int, *, whole: bool = False) -> int | None:
        """The offset in the next answer, None when none came; frames that it overtakes have left the flight.

        An answer that cannot be believed says nothing new: `done`. `whole`: the question, which cannot be gone back
        from.
        """
        session, now_s = self._session, self._session.monotonic_s()
        rest_s = max(0.0, self._flight[0].carried_s - now_s) + timeout_s
        frame = session.receive([sent.request for sent in self._flight], rest_s)
        if frame is None:
            return None
        while (sent := self._flight.popleft()).request.header.sequence != frame[6]:
            pass
        if not whole:
            self._pace.answered(sent.carried_s, sent.on_line, session.monotonic_s())
        try:
            answer = session.read(frame, ImageUploadWriteResponse, WHAT)
            if isinstance(answer, No):
                raise refusal(WHAT, answer)
            return self._checked(answer, done)
        except (LinkError, DeviceRefusal) as error:
            if session.framing is Framing.CONSOLE or whole or not self._doubtful(error):
                self._raise_first_refusal(error)
                raise
            return done

    def _raise_first_refusal(self, error: LinkError | DeviceRefusal) -> None:
        """A device that refused an upload has forgotten it: that it says so afterwards is not why it refused."""
        forgot = isinstance(error, DeviceRefusal) and error.word == FORGOTTEN
        if forgot and self._refused is not None:
            raise self._refused from error

    def _doubtful(self, error: LinkError | DeviceRefusal) -> bool:
        """In raw framing: was the answer, or the frame, damaged?"""
        if self._arrived_damaged(error):
            return False
        if isinstance(error, DeviceRefusal) and error.word != FORGOTTEN and self._refused is None:
            self._refused = error
        self._doubts += 1
        if self._doubts <= DOUBTS_MAX:
            return True
        if self._home is Framing.RAW:
            return False
        self._leave_raw()
        return True

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
            raise _Damaged(f"the device on {address} holds other bytes than were sent", remedy="upload again")
        return offset

    def _settle(self, reached: int) -> int:
        """A frame was lost; those behind it are answered with the same offset. Gives the last offset heard."""
        while self._flight:
            answered = self._wait(self._pace.patience_s(), reached)
            if answered is None:
                break
            reached = max(reached, answered)
        return reached

    def _set_back(self, reached: int, done: int) -> None:
        """A device may lose what it had, by a reset; one that does so again and again does not get to the end."""
        self._setbacks += reached < done
        if self._setbacks > SETBACKS_MAX:
            raise LinkError(
                f"the device on {self._session.transport.address} went back {self._setbacks} times in {WHAT}, and never"
                f" beyond {self._furthest} of {len(self._data)} bytes",
                remedy="see on its console why it starts anew; check its supply",
            )

    def _go_back(self, offset: int, *, silent: bool) -> None:
        self._sent_up_to, self._heard_nothing = offset, silent
        self._failed("a frame", silent=silent)
        if silent and self._session.framing is Framing.RAW and self._home is not Framing.RAW:
            self._silences += 1
            if self._silences >= RAW_SILENCES_MAX:
                self._leave_raw()

    def _leave_raw(self) -> None:
        """From now on in the framing of the questions, whatever `prepare` said."""
        self._session.switch(self._home)
        self._flight.clear()

    def _failed(self, what: str, *, silent: bool) -> None:
        """One more failure in a row: the end after some."""
        self._flight.clear()
        self._failures += 1
        self._pace.lost(silent=silent)
        self._session.counters.retries += 1
        if self._failures > FAILURES_MAX:
            waited_s = self._pace.patience_s() * FAILURES_MAX
            raise self._session.silence(f"{what} of {WHAT} (offset {self._sent_up_to})", waited_s)

    def _chunk_size(self) -> int:
        """Bytes of data in the next frame: as the device's buffer and the line allow."""
        console = self._session.framing is Framing.CONSOLE
        room = fitting(self._buffer - (CONSOLE_OVERHEAD if console else CHECKSUM_BYTES), self._sent_up_to)
        best = self._pace.frame_bytes() * (PACKET_PAYLOAD / LINE_LENGTH_MAX if console else 1.0) - HEADER_BYTES
        size = max(int(min(room, best)), CHUNK_MIN)
        return size - size % self._grain
