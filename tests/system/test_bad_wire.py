# SPDX-License-Identifier: Apache-2.0
"""Uploads to real firmware over bad cables: they complete, slower in proportion, and what arrives is what was sent."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from twin_firmware import Firmware, firmware_for, image_hash, large_app

from assay.drivers.mcumgr.device import McumgrDevice, over_transport
from assay.drivers.rom_loader import XmodemRomLoader
from assay.drivers.serial_transport import SerialTransport, open_serial
from assay.drivers.twin.lifecycle import Twin, running_twin
from assay.drivers.twin.twin_folder import create_twin
from assay.drivers.twin.wire_profile import LineProfile, WireProfile
from assay.errors import LinkError
from assay.interfaces import lasting_upload
from assay.interfaces.device import Stage, UploadReport

READY_S = 60.0
SIZE = 120_000
BAUD = 921_600
CLEAN = WireProfile(baud=BAUD)
FRAMINGS = ("auto", "raw", "console")
SLOWER_MAX = 12.0
"""How many times as long as on a clean wire: a busy machine is in it."""
AT_ONCE = 3 * 6144 + 4096
"""Bytes that may be lost with the power: frames under way, and the sector that was begun."""
CONSOLE_MOST = 1.5
"""Bytes on the line for one of the image, in console framing: 127 for 93, and heads of frames."""


@dataclass
class Bench:
    """A running twin with the app 1.0.0."""

    firmware: Firmware
    twin: Twin
    transport: SerialTransport

    def device(self, framing: str = "auto") -> McumgrDevice:
        return over_transport(self.transport, BAUD, framing)

    def send(self, image: bytes, framing: str, wire: WireProfile) -> tuple[UploadReport, float]:
        """Upload over that wire; the slot is emptied over a clean one first."""
        self.twin.control.set_wire(replace(CLEAN, baud=None))
        self.device().erase()
        self.twin.control.set_wire(wire)
        begun_s = time.monotonic()
        report = self.device(framing).upload(image, hashlib.sha256(image).digest())
        took_s = time.monotonic() - begun_s
        self.twin.control.set_wire(CLEAN)
        assert self.device("console").measure(1).image_hash == image_hash(image)
        return report, took_s


@pytest.fixture(scope="module", params=["ast1030-evb", "rv32-virt"])
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    firmware = firmware_for(request.param)
    folder = create_twin(tmp_path_factory.mktemp("twins"), "t", firmware.board)
    with running_twin(folder, firmware.rom) as twin:
        transport = open_serial(twin.tty)
        try:
            XmodemRomLoader(transport).wait_banner(READY_S)
            XmodemRomLoader(transport).send(firmware.bootloader)
            made = Bench(firmware, twin, transport)
            device = made.device()
            device.wait_ready(Stage.BOOT, READY_S)
            app = firmware.apps["1.0.0"]
            device.upload(app, hashlib.sha256(app).digest())
            device.reset()
            device.wait_ready(Stage.APP, READY_S)
            yield made
        finally:
            transport.close()


@pytest.fixture(scope="module")
def image(bench: Bench) -> bytes:
    return large_app(bench.firmware.board.name, SIZE)


@pytest.mark.parametrize("framing", FRAMINGS)
def test_one_byte_in_ten_thousand_damaged(bench: Bench, image: bytes, framing: str) -> None:
    _, clean_s = bench.send(image, framing, CLEAN)
    faults = LineProfile(damaged=1e-4)
    report, took_s = bench.send(image, framing, replace(CLEAN, seed=5, to_device=faults, to_host=faults))
    assert report.retries > 0
    assert took_s < SLOWER_MAX * clean_s


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("kind", ["lost", "repeated"])
def test_lost_and_repeated_bytes(bench: Bench, image: bytes, framing: str, kind: str) -> None:
    faults = LineProfile(**{kind: 4e-5})
    report, _ = bench.send(image, framing, replace(CLEAN, seed=2, to_device=faults, to_host=faults))
    assert report.retries > 0


def test_a_slow_and_standing_line(bench: Bench, image: bytes) -> None:
    stalls = LineProfile(stall=2e-5, stall_s=0.7)
    bench.send(image, "auto", replace(CLEAN, latency_s=0.02, to_device=stalls, to_host=stalls))


def test_a_reset_in_the_middle(bench: Bench, image: bytes) -> None:
    bench.twin.control.set_wire(CLEAN)
    device, cut = bench.device(), []

    def progress(done: int, total: int) -> None:
        if done > total // 2 and not cut:
            cut.append(done)
            bench.twin.power.cycle(0)

    device.erase()
    report = lasting_upload.upload(device, image, progress)
    assert cut and report.size == len(image)
    assert report.resumed_from > cut[0] - AT_ONCE
    assert bench.device().measure(1).image_hash == image_hash(image)


def test_an_upload_that_another_client_goes_on_with_after_a_power_cut(
    bench: Bench, image: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the rest travels: what is on the line is counted, not what somebody says of it."""
    bench.twin.control.set_wire(CLEAN)
    bench.device().erase()
    reached = 0

    def stop(done: int, total: int) -> None:
        nonlocal reached
        reached = done
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.device("console").upload(image, hashlib.sha256(image).digest(), stop)
    bench.twin.power.cycle(0)
    device = bench.device("console")
    device.wait_ready(Stage.APP, READY_S)
    sent, write = [], bench.transport.write
    monkeypatch.setattr(bench.transport, "write", lambda data: sent.append(len(data)) or write(data))
    report = device.upload(image, hashlib.sha256(image).digest())
    assert report.resumed_from > reached - AT_ONCE
    assert sum(sent) < CONSOLE_MOST * (len(image) - reached + AT_ONCE)
    assert device.measure(1).image_hash == image_hash(image)


def test_another_image_after_a_power_cut_begins_anew(bench: Bench, image: bytes) -> None:
    bench.twin.control.set_wire(CLEAN)
    bench.device().erase()

    def stop(done: int, total: int) -> None:
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.device().upload(image, hashlib.sha256(image).digest(), stop)
    bench.twin.power.cycle(0)
    bench.device().wait_ready(Stage.APP, READY_S)
    other = bench.firmware.apps["1.1.0"]
    for sent in (other, image):
        assert bench.device().upload(sent, hashlib.sha256(sent).digest()).resumed_from == 0
        assert bench.device().measure(1).image_hash == image_hash(sent)


def test_a_port_that_goes_away_is_an_error_and_the_next_upload_goes_on(bench: Bench, image: bytes) -> None:
    bench.twin.control.set_wire(replace(CLEAN, baud=None))
    bench.device().erase()
    gone = LineProfile(listed=((60_000, "disconnect"),), disconnect_s=0.3)
    bench.twin.control.set_wire(replace(CLEAN, to_device=gone))
    with pytest.raises(LinkError, match=r"the link to .* broke"):
        bench.device().upload(image, hashlib.sha256(image).digest())
    bench.transport.close()
    deadline_s = time.monotonic() + READY_S
    while not Path(bench.twin.tty).exists() and time.monotonic() < deadline_s:
        time.sleep(0.01)
    bench.transport = open_serial(bench.twin.tty)
    report = bench.device().upload(image, hashlib.sha256(image).digest())
    assert report.resumed_from > 20_000
    assert bench.device().measure(1).image_hash == image_hash(image)


def test_an_image_that_is_there_costs_one_question_even_after_a_reset(bench: Bench, image: bytes) -> None:
    device = bench.device()
    bench.send(image, "auto", CLEAN)
    device.reset()
    device.wait_ready(Stage.APP, READY_S)
    report = device.upload(image, hashlib.sha256(image).digest())
    assert (report.resumed_from, report.frames, report.retries) == (len(image), 1, 0)
