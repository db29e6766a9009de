# SPDX-License-Identifier: Apache-2.0
"""`interfaces.smp_server.SmpServer`: somebody else's SMP server, with the limits that its board TOML tells.

Guards: only requests of MCUmgr's OS and image groups are sent, nothing of ours; a reset is asked for once.
Leaves to others: sessions (`session`), uploads (`upload`), in which order what is done (`stages.flashing.foreign`).
"""

from __future__ import annotations

import re
from collections import Counter

from smp import image_management as image
from smp import os_management as osm
from smp.message import Request

from assay.drivers.mcumgr.device import AUTO, READY_ASKED_MAX, McumgrDevice
from assay.drivers.mcumgr.session import ANSWER_TIMEOUT_S, LINES_MAX, Noise, Session, refusal
from assay.drivers.mcumgr.upload import Upload
from assay.errors import DeviceTimeout, LinkError
from assay.interfaces.device import DeviceRefusal, Parameters, Progress, UploadReport
from assay.interfaces.smp_server import NoImageGroup, ServerSlot, Slots
from assay.interfaces.transport import Transport
from assay.model.foreign_board import Buffers
from assay.protocols.smp import server_answers as theirs
from assay.protocols.smp.answers import No
from assay.protocols.smp.framing import CONSOLE_OVERHEAD, Framing

STATE_BYTES = 1000  # on the line, of an image state with its question
ASK_PAUSE_S = 0.5  # between questions to a server that may not be up, doubled each time ...
ASK_PAUSE_MAX_S = 2.0  # ... up to this: what comes while it starts may choke it (docs/adr/0163)
ECHO = "assay"
NOT_SUPPORTED = "not-supported"
STARTS = re.compile(r"boot|reset|rst:|panic|fault", re.IGNORECASE)  # what firmware says when it starts, or why
RESTARTS_SEEN_MIN = 3  # of one such line: a device that restarts for ever prints it again and again
QUIET_S = 0.7  # without a byte: it has started, or is busy
LISTEN_POLL_S = 0.1


class ForeignServer(McumgrDevice):
    """A server on `session`. `buffers` are of one that does not tell, or (`tells`) must not be asked."""

    def __init__(
        self,
        session: Session,
        *,
        buffers: Buffers,
        tells: bool,
        raw_uploads: bool = False,
        answer_timeout_s: float,
        erase_timeout_s: float,
    ) -> None:
        super().__init__(session, raw_uploads=raw_uploads)
        self._buffers = Parameters(buffers.size, buffers.count)
        self._tells = tells
        self._answer_timeout_s = answer_timeout_s
        self._erase_timeout_s = erase_timeout_s
        self._reset_asked = self._restarts = False

    @property
    def reset_asked(self) -> bool:
        """True from `ask_reset` until `listen`."""
        return self._reset_asked

    def parameters(self) -> Parameters:
        """As the server tells; else as its board TOML says."""
        if not self._tells:
            return self._buffers
        try:
            told = self._session.request(
                lambda n: osm.MCUMgrParametersReadRequest(sequence=n),
                osm.MCUMgrParametersReadResponse,
                "its parameters",
                timeout_s=self._answer_timeout_s,
            )
        except DeviceRefusal:
            return self._buffers
        return Parameters(told.buf_size, max(told.buf_count, 1)) if told.buf_size > 0 else self._buffers

    def slots(self) -> Slots:
        """The image state."""
        try:
            told = self._session.request(
                lambda n: image.ImageStatesReadRequest(sequence=n),
                theirs.SlotRows,
                "its image state",
                timeout_s=self._answer_timeout_s,
            )
        except DeviceRefusal as no:
            raise self._no_images(no) from no
        return _slots(told)

    def _no_images(self, no: DeviceRefusal) -> Exception:
        if no.word != NOT_SUPPORTED:
            return no
        return NoImageGroup(
            f"the SMP server on {self.address} knows no images: nothing can be flashed through it",
            remedy="flash firmware that has the image group (Zephyr: CONFIG_MCUMGR_GRP_IMG) by recovery or a probe",
        )

    def is_app(self) -> bool:
        """An app answers an echo."""
        try:
            self._session.request(lambda n: osm.EchoWriteRequest(d=ECHO, sequence=n), theirs.Echoed, "an echo")
        except DeviceRefusal:
            return self.application_info() is not None
        return True

    def application_info(self) -> str | None:
        """The line of `uname -a`, as it were."""
        try:
            answer = self._session.request(
                lambda n: osm.OSApplicationInfoReadRequest(format="a", sequence=n), theirs.ApplicationInfo, "what it is"
            )
        except DeviceRefusal:
            return None
        return answer.output.strip()

    def bootloader_mode(self) -> int | None:
        """MCUboot's mode, where the app tells it."""
        try:
            answer = self._session.request(
                lambda n: osm.BootloaderInformationReadRequest(query="mode", sequence=n),
                theirs.ModeAnswer,
                "its bootloader's mode",
            )
        except (DeviceRefusal, LinkError):  # an old server answers without a mode
            return None
        return answer.mode

    def upload(self, data: bytes, file_sha256: bytes, progress: Progress | None = None, image: int = 0) -> UploadReport:
        """Send an image file, or the rest of it."""
        upload = Upload(
            self._session,
            self._prepare_upload,
            data,
            file_sha256,
            image,
            ends_timeout_s=self._erase_timeout_s,
            first_frame_max=self.parameters().buf_size - CONSOLE_OVERHEAD,
        )
        return upload.run(progress)

    def set_pending(self, image_hash: bytes) -> None:
        """Mark the image to be tested at the next reset."""
        self._write_state(image_hash, confirm=False, what="to test the image")

    def confirm_image(self, image_hash: bytes) -> None:
        """Keep the running image."""
        self._write_state(image_hash, confirm=True, what="to confirm the image")

    def _write_state(self, image_hash: bytes, *, confirm: bool, what: str) -> None:
        self._session.request(
            lambda n: image.ImageStatesWriteRequest(hash=image_hash, confirm=confirm, sequence=n),
            theirs.Anything,
            what,
            timeout_s=self._erase_timeout_s,  # some servers erase a sector to write the mark
        )

    def ask_reset(self, *, into_recovery: bool = False) -> None:
        """Reset once; whether it was done is seen from what answers afterwards. Raises LinkError when it could not be
        asked: a link that breaks then is what a reset does to a USB device.
        """
        session = self._session
        message = theirs.Reset(boot_mode=1 if into_recovery else None, sequence=session.next_sequence())
        session.send(message)
        self._reset_asked = True
        try:
            frame = session.receive([message], session.timeout_s(ANSWER_TIMEOUT_S))
            answer = session.read(frame, theirs.Anything, "to reset") if frame is not None else None
        except LinkError:
            return
        if isinstance(answer, No):
            raise refusal("to reset", answer)

    def listen(self, at_least_s: float, at_most_s: float) -> None:
        """Take in what comes, and say nothing, until a device that starts has nothing more to tell. From here on a link
        that breaks is silence to `wait_for_slots`.
        """
        session, self._restarts = self._session, True
        begun_s = heard_s = session.monotonic_s()
        self._reset_asked = False
        while True:
            now_s = session.monotonic_s()
            if now_s - begun_s >= at_most_s or (now_s - begun_s >= at_least_s and now_s - heard_s >= QUIET_S):
                return
            if self._hears_something():
                heard_s = session.monotonic_s()

    def _hears_something(self) -> bool:
        """Within `LISTEN_POLL_S`. A device whose port is gone has not started yet."""
        try:
            return self._session.pump(LISTEN_POLL_S)
        except LinkError:
            self._session.sleep(LISTEN_POLL_S)
            return True

    def wait_for_slots(self, timeout_s: float, what: str) -> Slots:
        """Ask again and again; the lines that came meanwhile tell why nobody answers."""
        session = self._session
        deadline_s = session.monotonic_s() + timeout_s
        asked: list[Request] = []
        pause_s, trouble = ASK_PAUSE_S, ""
        while session.monotonic_s() < deadline_s or not asked:
            asked = [*asked, image.ImageStatesReadRequest(sequence=session.next_sequence())][-READY_ASKED_MAX:]
            try:
                session.send(asked[-1])
                frame = session.receive(asked, pause_s + session.line_s(STATE_BYTES))
            except LinkError as error:
                if not self._restarts:
                    raise
                frame, trouble = None, f"; {error.message}"
                session.sleep(ASK_PAUSE_S)
            if frame is not None:
                answer = session.read(frame, theirs.SlotRows, "its image state")
                if not isinstance(answer, No):
                    return _slots(answer)
                no = refusal("its image state", answer)
                if no.word == NOT_SUPPORTED:
                    raise self._no_images(no)
                trouble = f"; {no.message}"
                session.sleep(ASK_PAUSE_S)
            pause_s = min(2 * pause_s, ASK_PAUSE_MAX_S)
        raise self._nobody(f"waited {timeout_s:g} s for {what} on {self.address}{trouble}", timeout_s)

    def _nobody(self, message: str, timeout_s: float) -> LinkError:
        silence = self._session.silence("its image state", timeout_s)
        if isinstance(silence, Noise):
            return silence
        lines = self._session.take_lines()
        self._session.put_back(lines)
        banner, times = next(iter(Counter(filter(STARTS.search, lines)).most_common(1)), ("", 0))
        if times >= RESTARTS_SEEN_MIN:
            return DeviceTimeout(
                f"{message}; the line {banner!r} came {times} times: the device restarts again and again",
                remedy="look at its console; a board that restarts for ever is mended by its recovery or a probe",
            )
        if len(lines) >= LINES_MAX:
            return DeviceTimeout(
                f"{message}; its console floods: {LINES_MAX} lines, the last one {lines[-1]!r}",
                remedy="lower the log level of its firmware, or give SMP a port of its own",
            )
        last = [line for line in lines if line.strip()][-3:]
        return DeviceTimeout(
            f"{message}; " + (f"the last lines were {last}" if last else "nothing came"),
            remedy="check power, cable, port and baud rate, and framing in its board TOML",
        )


def _slots(state: theirs.SlotRows) -> Slots:
    return tuple(
        ServerSlot(
            image=row.image,
            slot=row.slot,
            version=row.version,
            image_hash=theirs.as_hash(row.hash),
            bootable=row.bootable,
            pending=row.pending,
            confirmed=row.confirmed,
            active=row.active,
            permanent=row.permanent,
        )
        for row in state.images
    )


def over_transport(
    transport: Transport,
    *,
    baud: int,
    framing: str,
    version: int,
    tells: bool,
    buffers: Buffers,
    answer_timeout_s: float,
    erase_timeout_s: float,
) -> ForeignServer:
    """A server on an open link (entry point `assay.servers: mcumgr`); `framing` is `console`, `raw` or `auto`."""
    home = Framing.CONSOLE if framing == AUTO else Framing(framing)
    return ForeignServer(
        Session(transport, home, baud=baud, version=version),
        buffers=buffers,
        tells=tells,
        raw_uploads=framing == AUTO,
        answer_timeout_s=answer_timeout_s,
        erase_timeout_s=erase_timeout_s,
    )
