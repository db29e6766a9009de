# SPDX-License-Identifier: Apache-2.0
"""A link that breaks and mends itself: what was asked on it before is asked again at once, however long it may take."""

from __future__ import annotations

import pytest
from pseudo_device import PseudoDevice, PseudoLink, sample_image

from assay.drivers.mcumgr.linux_module import INSTALL_TIMEOUT_S, LinuxModule
from assay.drivers.mcumgr.session import Session
from assay.errors import DeviceTimeout
from assay.protocols.smp.framing import Framing

IMAGE, SHA256 = sample_image(20_000)


class BreakingLink:
    """Loses what is written at the break, as a channel to a host that is gone; whoever reads then hears of it."""

    def __init__(self, link: PseudoLink, break_at: int) -> None:
        self._link = link
        self._left = break_at
        self._broken = False
        self.breaks = 0
        self.away = ""
        self.address = link.address

    def write(self, data: bytes) -> None:
        self._left -= 1
        if self._left == 0:
            self._broken = True
            self._link.drop_input()
        if not self._broken:
            self._link.write(data)

    def read(self, max_bytes: int, timeout_s: float) -> bytes:
        if self._broken:
            self._broken = False
            self.breaks += 1
            return b""
        return self._link.read(max_bytes, timeout_s)

    def drop_input(self) -> None:
        self._link.drop_input()

    def close(self) -> None:
        self._link.close()


def frames_of_an_upload() -> int:
    device = PseudoDevice(Framing.RAW, buf_size=2048)
    return device.open().upload(IMAGE, SHA256).frames


@pytest.mark.parametrize("from_the_end", [0, 1, 5])
def test_a_frame_that_a_break_took_is_not_waited_for(from_the_end: int) -> None:
    """Not even the last one, whose answer comes when the unit has installed."""
    device = PseudoDevice(Framing.RAW, buf_size=2048)
    link = BreakingLink(device.link, frames_of_an_upload() - from_the_end)
    session = Session(
        link,
        Framing.RAW,
        mending=link,
        monotonic_s=lambda: device.link.now_s,
        sleep=lambda seconds: None,
    )
    report = LinuxModule(session, 90.0).upload(IMAGE, SHA256)
    assert bytes(device.flash) == IMAGE and link.breaks == 1 and report.retries >= 1
    assert device.link.now_s < INSTALL_TIMEOUT_S / 4


class InstallingLink(BreakingLink):
    """A unit that installs for a minute when it has all, and answers and takes nothing meanwhile."""

    def __init__(self, device: PseudoDevice, break_at: int) -> None:
        super().__init__(device.link, break_at)
        self._device, self._answer, self._until_s = device, b"", 0.0

    def write(self, data: bytes) -> None:
        if self._device.link.now_s >= self._until_s:
            super().write(data)
        if len(self._device.flash) == len(IMAGE) and not self._until_s:
            self._until_s = self._device.link.now_s + 60.0
            self._answer = bytes(self._link.received)
            self._link.drop_input()

    def read(self, max_bytes: int, timeout_s: float) -> bytes:
        if self._answer:
            self._link.now_s = min(self._link.now_s + timeout_s, self._until_s)
            if self._link.now_s < self._until_s:
                return b""
            self._link.received += self._answer
            self._answer = b""
        return super().read(max_bytes, timeout_s)


@pytest.mark.parametrize("break_at", [1000, 3])
def test_a_unit_that_installs_is_waited_for_also_when_a_frame_was_lost_before(break_at: int) -> None:
    device = PseudoDevice(Framing.RAW, buf_size=2048)
    link = InstallingLink(device, break_at)
    session = Session(
        link, Framing.RAW, mending=link, monotonic_s=lambda: device.link.now_s, sleep=lambda seconds: None
    )
    report = LinuxModule(session, 90.0).upload(IMAGE, SHA256)
    assert bytes(device.flash) == IMAGE and 60 <= device.link.now_s < 70
    assert report.retries == link.breaks == (break_at == 3)


def test_a_question_that_a_break_took_is_asked_again() -> None:
    device = PseudoDevice(Framing.RAW)
    link = BreakingLink(device.link, 1)
    session = Session(link, Framing.RAW, mending=link, monotonic_s=lambda: device.link.now_s)
    assert LinuxModule(session, 90.0).echo("x") == "x"
    assert device.link.now_s < 1 and session.counters.retries == 1


class LinkThatStaysAway(BreakingLink):
    """Nobody listens any more from the break on; what came just before it was no text."""

    def read(self, max_bytes: int, timeout_s: float) -> bytes:
        if self._broken and not self.away:
            self.breaks += 1
            self.away = "cannot reach bench-7: Connection refused"
            return b""
        return self._link.read(max_bytes, timeout_s)


def test_a_link_that_stays_away_is_told_as_that_and_not_as_a_device_that_is_silent() -> None:
    device = PseudoDevice(Framing.RAW, buf_size=2048)
    link = LinkThatStaysAway(device.link, frames_of_an_upload() // 2)
    session = Session(
        link, Framing.RAW, mending=link, monotonic_s=lambda: device.link.now_s, sleep=lambda seconds: None
    )
    with pytest.raises(DeviceTimeout, match=r"broke in a frame of the upload .* Connection refused") as told:
        LinuxModule(session, 90.0).upload(IMAGE, SHA256)
    assert "goes on where it was" in told.value.remedy


def test_a_busy_unit_is_not_asked_again_on_a_link_that_stands() -> None:
    """It hashes a slot for most of the time that all tries have, and would begin anew with each."""
    device = PseudoDevice(Framing.RAW)
    link = BreakingLink(device.link, 1000)
    session = Session(link, Framing.RAW, patience=10.0, mending=link, monotonic_s=lambda: device.link.now_s)
    answers: list[bytes] = []
    device.link.to_host = lambda data: (answers.append(data), b"")[1]
    once_s, read = session.timeout_s(2.0), device.link.read

    def late(max_bytes: int, timeout_s: float) -> bytes:
        device.link.received += answers.pop() if answers and device.link.now_s > 2.5 * once_s else b""
        return read(max_bytes, min(timeout_s, 1.0))

    device.link.read = late  # type: ignore[method-assign]
    assert LinuxModule(session, 90.0).echo("x") == "x"
    assert session.counters.retries == 0 and device.link.now_s < 3 * once_s


def test_late_answers_are_not_told_as_lines() -> None:
    """In raw framing what answers nothing any more is text to whoever splits it."""
    device = PseudoDevice(Framing.RAW)
    session = Session(device.link, Framing.RAW, monotonic_s=lambda: device.link.now_s, sleep=lambda seconds: None)
    late = bytes.fromhex("0b00000e00012501a26272630063636f66661a000c0478")
    device.link.to_host = lambda _data: late + b"\npanic at 0x1234\n" + late
    with pytest.raises(DeviceTimeout) as told:
        LinuxModule(session, 90.0).echo("x")
    assert "the last lines were ['panic at 0x1234'" in told.value.message
    assert "coff" not in told.value.message
