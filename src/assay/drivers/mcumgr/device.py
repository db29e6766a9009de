# SPDX-License-Identifier: Apache-2.0
"""`interfaces.device.Device` over SMP: the reference firmware, and as far as it goes any MCUmgr device.

Guards: a reset is never done twice for one call: a second one would revert an image under test.
Leaves to others: sessions (`session`), uploads (`upload`), and whether this is the board that was meant.
"""

from __future__ import annotations

import re

from smp import image_management as image
from smp import os_management as osm
from smp.message import Request

from assay.drivers.mcumgr.session import Noise, Session, refusal
from assay.drivers.mcumgr.upload import ENDS_TIMEOUT_S, Upload
from assay.errors import DeviceTimeout, LinkError
from assay.interfaces import device as answers
from assay.interfaces.device import DeviceInfo, DeviceRefusal, Note, NoteKind, Parameters, Progress, Stage, UploadReport
from assay.interfaces.transport import Transport
from assay.protocols.smp import assay_group as group
from assay.protocols.smp.answers import No
from assay.protocols.smp.framing import Framing

BUFFER_SIZE_DEFAULT = 256  # bytes; of a device that does not tell, MCUboot's serial recovery for one
BUFFER_SIZE_MIN = 128  # bytes; one line: what says less has not understood the question
RAW_TRY_S = 0.2  # for a device that understands raw framing to answer; one that is slower gets console framing
RAW_TRY_BYTES = 50  # on the line, of that question with its answer
KEY_TIMEOUT_S = 5.0  # a board without entropy says so after 2 s
MEASURE_TIMEOUT_S = 5.0  # SHA-256 over a slot of 512 KiB at some 10 MHz
ERASE_TIMEOUT_S = 30.0  # a slot of 512 KiB in sectors of 4 KiB, 45 ms each (typical NOR flash), and some
READY_PAUSE_S = 0.03  # between questions to a device that may not be up, doubled each time ...
READY_PAUSE_MAX_S = 0.5  # ... up to this: a slow host's answer to an earlier question counts too
READY_ASKED_MAX = 16  # questions whose answer still counts
INFO_BYTES = 400  # on the line, of a question what it is with its answer
CLOCK_SLACK_S = 0.01  # of the device's clock against ours, over the seconds that a reset takes
CONSOLE_POLL_S = 0.1
AUTO = "auto"  # framing
LAST_LINES = 3  # quoted in an error
NOTES_ROUNDS_MAX = 1000  # answers with notes; a device whose notes never end is broken

_NOTE_KINDS = {
    1: NoteKind.SELFTEST_FAILED,
    2: NoteKind.REVERTED,
    3: NoteKind.REFUSED_AT_BOOT,
    4: NoteKind.SWAPPED,
    5: NoteKind.CONFIRMED,
    6: NoteKind.RECOVERY_ENTERED,
    7: NoteKind.PATCHED,
}


class McumgrDevice:
    """A unit that speaks SMP on `session`."""

    def __init__(
        self,
        session: Session,
        *,
        raw_uploads: bool = False,
        upload_ends_timeout_s: float = ENDS_TIMEOUT_S,
        question_timeout_s: float | None = None,
    ) -> None:
        """`raw_uploads`: the board may understand raw framing, too; what is sent in bulk goes in that if it does.
        `upload_ends_timeout_s`: seconds for the answers to an upload's first and last frame; `question_timeout_s` for
        the first, where it is another.
        """
        self._upload_ends_timeout_s = upload_ends_timeout_s
        self._question_timeout_s = question_timeout_s
        self._session = session
        self._raw_uploads = raw_uploads
        self._reset_at_s: float | None = None  # when a reset was asked for that nobody has seen done

    @property
    def address(self) -> str:
        """The address of the link."""
        return self._session.transport.address

    def info(self) -> DeviceInfo:
        """What answers on the port."""
        return _info(self._session.request(lambda n: group.InfoRequest(sequence=n), group.InfoAnswer, "what it is"))

    def echo(self, text: str) -> str:
        """`text`, once to the device and back."""
        answer = self._session.request(
            lambda n: osm.EchoWriteRequest(d=text, sequence=n), osm.EchoWriteResponse, "an echo"
        )
        return answer.r

    def parameters(self) -> Parameters:
        """Buffer size and count; defaults for a device that does not know the command."""
        try:
            answer = self._session.request(
                lambda n: osm.MCUMgrParametersReadRequest(sequence=n),
                osm.MCUMgrParametersReadResponse,
                "its parameters",
            )
        except DeviceRefusal as no:
            return _parameters(No(no.group, no.rc))
        return _parameters(answer)

    def image_state(self) -> tuple[answers.ImageSlot, ...]:
        """The image slots, as the device sees them."""
        state = self._session.request(
            lambda n: image.ImageStatesReadRequest(sequence=n), image.ImageStatesReadResponse, "its image state"
        )
        return tuple(_slot(row) for row in state.images)

    def upload(self, data: bytes, file_sha256: bytes, progress: Progress | None = None, image: int = 0) -> UploadReport:
        """Send an image file, or the rest of it."""
        upload = Upload(
            self._session,
            self._prepare_upload,
            data,
            file_sha256,
            image,
            ends_timeout_s=self._upload_ends_timeout_s,
            question_timeout_s=self._question_timeout_s,
        )
        return upload.run(progress)

    def _prepare_upload(self) -> tuple[Parameters, Framing]:
        """The device's buffers, and the framing for bulk: raw if the board may understand it and this one does."""
        session, home = self._session, self._session.framing
        if not self._raw_uploads:
            return self.parameters(), home
        session.switch(Framing.RAW)
        try:
            asked = osm.MCUMgrParametersReadRequest(sequence=session.next_sequence())
            session.send(asked)
            frame = session.receive([asked], RAW_TRY_S + session.line_s(RAW_TRY_BYTES))
        finally:
            session.switch(home)
        if frame is None:
            self._raw_uploads = False
            session.end_line()
            return self.parameters(), home
        answer = session.read(frame, osm.MCUMgrParametersReadResponse, "its parameters")
        return _parameters(answer), Framing.RAW

    def set_pending(self, image_hash: bytes) -> None:
        """Mark the image to be tested at the next reset."""
        self._session.request(
            lambda n: image.ImageStatesWriteRequest(hash=image_hash, confirm=False, sequence=n),
            group.Done,
            "to test the image",
        )

    def confirm(self) -> None:
        """Keep the running image."""
        self._session.request(
            lambda n: image.ImageStatesWriteRequest(confirm=True, sequence=n), group.Done, "to confirm the image"
        )

    def erase(self) -> None:
        """Erase the secondary slot."""
        self._session.request(
            lambda n: image.ImageEraseRequest(slot=1, sequence=n),
            image.ImageEraseResponse,
            "to erase the secondary slot",
            timeout_s=ERASE_TIMEOUT_S,
        )

    def reset(self) -> None:
        """Reset the device; its acknowledgement may get lost, the reset is still done once."""
        boots = self._boots()
        self._reset_at_s = self._session.monotonic_s()
        try:
            self._session.request(
                lambda n: osm.ResetWriteRequest(sequence=n), osm.ResetWriteResponse, "to reset", tries=1
            )
        except (DeviceTimeout, Noise):
            if boots is None or self._boots() in (None, boots):
                raise

    def measure(self, slot: int) -> answers.Measured:
        """The hash of a slot, recomputed over flash now."""
        answer = self._session.request(
            lambda n: group.MeasureRequest(slot=slot, sequence=n),
            group.MeasureAnswer,
            f"to measure slot {slot}",
            timeout_s=MEASURE_TIMEOUT_S,
        )
        return answers.Measured(answer.slot, answer.hash, answer.size, answer.how)

    def make_key(self, challenge: bytes) -> answers.KeyProof:
        """The device's public key and proof of possession."""
        answer = self._session.request(
            lambda n: group.KeyRequest(challenge=challenge, sequence=n),
            group.KeyAnswer,
            "to make a key",
            timeout_s=KEY_TIMEOUT_S,
        )
        return answers.KeyProof(answer.pubkey, answer.pop, answer.chip)

    def install_certificate(self, serial: str, cert_der: bytes) -> None:
        """Give the unit its serial number and certificate."""
        self._session.request(
            lambda n: group.CertificateWriteRequest(serial=serial, cert=cert_der, sequence=n),
            group.Done,
            "to keep the certificate",
        )

    def read_certificate(self) -> answers.Certificate:
        """The certificate that the device keeps."""
        answer = self._session.request(
            lambda n: group.CertificateReadRequest(sequence=n), group.CertificateAnswer, "its certificate"
        )
        return answers.Certificate(answer.serial, answer.cert)

    def evidence(self, nonce: bytes) -> bytes:
        """A COSE_Sign1 over `nonce`."""
        return self._session.request(
            lambda n: group.EvidenceRequest(nonce=nonce, sequence=n), group.EvidenceAnswer, "for evidence"
        ).evidence

    def health(self) -> answers.Health:
        """The self-test's result."""
        answer = self._session.request(lambda n: group.HealthRequest(sequence=n), group.HealthAnswer, "its health")
        return answers.Health(answer.state, answer.code, answer.reason)

    def notes(self, from_seq: int = 0) -> tuple[Note, ...]:
        """All notes from `from_seq` on."""
        notes: list[Note] = []
        for _ in range(NOTES_ROUNDS_MAX):
            start = from_seq
            answer = self._session.request(
                lambda n, start=start: group.NotesRequest(from_seq=start, sequence=n),  # type: ignore[misc]
                group.NotesAnswer,
                "its notes",
            )
            notes += [_note(row) for row in answer.notes]
            if not answer.notes or answer.next <= start:
                return tuple(notes)
            from_seq = answer.next
        raise LinkError(f"the notes of the device on {self.address} do not end", remedy="reset it, try again")

    def stats(self) -> answers.Stats:
        """Counters of the running app."""
        answer = self._session.request(lambda n: group.StatsRequest(sequence=n), group.StatsAnswer, "its counters")
        return answers.Stats(answer.uptime_ms, answer.boots, answer.stack_free, answer.frames_bad)

    def wait_ready(self, stage: Stage, timeout_s: float) -> DeviceInfo:
        """Wait until `stage` answers; after `reset`, not before the reset was done."""
        session = self._session
        deadline_s = session.monotonic_s() + timeout_s
        asked: list[Request] = []
        pause_s, seen = READY_PAUSE_S, "nothing came"
        while session.monotonic_s() < deadline_s or not asked:
            asked = [*asked, group.InfoRequest(sequence=session.next_sequence())][-READY_ASKED_MAX:]
            session.send(asked[-1])
            frame = session.receive(asked, pause_s + session.line_s(INFO_BYTES))
            if frame is None:
                seen = session.silence("what it is", timeout_s).message
                pause_s = min(2 * pause_s, READY_PAUSE_MAX_S)
                continue
            answer = session.read(frame, group.InfoAnswer, "what it is")
            if isinstance(answer, No):
                seen = refusal("what it is", answer).message
            elif answer.stage == stage and self._has_reset(stage):
                return _info(answer)
            else:
                seen = f"the {answer.stage} of {answer.name} {answer.version} answers"
            session.sleep(READY_PAUSE_S)
        raise DeviceTimeout(
            f"waited {timeout_s:g} s for the {stage} on {self.address}; {seen}",
            remedy="check the power and that this is the port; assay twin status NAME for a twin",
        )

    def console_lines(self) -> tuple[str, ...]:
        """Lines that came in and were not taken yet."""
        while self._session.pump(0.0):
            pass
        return tuple(self._session.take_lines())

    def wait_for_line(self, pattern: str, timeout_s: float) -> str:
        """The first line not taken yet in which `pattern` is found."""
        session = self._session
        deadline_s = session.monotonic_s() + timeout_s
        expression, seen = re.compile(pattern), [""]
        while True:
            lines = session.take_lines()
            for at, line in enumerate(lines):
                if expression.search(line):
                    session.put_back(lines[at + 1 :])
                    return line
            seen = (seen + lines)[-LAST_LINES:]
            rest_s = deadline_s - session.monotonic_s()
            if rest_s <= 0:
                raise DeviceTimeout(
                    f"waited {timeout_s:g} s for a line with {pattern!r} on {self.address}; "
                    f"the last lines were {[line for line in seen if line]}",
                    remedy="check the power and that this is the port",
                )
            session.pump(min(rest_s, CONSOLE_POLL_S))

    def send_line(self, text: str) -> None:
        """Type `text` and a line end."""
        self._session.transport.write(text.encode() + b"\n")

    def drop_console(self) -> None:
        """Forget every line and byte that came in before now."""
        self._session.drop_input()

    def close(self) -> None:
        """Release the link."""
        self._session.transport.close()

    def _has_reset(self, stage: Stage) -> bool:
        """False while the app that was told to reset still answers: its uptime goes back to before we asked."""
        if self._reset_at_s is None or stage is not Stage.APP:
            return True
        try:
            uptime_s = self.stats().uptime_ms / 1000
        except (DeviceRefusal, DeviceTimeout, Noise):
            return False
        if uptime_s > self._session.monotonic_s() - self._reset_at_s + CLOCK_SLACK_S:
            return False
        self._reset_at_s = None
        return True

    def _boots(self) -> int | None:
        """Boots since power-on, None where that is not told: the bootloader, a foreign firmware, a silent device."""
        try:
            return self.stats().boots
        except (DeviceRefusal, DeviceTimeout, Noise):
            return None


def _info(answer: group.InfoAnswer) -> DeviceInfo:
    return DeviceInfo(
        answer.proto,
        Stage(answer.stage),
        answer.board,
        answer.rev,
        answer.chip,
        answer.name,
        answer.version,
        answer.serial,
        answer.state,
        answer.hash,
    )


def _parameters(answer: osm.MCUMgrParametersReadResponse | No) -> Parameters:
    if isinstance(answer, No):
        return Parameters(BUFFER_SIZE_DEFAULT, 1)
    return Parameters(max(answer.buf_size, BUFFER_SIZE_MIN), max(answer.buf_count, 1))


def _slot(row: image.ImageState) -> answers.ImageSlot:
    return answers.ImageSlot(
        slot=row.slot,
        version=row.version,
        image_hash=bytes(row.hash) if row.hash is not None else None,
        bootable=bool(row.bootable),
        pending=bool(row.pending),
        confirmed=bool(row.confirmed),
        active=bool(row.active),
        permanent=bool(row.permanent),
    )


def _note(row: group.NoteRow) -> Note:
    return Note(row.seq, _NOTE_KINDS.get(row.kind, NoteKind.UNKNOWN), row.code, row.hash, row.reason)


def over_transport(transport: Transport, baud: int, framing: str) -> McumgrDevice:
    """A device on an open link (entry point `assay.devices: mcumgr`); `framing` is `console`, `raw` or `auto`.

    `auto`: questions in console framing, whose checksum protects them, and uploads in raw framing where the device
    answers it.
    """
    if framing == AUTO:
        return McumgrDevice(Session(transport, Framing.CONSOLE, baud=baud), raw_uploads=True)
    return McumgrDevice(Session(transport, Framing(framing), baud=baud))


def open_device(address: str, baud: int = 115200, framing: str = AUTO) -> McumgrDevice:
    """A device on a serial port; raises what `open_serial` raises."""
    from assay.drivers.serial_transport import open_serial

    return over_transport(open_serial(address, baud), baud, framing)
