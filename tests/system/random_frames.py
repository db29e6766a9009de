# SPDX-License-Identifier: Apache-2.0
"""Frames that nobody should send, into the client and into the firmware on an emulated chip: random bytes, good frames
with changed bytes, and good headers with any CBOR behind them.

A sample runs with the tests; `nox -s frames` runs a million of each. A failure is told with its seed and number.

    python tests/system/random_frames.py [--count N] [--seed N] [--board NAME] client|device ...
"""

from __future__ import annotations

import argparse
import gc
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cbor2
from smp.image_management import ImageStatesReadRequest, ImageStatesReadResponse, ImageUploadWriteResponse
from smp.message import Request
from smp.os_management import EchoWriteRequest, EchoWriteResponse, MCUMgrParametersReadRequest
from smp.os_management import MCUMgrParametersReadResponse as ParametersAnswer
from twin_firmware import firmware_for

from assay.drivers.mcumgr.device import McumgrDevice, over_transport
from assay.drivers.mcumgr.session import LINES_MAX, READ_MAX, Session
from assay.drivers.rom_loader import XmodemRomLoader
from assay.drivers.serial_transport import SerialTransport, open_serial
from assay.drivers.twin.lifecycle import running_twin
from assay.drivers.twin.twin_folder import create_twin
from assay.errors import AssayError, LinkError
from assay.interfaces.device import Stage
from assay.protocols.smp import assay_group as group
from assay.protocols.smp.answers import answer_header
from assay.protocols.smp.framing import HEADER_SIZE, TEXT_LENGTH_MAX, Framing, encode
from assay.protocols.smp.upload_chunk import chunk, question

FRAME_S_MAX = 20.0
"""A frame that takes longer is a hang: the slowest good one takes some milliseconds."""
GROWTH_KIB_MAX = 8192
"""Of this process, behind the first tenth of a campaign: caches fill, and nothing else grows."""
FRAMES_PER_OBJECT_MIN = 3
"""Frames for each object that stays behind. In a short campaign caches still fill: one for some 7 frames."""
STACK_MORE_MAX = 512
"""Bytes: an interrupt may meet the deepest call later than in the first tenth."""
TAGS = (0, 1, 2, 4, 5, 28, 30, 35, 36, 37, 100, 258, 260, 999)
LONG_NUMBERS = ([10**9, 1], [-(10**9), 1])
"""Behind tag 4: in a few bytes a number with a billion digits."""
DEPTH_MAX = 4
BATCH = 200
"""Frames between two questions whether the device is still well."""
RESET = (0, 5)
FRAME_BEGINS = b"\x06\x09"
"""Of an answer in console framing."""
QUIET_S = 0.4
"""Longer than the silence that ends a raw frame which never comes to its end."""
READY_S = 60.0

ASKED: tuple[tuple[Callable[[int], Request], type], ...] = (
    (lambda n: group.InfoRequest(sequence=n), group.InfoAnswer),
    (lambda n: group.NotesRequest(from_seq=0, sequence=n), group.NotesAnswer),
    (lambda n: group.StatsRequest(sequence=n), group.StatsAnswer),
    (lambda n: group.EvidenceRequest(nonce=bytes(8), sequence=n), group.EvidenceAnswer),
    (lambda n: EchoWriteRequest(d="x", sequence=n), EchoWriteResponse),
    (lambda n: ImageStatesReadRequest(sequence=n), ImageStatesReadResponse),
    (lambda n: question(bytes(1000), bytes(32), n), ImageUploadWriteResponse),
    (lambda n: MCUMgrParametersReadRequest(sequence=n), ParametersAnswer),
)


@dataclass
class Dice:
    """Everything random here comes from one seed."""

    roll: random.Random

    def bytes(self, most: int) -> bytes:
        return self.roll.randbytes(self.roll.randint(1, most))

    def cbor(self, depth: int = 0) -> Any:
        """Any value that CBOR has, tags among them."""
        leaf: list[Callable[[], Any]] = [
            lambda: self.roll.choice([0, 23, 24, 255, 65536, 2**32, 2**63, 2**64 - 1, -1, -(2**40), 2**80]),
            lambda: self.bytes(40),
            lambda: self.roll.choice(["", "rc", "off", "images", "err", "group", "x" * 60, "\u00e9\u4e2d"]),
            lambda: self.roll.choice([None, True, False, 1.5, float("inf"), float("nan")]),
            lambda: cbor2.CBORTag(self.roll.choice(TAGS), self.roll.choice([self.bytes(9), "[[a]", *LONG_NUMBERS])),
        ]
        if depth >= DEPTH_MAX or self.roll.random() < 0.5:
            return self.roll.choice(leaf)()
        if self.roll.random() < 0.5:
            return [self.cbor(depth + 1) for _ in range(self.roll.randint(0, 4))]
        keys = [
            "rc",
            "off",
            "match",
            "images",
            "err",
            "group",
            "r",
            "data",
            "sha",
            "len",
            "crc",
            "from",
            "slot",
            "hash",
        ]
        return {self.roll.choice(keys): self.cbor(depth + 1) for _ in range(self.roll.randint(0, 5))}

    def body(self) -> bytes:
        """What stands behind a header: CBOR, CBOR that was cut or changed, or no CBOR."""
        if self.roll.random() < 0.3:
            return self.bytes(60)
        encoded = cbor2.dumps(self.cbor())
        return encoded if self.roll.random() < 0.6 else self.changed(encoded)

    def changed(self, data: bytes) -> bytes:
        """A few bytes other, missing, or there twice."""
        made = bytearray(data)
        for _ in range(self.roll.randint(1, 4)):
            if not made:
                break
            at = self.roll.randrange(len(made))
            what = self.roll.randrange(4)
            if what == 0:
                del made[at]
            elif what == 1:
                made.insert(at, made[at])
            elif what == 2:
                del made[at : at + self.roll.randint(1, 20)]
            else:
                made[at] = self.roll.randrange(256)
        return bytes(made)


class Canned:
    """A transport that gives what it was given, and then nothing."""

    address = "canned"

    def __init__(self) -> None:
        self.waiting = b""

    def read(self, max_bytes: int, _timeout_s: float) -> bytes:
        given, self.waiting = self.waiting[:max_bytes], self.waiting[max_bytes:]
        return given

    def write(self, data: bytes) -> None:
        """Nobody hears it."""

    def drop_input(self) -> None:
        self.waiting = b""

    def close(self) -> None:
        """Nothing is open."""


def into_client(count: int, seed: int, say: Callable[[str], None] = print) -> Counter[str]:
    """`count` frames into sessions of both framings. Raises AssertionError naming seed and number."""
    dice, fates = Dice(random.Random(seed)), Counter[str]()
    links = {framing: Canned() for framing in Framing}
    sessions = {framing: Session(links[framing], framing, sleep=lambda _: None) for framing in Framing}
    before = (0, 0)
    for number in range(count):
        framing = dice.roll.choice(list(Framing))
        begun_s = time.monotonic()
        try:
            fates[_one_answer(dice, sessions[framing], links[framing])] += 1
        except Exception as error:
            raise AssertionError(f"seed {seed}, frame {number}: {error!r}") from error
        took_s = time.monotonic() - begun_s
        assert took_s < FRAME_S_MAX, f"seed {seed}, frame {number}: {took_s:.1f} s"
        if number == count // 10:
            before = _held(sessions)
        if number % 100_000 == 99_999:
            say(f"client: {number + 1} frames, {dict(fates)}")
    for session in sessions.values():
        assert len(session._demultiplexer.pending) <= READ_MAX + HEADER_SIZE + TEXT_LENGTH_MAX
    objects, grown_kib = (now - then for now, then in zip(_held(sessions), before, strict=True))
    assert objects < count / FRAMES_PER_OBJECT_MIN, f"seed {seed}: {objects} objects more after {count} frames"
    assert grown_kib < GROWTH_KIB_MAX, f"seed {seed}: {grown_kib} KiB more after {count} frames"
    fates["objects more"], fates["KiB more"] = objects, grown_kib
    return fates


def _held(sessions: dict[Framing, Session]) -> tuple[int, int]:
    """Objects and KiB that this process holds, when nobody holds console lines any more."""
    for session in sessions.values():
        assert len(session.take_lines()) <= LINES_MAX
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return sys.getallocatedblocks(), pages * resource.getpagesize() // 1024


def _one_answer(dice: Dice, session: Session, link: Canned) -> str:
    ask, kind = dice.roll.choice(ASKED)
    request = ask(session.next_sequence())
    header = bytearray(answer_header(request))
    body = dice.body()
    header[2:4] = len(body).to_bytes(2, "big")
    said = encode(bytes(header) + body, session.framing)
    fate = dice.roll.random()
    if fate < 0.25:
        said = dice.bytes(400)
    elif fate < 0.6:
        said = dice.changed(said)
    link.waiting = said
    frame = session.receive([request], 0.0 if fate < 0.5 else 1e-4)
    while frame is None and link.waiting:
        frame = session.receive([request], 1e-4)
    if frame is None:
        return "dropped"
    try:
        session.read(frame, kind, "it")
    except LinkError:
        return "no answer"
    return "an answer"


def into_device(board: str, count: int, seed: int, say: Callable[[str], None] = print) -> Counter[str]:
    """`count` frames into real firmware on a twin. Raises AssertionError when it hangs, resets or loses memory."""
    firmware, dice, fates = firmware_for(board), Dice(random.Random(seed)), Counter[str]()
    with tempfile.TemporaryDirectory() as name:
        folder = create_twin(Path(name), "t", firmware.board)
        with running_twin(folder, firmware.rom) as twin:
            transport = open_serial(twin.tty)
            try:
                device = _made_unit(transport, firmware.bootloader, firmware.apps["1.0.0"])
                before = early = device.stats()
                for number in range(0, count, BATCH):
                    context = f"seed {seed}, frames from {number} on"
                    sent = without_resets([_one_request(dice) for _ in range(min(BATCH, count - number))])
                    fates["console answers"] += _pour(transport, sent)
                    fates["frames"] += len(sent)
                    stats = _still_well(device, context)
                    assert stats.boots == before.boots, f"{context}: the device was reset"
                    early = stats if number <= count // 10 else early
                    fates["bad frames"] = stats.frames_bad
                    fates["least stack"] = stats.stack_free
                    if number // BATCH % 250 == 249:
                        say(f"{board}: {number + BATCH} frames, {dict(fates)}")
                    more = early.stack_free - stats.stack_free
                    assert more <= STACK_MORE_MAX, f"{context}: the stack grows, by {more} bytes since the first tenth"
            finally:
                transport.close()
    return fates


def _one_request(dice: Dice) -> bytes:
    framing = dice.roll.choice(list(Framing))
    kind = dice.roll.random()
    if kind < 0.2:
        return dice.bytes(300)
    if kind < 0.4:
        offset = dice.roll.choice([0, 32, 1000])
        frame = bytes(chunk(offset, dice.bytes(200), dice.roll.randrange(256), checked=dice.roll.random() < 0.5))
    else:
        place = dice.roll.choice([(0, 0), (0, 6), (1, 0), (1, 1), (1, 5), *((0x4153, n) for n in range(9)), (64, 1)])
        body = dice.body()
        first = dice.roll.choice([0, 2]) | dice.roll.choice([0, 8])
        head = bytes([first, 0]) + len(body).to_bytes(2, "big") + place[0].to_bytes(2, "big")
        frame = head + bytes([dice.roll.randrange(256), place[1]]) + body
    said = encode(frame, framing)
    return dice.changed(said) if dice.roll.random() < 0.5 else said


def without_resets(frames: list[bytes]) -> list[bytes]:
    """The same, but nothing in place of each with which a good raw request to reset would be on the line, wherever it
    begins: a frame may come behind a byte too many, or in two. To obey one is no fault of the device's."""
    kept: list[bytes] = []
    end = b""
    for frame in frames:
        near = end + frame
        kept.append(b"" if _reset_in(near) else frame)
        end = (end + kept[-1])[1 - HEADER_SIZE :]
    return kept


def _reset_in(line: bytes) -> bool:
    starts = range(len(line) - HEADER_SIZE + 1)
    return any(line[at] & 7 == 2 and line[at + 4 : at + 6] == b"\0\0" and line[at + 7] == RESET[1] for at in starts)


def _pour(transport: SerialTransport, frames: list[bytes]) -> int:
    """Send, and take what comes until the device is quiet, so that the port never fills up; gives how many answers
    began in it."""
    heard = b""
    for frame in frames:
        transport.write(frame)
        heard += transport.read(READ_MAX, 0.0)
    while said := transport.read(READ_MAX, QUIET_S):
        heard += said
    return heard.count(FRAME_BEGINS)


def _still_well(device: McumgrDevice, context: str) -> Any:
    """The counters of a device that answers; it may take some silence until it listens again."""
    deadline_s = time.monotonic() + READY_S
    while True:
        with suppress(AssayError):
            device.drop_console()
            device.wait_ready(Stage.APP, 1.0)
            return device.stats()
        assert time.monotonic() < deadline_s, f"{context}: the device does not answer any more"


def _made_unit(transport: SerialTransport, bootloader: bytes, app: bytes) -> McumgrDevice:
    import hashlib

    XmodemRomLoader(transport).wait_banner(READY_S)
    XmodemRomLoader(transport).send(bootloader)
    device = over_transport(transport, 115_200, "auto")
    device.wait_ready(Stage.BOOT, READY_S)
    device.upload(app, hashlib.sha256(app).digest())
    device.reset()
    device.wait_ready(Stage.APP, READY_S)
    return device


def main() -> None:
    """The command line; exit status 1 with the sentence when something did not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("into", nargs="*", default=["client", "device"])
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--board", action="append")
    asked = parser.parse_args()
    try:
        if "client" in asked.into:
            print(f"client, seed {asked.seed}: {dict(into_client(asked.count, asked.seed))}", flush=True)
        for board in asked.board or ["ast1030-evb", "rv32-virt"] if "device" in asked.into else []:
            print(f"{board}, seed {asked.seed}: {dict(into_device(board, asked.count, asked.seed))}", flush=True)
    except AssertionError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
