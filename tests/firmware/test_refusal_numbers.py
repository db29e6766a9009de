# SPDX-License-Identifier: Apache-2.0
"""Every number with which the firmware says no, said by it: on each emulated board, or where no board can, by the core
built for this host. A number that is added to the list without a test here makes a failure."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import serial
from made_image import ERASE, IMAGE_GROUP, REVISION, STATE, UPLOAD, MadeImage, ask_for, patch, upload
from qemu_board import QemuBoard, wait_for
from raw_smp import WRITE, RawSmp, SmpError
from signed_build import FIRMWARE, Workshop

from assay.protocols.smp.error_words import ASSAY_GROUP, AssayRc, error_word

pytestmark = pytest.mark.timeout(600)
READY = "selftest=(pass|fail).*\n"
RECOVERY = "reason=[a-z-]+.*\n"
OS_GROUP, RESET = 0, 5
KEY, CERTIFICATE, MEASURE, EVIDENCE, NOTES = 1, 2, 3, 4, 6
REFUSED = 3


@dataclass
class Bench:
    """A board that runs `stage`: `app` 1.0.0, that `without entropy`, or `boot`, which waits for an app."""

    workshop: Workshop
    board: QemuBoard
    stage: str
    link: serial.Serial = field(init=False)

    @property
    def device(self) -> RawSmp:
        """To ask it."""
        return RawSmp(self.link)

    def start(self, parts: dict[str, bytes]) -> None:
        """Programmed and powered on."""
        self.board.program({"boot": self.workshop.bootloader(), **parts})
        self.board.on()
        self.link = serial.Serial(self.board.port, 115200, timeout=0.05)
        wait_for(self.link, RECOVERY if self.stage == "boot" else READY)

    def image(self) -> MadeImage:
        """A small one for this board."""
        return MadeImage(self.workshop.board, self.workshop.key())

    def reset(self) -> None:
        """Until the app is up again."""
        self.device.ask(WRITE, OS_GROUP, RESET, {})
        wait_for(self.link, READY)

    def noted(self) -> int:
        """The number in the newest note about an image that was refused at the boot."""
        notes = self.device.read(NOTES, {"from": 0})["notes"]
        return int([note["code"] for note in notes if note["kind"] == REFUSED][-1])


Case = Callable[[Bench], object]
"""Makes the device say no: raises SmpError, or answers the number of a note."""


def _with(tlv: int, value: bytes | None) -> Case:
    """An upload of an image that has this protected TLV, or lacks it."""

    def case(bench: Bench) -> object:
        image = bench.image()
        image.more[tlv] = value
        return upload(bench.device, image.data())

    return case


def _changed(at: int) -> Case:
    """An upload of an image with one bit changed: `at` counts from its start, or its end."""

    def case(bench: Bench) -> object:
        image = bytearray(bench.image().data())
        image[at] ^= 1
        return upload(bench.device, bytes(image))

    return case


def _provisioned_twice(bench: Bench) -> object:
    bench.device.write(KEY, {"challenge": bytes(32)})
    bench.device.write(CERTIFICATE, {"serial": "T-1", "cert": b"1"})
    return bench.device.write(CERTIFICATE, {"serial": "T-2", "cert": b"2"})


def _set(number: int) -> Case:
    """Asks for a test of the image with the hash that slot `number` has."""

    def case(bench: Bench) -> object:
        there = bench.device.read(MEASURE, {"slot": number})["hash"]
        return bench.device.ask(WRITE, IMAGE_GROUP, STATE, {"hash": there, "confirm": False})

    return case


def _patch(base: bytes | None, form: int = 1) -> Case:
    """An upload of a patch, for the image with hash `base` (None: for the one that runs)."""

    def case(bench: Bench) -> object:
        known = bench.device.read(MEASURE, {"slot": 0})["hash"] if base is None else base
        return upload(bench.device, patch(bench.workshop.board, bench.workshop.key(), known, form))

    return case


def _one_of_two(bench: Bench) -> object:
    """The radio's new image waits and was not asked for; the app's was."""
    radio = bench.image()
    radio.more[0xA6] = b"\1\0\0\0"
    app = bench.image().data()
    upload(bench.device, radio.data(), number=1)
    upload(bench.device, app)
    ask_for(bench.device, app)
    bench.reset()
    return bench.noted()


def _with_a_trailer(bench: Bench) -> object:
    """As large as the slot, so that the trailer would come with it."""
    size = bench.workshop.layout["flash"]["areas"]["secondary"]["size"]
    return upload(bench.device, bench.image().data(), length=size)


def _erase_what_runs(bench: Bench) -> object:
    return bench.device.ask(WRITE, IMAGE_GROUP, ERASE, {"slot": 0})


ON_BOARDS: dict[AssayRc, tuple[str, Case]] = {
    AssayRc.BAD_REQUEST: ("app", lambda bench: bench.device.ask(WRITE, IMAGE_GROUP, UPLOAD, {"off": 7, "data": b""})),
    AssayRc.NO_ENTROPY: ("without entropy", lambda bench: bench.device.write(KEY, {"challenge": bytes(32)})),
    AssayRc.NO_KEY: ("app", lambda bench: bench.device.write(EVIDENCE, {"nonce": bytes(32)})),
    AssayRc.ALREADY_PROVISIONED: ("app", _provisioned_twice),
    AssayRc.NO_IMAGE: ("app", lambda bench: bench.device.read(MEASURE, {"slot": 4})),
    AssayRc.TOO_LARGE: ("app", lambda bench: upload(bench.device, bytes(1024), length=1 << 30)),
    AssayRc.NOT_HERE: ("app", _erase_what_runs),
    AssayRc.BOARD_MISMATCH: ("app", _with(0xA0, b"other-board")),
    AssayRc.BAD_SIGNATURE: ("boot", _changed(-1)),
    AssayRc.BAD_HASH: ("app", _changed(0x300)),
    AssayRc.DOWNGRADE: ("app", _with(0x50, bytes(4))),
    AssayRc.BAD_HEADER: ("app", _changed(0)),
    AssayRc.REVISION: ("app", _with(REVISION, b"\x09\0\0\0")),
    AssayRc.BUSY: ("app", _set(0)),
    AssayRc.WRONG_BASE: ("app", _patch(bytes(32))),
    AssayRc.NOT_BOOTABLE: ("boot", _patch(bytes(32))),
    AssayRc.BAD_PATCH: ("app", _patch(None, form=2)),
    AssayRc.WRONG_LENGTH: ("app", lambda bench: upload(bench.device, bench.image().data() + b"\0")),
    AssayRc.UNKNOWN_TLV: ("app", _with(0xB0, b"\1")),
    AssayRc.LYING_TRAILER: ("app", _with_a_trailer),
    AssayRc.DEPENDENCY: ("app", _with(0x40, b"\2\0\0\0\1\0\0\0\0\0\0\0")),
    AssayRc.GROUP_INCOMPLETE: ("app", _one_of_two),
}
"""Which stage says it, and what makes it say so."""
ELSEWHERE = {AssayRc.UNKNOWN, AssayRc.FLASH}
"""Each in a test of its own, below."""


@pytest.fixture(scope="module")
def bench(
    request: pytest.FixtureRequest, workshop: Workshop, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    board = QemuBoard(workshop.toml, workshop.build("rom") / "part.elf", tmp_path_factory.mktemp("b"))
    made = Bench(workshop, board, request.param)
    board.entropy_on = made.stage != "without entropy"  # for as long as it lives: QEMU keeps a request in mind
    made.start({} if made.stage == "boot" else {"primary": workshop.app("1.0.0")})
    yield made
    made.link.close()
    board.close()


@pytest.mark.parametrize(
    ("bench", "number"),
    [pytest.param(stage, number, id=error_word(ASSAY_GROUP, number)) for number, (stage, _) in ON_BOARDS.items()],
    indirect=["bench"],
)
def test_the_device_says(bench: Bench, number: AssayRc) -> None:
    try:
        said = ON_BOARDS[number][1](bench)
    except SmpError as refused:
        assert refused.group == ASSAY_GROUP
        said = refused.number
    assert said == number


@pytest.mark.parametrize("workshop", ["rv32-virt"], indirect=True)
def test_a_device_whose_flash_refuses_says_flash(workshop: Workshop, tmp_path: Path) -> None:
    """QEMU's model of a CFI chip can be one that refuses; that of the SPI chip cannot."""
    board = QemuBoard(workshop.toml, workshop.build("rom") / "part.elf", tmp_path)
    board.flash_refuses = True
    bench = Bench(workshop, board, "app")
    try:
        bench.start({"primary": workshop.app("1.0.0")})
        with pytest.raises(SmpError) as refused:
            upload(bench.device, bench.image().data())
        assert (refused.value.group, refused.value.number) == (ASSAY_GROUP, AssayRc.FLASH)
        bench.link.close()
    finally:
        board.close()


def test_a_result_that_names_no_error_is_unknown(host_program: Path) -> None:
    """What only a fault of the firmware's, or of the chip's, makes: no request does."""
    done = subprocess.run([host_program, "words"], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "1 tests, " in done.stdout, done.stdout + done.stderr


def test_the_table_has_every_number_of_the_firmware() -> None:
    listed = (FIRMWARE / "core" / "include" / "assay_errors.def").read_text()
    numbers = [int(number) for number in re.findall(r"^ASSAY_ERROR\(\w+, (\d+),", listed, re.M)]
    assert len(numbers) == listed.count("\nASSAY_ERROR(")
    assert sorted({*ON_BOARDS, *ELSEWHERE}) == sorted(set(numbers) - {AssayRc.OK})
