# SPDX-License-Identifier: Apache-2.0
"""Real firmware on emulated chips, through the port, by the drivers: from blank to updated, and what goes wrong."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cbor2
import pytest
from twin_firmware import Firmware, _imgtool_sign, firmware_for, image_hash

from assay.drivers.mcumgr.device import McumgrDevice
from assay.drivers.mcumgr.session import Session
from assay.drivers.rom_loader import XmodemRomLoader
from assay.drivers.serial_transport import SerialTransport, open_serial
from assay.drivers.twin.lifecycle import Twin, running_twin
from assay.drivers.twin.twin_folder import TwinFolder, create_twin
from assay.errors import DeviceTimeout
from assay.interfaces.device import DeviceRefusal, NoteKind, Stage
from assay.protocols.smp.framing import Framing

CUTS = {"ast1030-evb": 50, "rv32-virt": 10}  # the RISC-V board's flash is written synchronously by QEMU
READY_S = 60.0
AFTERWARDS_S = 0.02  # for what is still in the port


@dataclass
class Bench:
    """A running twin with its port open."""

    firmware: Firmware
    twin: Twin
    transport: SerialTransport

    def device(self, framing: Framing = Framing.CONSOLE) -> McumgrDevice:
        return McumgrDevice(Session(self.transport, framing))

    def provision(self) -> McumgrDevice:
        """From a blank chip to the app 1.0.0."""
        loader = XmodemRomLoader(self.transport)
        loader.wait_banner(READY_S)
        loader.send(self.firmware.bootloader)
        device = self.device()
        device.wait_ready(Stage.BOOT, READY_S)
        upload(device, self.firmware.apps["1.0.0"])
        device.reset()
        device.wait_ready(Stage.APP, READY_S)
        return device


def upload(device: McumgrDevice, image: bytes) -> None:
    device.upload(image, hashlib.sha256(image).digest())


@pytest.fixture(scope="session", params=["ast1030-evb", "rv32-virt"])
def firmware(request: pytest.FixtureRequest) -> Firmware:
    return firmware_for(request.param)


@pytest.fixture(scope="session")
def arm() -> Firmware:
    return firmware_for("ast1030-evb")


@contextmanager
def bench_of(firmware: Firmware, folder: Path, name: str = "t") -> Iterator[Bench]:
    with running_twin(create_twin(folder, name, firmware.board), firmware.rom) as twin:
        transport = open_serial(twin.tty)
        try:
            yield Bench(firmware, twin, transport)
        finally:
            transport.close()


@pytest.fixture
def bench(firmware: Firmware, tmp_path: Path) -> Iterator[Bench]:
    with bench_of(firmware, tmp_path) as made:
        yield made


@pytest.fixture
def arm_bench(arm: Firmware, tmp_path: Path) -> Iterator[Bench]:
    with bench_of(arm, tmp_path) as made:
        yield made


def test_from_blank_to_updated_and_back(bench: Bench) -> None:
    board, apps = bench.firmware.board, bench.firmware.apps
    chip = bytes.fromhex(bench.twin.status().chip)
    loader = XmodemRomLoader(bench.transport)
    banner = loader.wait_banner(READY_S)
    assert (banner.board, banner.revision, banner.chip, banner.reason) == (board.name, board.revision, chip, "blank")
    seen: list[tuple[int, int]] = []
    written = loader.send(bench.firmware.bootloader, lambda done, size: seen.append((done, size)))
    assert written == image_hash(bench.firmware.bootloader)
    assert seen[-1] == (len(bench.firmware.bootloader),) * 2

    device = bench.device()
    assert device.wait_ready(Stage.BOOT, READY_S).chip == chip
    upload(device, apps["1.0.0"])
    device.reset()
    info = device.wait_ready(Stage.APP, READY_S)
    assert (info.version, info.state, info.image_hash) == ("1.0.0", "confirmed", image_hash(apps["1.0.0"]))
    assert f"hash={image_hash(apps['1.0.0']).hex()}" in device.wait_for_line("ASSAY-APP 1 name=", READY_S)
    assert device.measure(2).image_hash == image_hash(bench.firmware.bootloader)
    assert device.measure(0).how == "recomputed"

    assert device.make_key(bytes(32)).chip == chip
    device.install_certificate("SN-1", b"\x30\x03abc")
    assert device.read_certificate().serial == "SN-1"
    with pytest.raises(DeviceRefusal, match="already-provisioned"):
        device.install_certificate("SN-2", b"\x30\x03abd")

    raw = bench.device(Framing.RAW)
    upload(raw, apps["1.1.0"])
    assert raw.measure(1).image_hash == image_hash(apps["1.1.0"])
    raw.set_pending(image_hash(apps["1.1.0"]))
    raw.reset()
    assert raw.wait_ready(Stage.APP, READY_S).state == "testing"
    raw.reset()  # not confirmed
    assert raw.wait_ready(Stage.APP, READY_S).version == "1.0.0"
    assert NoteKind.REVERTED in {note.kind for note in raw.notes()}


def test_a_bad_update_goes_back_by_itself(arm_bench: Bench) -> None:
    device, apps = arm_bench.provision(), arm_bench.firmware.apps
    upload(device, apps["1.2.0"])
    device.set_pending(image_hash(apps["1.2.0"]))
    device.reset()
    deadline_s = time.monotonic() + READY_S
    while not (failed := [note for note in device.notes() if note.kind is NoteKind.SELFTEST_FAILED]):
        assert time.monotonic() < deadline_s
        device.wait_ready(Stage.APP, READY_S)
    assert failed[0].reason and failed[0].image_hash_start == image_hash(apps["1.2.0"])[:8]
    info = device.wait_ready(Stage.APP, READY_S)
    assert (info.version, info.image_hash) == ("1.0.0", image_hash(apps["1.0.0"]))


def test_what_a_device_refuses(arm_bench: Bench) -> None:
    device, good = arm_bench.provision(), arm_bench.firmware.apps["1.1.0"]
    for image in (good[:0x300] + bytes([good[0x300] ^ 1]) + good[0x301:], b"no image at all" * 300):
        with pytest.raises(DeviceRefusal) as caught:
            upload(device, image)
        assert not caught.value.word.startswith("rc-")
    with pytest.raises(DeviceRefusal):
        device.set_pending(bytes(32))
    with pytest.raises(DeviceRefusal):
        device.evidence(b"short")
    assert device.echo("still there") == "still there"


REFUSED = {
    "downgrade": ("--security-counter", "0"),
    "unknown-tlv": ("--custom-tlv", "0x00b0", "0x01"),
    "dependency": ("-d", "(2,1.0.0)"),
    "lying-trailer": ("--pad", "--confirm"),
}
"""What a device says no to, and the words for imgtool that make such an image."""
OTHER_BOARDS: dict[str, dict[str, object]] = {"board-mismatch": {"name": "other-board"}, "revision": {"revision": 9}}


def wrong_images(firmware: Firmware, folder: Path) -> dict[str, bytes]:
    """Small images by imgtool, by the word that each is refused with at the end of its upload, at the latest."""
    payload, made = folder / "payload.bin", {}
    payload.write_bytes(bytes(range(256)) * 8)
    for word in ("wrong-length", *REFUSED, *OTHER_BOARDS):
        board, signed = firmware.board.model_copy(update=OTHER_BOARDS.get(word)), folder / word
        _imgtool_sign(
            firmware.folder, board, "demo-sensor", "1.1.0", "primary", payload, signed, *REFUSED.get(word, ())
        )
        made[word] = signed.read_bytes()
    return {**made, "wrong-length": made["wrong-length"][:-1]}


def test_what_a_device_refuses_an_image_for_is_a_word_and_what_to_do(arm_bench: Bench, tmp_path: Path) -> None:
    device, told = arm_bench.provision(), {}
    wrong = wrong_images(arm_bench.firmware, tmp_path)
    for word, image in wrong.items():
        with pytest.raises(DeviceRefusal) as caught:
            upload(device, image)
        told[word] = (caught.value.word, caught.value.remedy != "")
    assert told == {word: (word, True) for word in wrong}


def test_the_rom_refuses_what_is_no_bootloader_for_it(arm_bench: Bench) -> None:
    loader = XmodemRomLoader(arm_bench.transport)
    for image, words in (
        (b"rubbish" * 200, {"header", "size"}),
        (arm_bench.firmware.bootloader[:-200], {"size", "hash", "header"}),
    ):
        loader.wait_banner(READY_S)
        with pytest.raises(DeviceRefusal) as caught:
            loader.send(image)
        assert caught.value.word in words
    arm_bench.provision()


def test_without_entropy_no_key_is_made(arm: Firmware, tmp_path: Path) -> None:
    folder = create_twin(tmp_path, "t", arm.board)
    settings = folder.read_settings()
    folder.write_settings(replace(settings, profile=replace(settings.profile, entropy=False)))
    with bench_of(arm, tmp_path) as bench:
        device = bench.provision()
        with pytest.raises(DeviceRefusal, match="no-entropy"):
            device.make_key(bytes(32))
        assert device.info().stage is Stage.APP


class _Stop(Exception):
    pass


class _Deaf(Session):
    """A session that hears nothing more when it was broken off: the port may be gone."""

    def pump(self, timeout_s: float) -> bool:
        return timeout_s != AFTERWARDS_S and super().pump(timeout_s)


def blank_secondary(folder: TwinFolder, firmware: Firmware, seed: int) -> None:
    """Something else in the secondary slot, so that what is found there later was written since."""
    area = firmware.board.flash.areas["secondary"]
    with folder.flash.open("r+b") as file:
        file.seek(area.offset)
        file.write(random.Random(seed).randbytes(area.size))


def upload_until(session: Session, image: bytes, reached: int, act: Callable[[], object]) -> int:
    """Upload until the device has acknowledged `reached` bytes, then `act`, with more frames on their way.

    Gives what the device has acknowledged in the end: also by answers that it sent just before `act` was done.
    """
    acknowledged = [0]

    def watch(done: int, _size: int) -> None:
        acknowledged[0] = done
        if done >= reached:
            act()
            raise _Stop

    with suppress(_Stop):
        McumgrDevice(session).upload(image, hashlib.sha256(image).digest(), watch)
    while session.pump(AFTERWARDS_S):
        pass
    later = [cbor2.loads(frame[8:]) for frame in session._frames]
    return max([*acknowledged, *(answer["off"] for answer in later if "off" in answer)])


def missing(folder: TwinFolder, firmware: Firmware, image: bytes, acknowledged: int) -> list[int]:
    """Pages of the image that the device has acknowledged and that are not in the flash file.

    The device programs the first page last, and a page when it is full.
    """
    page, area = firmware.board.flash.program_size, firmware.board.flash.areas["secondary"]
    slot = folder.flash.read_bytes()[area.offset : area.offset + area.size]
    whole = acknowledged // page * page
    return [at for at in range(page, whole, page) if slot[at : at + page] != image[at : at + page]]


def test_a_power_cut_loses_nothing_that_was_acknowledged(firmware: Firmware, tmp_path: Path) -> None:
    dice, image = random.Random(7), firmware.apps["1.1.0"]
    cuts, checked = CUTS[firmware.board.name], 0
    with bench_of(firmware, tmp_path) as bench:
        device = bench.provision()
        for cut in range(cuts):
            bench.twin.power.off()
            blank_secondary(bench.twin.folder, firmware, cut)
            bench.twin.power.on()
            device.wait_ready(Stage.APP, READY_S)
            session = Session(bench.transport)
            acknowledged = upload_until(session, image, dice.randrange(4096, 20_000), bench.twin.power.cut)
            assert not bench.twin.power.is_on()
            assert missing(bench.twin.folder, firmware, image, acknowledged) == [], f"cut {cut} at {acknowledged}"
            checked += acknowledged // firmware.board.flash.program_size
        assert checked > cuts * 8
        bench.twin.power.on()
        assert device.wait_ready(Stage.APP, READY_S).image_hash == image_hash(firmware.apps["1.0.0"])
        upload(device, image)
        assert device.measure(1).image_hash == image_hash(image)


def test_a_killed_wire_loses_nothing_and_leaves_no_orphan(arm: Firmware, tmp_path: Path) -> None:
    image = arm.apps["1.1.0"]
    with bench_of(arm, tmp_path) as bench:
        bench.provision()
    for kill in range(5):
        blank_secondary(TwinFolder(tmp_path / "t"), arm, kill)
        with bench_of(arm, tmp_path) as bench:
            device, status = bench.device(), bench.twin.status()
            device.wait_ready(Stage.APP, READY_S)
            assert status.wire_pid and status.qemu_pid
            kill_wire = partial(os.kill, status.wire_pid, signal.SIGKILL)
            acknowledged = upload_until(_Deaf(bench.transport), image, 20_000, kill_wire)
            deadline_s = time.monotonic() + 20
            while Path(f"/proc/{status.qemu_pid}/exe").exists():
                assert time.monotonic() < deadline_s, "QEMU outlived its wire"
                time.sleep(0.005)
            assert missing(bench.twin.folder, arm, image, acknowledged) == []


def test_a_device_without_power_is_a_timeout_and_comes_back(arm_bench: Bench) -> None:
    device = arm_bench.provision()
    arm_bench.twin.power.off()
    device.drop_console()
    with pytest.raises(DeviceTimeout, match="nothing came"):
        device.wait_ready(Stage.APP, 0.5)
    arm_bench.twin.power.on()
    assert device.wait_ready(Stage.APP, READY_S).version == "1.0.0"


def test_an_upload_at_a_real_rate_fills_the_line(arm_bench: Bench) -> None:
    device, twin = arm_bench.provision(), arm_bench.twin
    image, baud = arm_bench.firmware.apps["1.1.0"], 115200
    # Bounds: 72.0 % for base64 lines, 98.7 % for raw frames; a busy host costs some, and now and then more.
    for framing, share in ((Framing.CONSOLE, 0.65), (Framing.RAW, 0.88)):
        reached: list[float] = []
        while len(reached) < 10 and not any(each > share for each in reached):
            device.erase()
            twin.control.set_baud(baud)
            before, begun_s = twin.status().bytes_to_device, time.monotonic()
            acknowledged = upload_until(_Deaf(arm_bench.transport, framing), image, 24_000, lambda: None)
            took_s = time.monotonic() - begun_s
            on_line = twin.status().bytes_to_device - before
            twin.control.set_baud(None)
            device.drop_console()
            assert acknowledged * 10 / baud < took_s  # never faster than the line
            assert on_line >= acknowledged
            reached.append(acknowledged * 10 / baud / took_s)
        assert max(reached) > share, (framing, reached)


def test_the_port_outlives_power_cycles(arm_bench: Bench) -> None:
    device, port = arm_bench.provision(), os.path.realpath(arm_bench.twin.tty)
    for _ in range(5):
        device.drop_console()
        arm_bench.twin.power.cycle(0)
        assert "version=1.0.0" in device.wait_for_line("ASSAY-APP 1 name=", READY_S)
    assert os.path.realpath(arm_bench.twin.tty) == port
    device.drop_console()
    device.send_line("version")
    assert "selftest=pass" in device.wait_for_line("ASSAY-APP 1 name=", READY_S)
