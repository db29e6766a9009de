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

READY_S = 15.0
SIZE = 120_000
BAUD = 921_600
CLEAN = WireProfile(baud=BAUD)
FRAMINGS = ("auto", "raw", "console")
SLOWER_MAX = 6.0
"""How many times as long as on a clean wire: a busy machine is in it."""


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
    assert bench.device().measure(1).image_hash == image_hash(image)


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
