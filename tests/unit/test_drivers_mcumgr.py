# SPDX-License-Identifier: Apache-2.0
"""The device driver, led into its corners by a device that is made up."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
from pseudo_device import CHIP, PseudoDevice, lossy, sample_image

from assay.drivers.mcumgr.session import TRIES, Noise, refusal
from assay.errors import DeviceTimeout, ExitStatus, LinkError
from assay.interfaces.device import DeviceRefusal, NoteKind, Stage
from assay.protocols.smp.answers import No
from assay.protocols.smp.error_words import ASSAY_GROUP, AssayRc
from assay.protocols.smp.framing import Framing

IMAGE, SHA256 = sample_image(20_000)


@pytest.fixture(params=list(Framing))
def device(request: pytest.FixtureRequest) -> PseudoDevice:
    return PseudoDevice(request.param)


def test_every_request_becomes_a_value(device: PseudoDevice) -> None:
    unit = device.open()
    info = unit.info()
    assert (info.stage, info.board, info.chip, info.version, info.serial) == (Stage.APP, "b", CHIP, "1.2.3", None)
    assert unit.echo("hello") == "hello"
    assert unit.image_state()[0].active
    assert unit.measure(2).slot == 2 and unit.measure(0).how == "recomputed"
    assert unit.make_key(bytes(32)).chip == CHIP
    assert unit.read_certificate().der == b"der"
    assert unit.evidence(bytes(8)) == b"cose"
    assert unit.health().reason == "ram"
    assert unit.stats().boots == 1
    for action in (unit.confirm, unit.erase, lambda: unit.set_pending(bytes(32))):
        action()
    unit.install_certificate("S1", b"der")


def test_notes_are_read_to_their_end(device: PseudoDevice) -> None:
    notes = device.open().notes(1)
    assert [note.seq for note in notes] == [1, 2, 3, 4]
    assert notes[0].kind is NoteKind.REVERTED


def test_a_note_of_an_unknown_kind_is_kept(device: PseudoDevice) -> None:
    device.notes[0]["kind"] = 99
    assert device.open().notes()[0].kind is NoteKind.UNKNOWN


def test_no_is_an_error_with_group_number_and_word(device: PseudoDevice) -> None:
    device.refuse[(0x4153, 1)] = {"err": {"group": 0x4153, "rc": 3}}
    with pytest.raises(DeviceRefusal, match="no-entropy") as caught:
        device.open().make_key(bytes(32))
    assert (caught.value.group, caught.value.rc, caught.value.word) == (0x4153, 3, "no-entropy")
    assert caught.value.status is ExitStatus.FAIL and "entropy" in caught.value.remedy
    assert device.open().echo("still usable") == "still usable"


def test_a_busy_device_is_asked_again(device: PseudoDevice) -> None:
    device.refuse[(0x4153, 3)] = {"err": {"group": 0x4153, "rc": 16}}
    with pytest.raises(DeviceRefusal, match="busy"):
        device.open().measure(0)
    assert len(device.requests) == TRIES


def test_a_device_that_does_not_tell_its_parameters_gets_small_frames(device: PseudoDevice) -> None:
    device.refuse[(0, 6)] = {"rc": 8}
    unit = device.open()
    unit.upload(IMAGE[:2000], SHA256)
    assert bytes(device.flash) == IMAGE[:2000]
    assert device.longest <= 256


def test_a_silent_device_is_a_timeout_that_names_what_was_waited_for() -> None:
    device = PseudoDevice()
    device.link.to_device = lambda _: b""
    with pytest.raises(DeviceTimeout, match=r"did not answer what it is .*nothing came") as caught:
        device.open().info()
    assert caught.value.status is ExitStatus.ERROR and caught.value.remedy


def test_a_device_that_only_prints_is_quoted() -> None:
    device = PseudoDevice()
    device.link.answer = lambda _: b"Kernel panic\r\n"
    with pytest.raises(DeviceTimeout, match="Kernel panic"):
        device.open().info()


def test_noise_is_said_to_be_noise() -> None:
    device = PseudoDevice()
    device.link.answer = lambda _: bytes(range(128, 256))
    with pytest.raises(Noise, match="noise on pseudo"):
        device.open().info()


def test_a_stranger_that_answers_nonsense_is_a_link_error() -> None:
    device = PseudoDevice()
    device.refuse[(0x4153, 0)] = {"hello": 1}
    with pytest.raises(LinkError, match="not a InfoAnswer"):
        device.open().info()


@pytest.mark.parametrize("framing", list(Framing))
@pytest.mark.parametrize("size", [1, 400, 512, 20_000])
@pytest.mark.parametrize("buffers", [(256, 1), (512, 2), (2048, 4)])
def test_upload(framing: Framing, size: int, buffers: tuple[int, int]) -> None:
    device = PseudoDevice(framing, buf_size=buffers[0], buf_count=buffers[1])
    seen: list[tuple[int, int]] = []
    report = device.open().upload(IMAGE[:size], SHA256, lambda done, total: seen.append((done, total)))
    assert bytes(device.flash) == IMAGE[:size]
    assert device.longest <= buffers[0]
    assert seen[-1] == (size, size) and sorted(seen) == seen
    assert (report.size, report.resumed_from, report.retries, report.frames_damaged) == (size, 0, 0, 0)


def test_an_upload_goes_on_where_it_stopped(device: PseudoDevice) -> None:
    device.flash, device.upload_size, device.upload_sha = bytearray(IMAGE[:7000]), len(IMAGE), SHA256
    report = device.open().upload(IMAGE, SHA256)
    assert report.resumed_from == 7000 and bytes(device.flash) == IMAGE
    sent_again = [content["off"] for group, command, content in device.requests if (group, command) == (1, 1)]
    assert sent_again[:2] == [0, 7000]


def test_an_upload_that_is_there_already_is_one_frame(device: PseudoDevice) -> None:
    device.flash, device.upload_size, device.upload_sha = bytearray(IMAGE), len(IMAGE), SHA256
    report = device.open().upload(IMAGE, SHA256)
    assert report.resumed_from == len(IMAGE)
    assert len([1 for group, command, _ in device.requests if (group, command) == (1, 1)]) == 1


def test_another_image_starts_anew(device: PseudoDevice) -> None:
    device.flash, device.upload_size, device.upload_sha = bytearray(b"old" * 1000), 3000, b"o" * 32
    assert device.open().upload(IMAGE, SHA256).resumed_from == 0
    assert bytes(device.flash) == IMAGE


@pytest.mark.parametrize("way", ["to_device", "to_host"])
@pytest.mark.parametrize("lost", range(1, 12))
def test_any_one_lost_frame_is_made_good(way: str, lost: int) -> None:
    device, count = PseudoDevice(), [0]
    unit = device.open()
    unit.parameters()

    def lose(data: bytes) -> bytes:
        count[0] += 1
        return b"" if count[0] == lost + 1 else data

    setattr(device.link, way, lose)
    report = unit.upload(IMAGE[:5000], SHA256)
    assert bytes(device.flash) == IMAGE[:5000]
    # A lost answer is made good by the next one, which names a later offset; a lost request has to be sent again.
    assert (report.retries > 0) is (way == "to_device" and lost <= report.frames - report.retries) or way == "to_host"


@pytest.mark.parametrize("seed", range(10))
def test_a_bad_line_is_made_good_in_console_framing(seed: int) -> None:
    device = PseudoDevice(buf_size=2048)
    device.link.to_device, device.link.to_host = lossy(seed, 1e-4), lossy(seed + 100, 1e-4)
    unit = device.open()
    report = unit.upload(IMAGE, SHA256)
    assert bytes(device.flash) == IMAGE
    assert report.retries > 0


def test_a_device_that_dies_in_an_upload_is_a_timeout() -> None:
    device, count = PseudoDevice(), [0]

    def die(data: bytes) -> bytes:
        count[0] += 1
        return data if count[0] < 8 else b""

    device.link.to_device = die
    with pytest.raises(DeviceTimeout, match=r"offset \d+"):
        device.open().upload(IMAGE, SHA256)
    assert device.link.now_s < 60


def test_a_refused_upload_leaves_the_session_usable(device: PseudoDevice) -> None:
    unit = device.open()
    device.refuse[(1, 1)] = {"err": {"group": 0x4153, "rc": 11}}
    with pytest.raises(DeviceRefusal, match="bad-signature"):
        unit.upload(IMAGE, SHA256)
    assert unit.echo("fine") == "fine"


class Refuser(PseudoDevice):
    """Refuses the whole file at its end, and has forgotten the upload then, as the firmware does."""

    gone = False

    def _upload(self, content: dict[str, Any]) -> dict[str, Any]:
        if self.gone and content["off"]:
            return {"err": {"group": 0x4153, "rc": 2}}
        answer = super()._upload(content)
        self.gone = answer.get("off") == len(IMAGE)
        return {"err": {"group": 0x4153, "rc": 17}} if self.gone else answer


@pytest.mark.parametrize("framings", [{Framing.CONSOLE}, {Framing.CONSOLE, Framing.RAW}])
def test_what_a_device_refuses_at_the_end_is_told_as_it_said_it_first(framings: set[Framing]) -> None:
    """In raw framing a refusal is doubted, and asked for again: by then the device knows of no upload."""
    device = Refuser(buf_size=2048)
    device.understands = framings
    with pytest.raises(DeviceRefusal, match="wrong-base"):
        device.open_auto().upload(IMAGE, SHA256)


@pytest.mark.parametrize("answer", [{}, {"off": -1}, {"off": 10**9}, {"off": 19_999}])
def test_an_upload_to_a_liar_ends(answer: dict[str, int]) -> None:
    device = PseudoDevice()
    device.refuse[(1, 1)] = answer
    with pytest.raises(LinkError):
        device.open().upload(IMAGE, SHA256)


class Wanderer(PseudoDevice):
    """Takes each frame, and names offsets as it likes."""

    def __init__(self, offsets: Sequence[int]) -> None:
        super().__init__()
        self.offsets = itertools.cycle(offsets)
        self.frames = 0

    def _upload(self, content: dict[str, Any]) -> dict[str, Any]:
        self.frames += 1
        return {"off": next(self.offsets)}


@pytest.mark.parametrize("buffers", [(384, 1), (2048, 4)])
@pytest.mark.parametrize("offsets", [(0,), (600, 300), (19_000, 0), (300, 600, 900, 0), tuple(range(19_000, 0, -7))])
def test_an_upload_to_a_device_whose_offsets_go_backwards_ends(
    offsets: tuple[int, ...], buffers: tuple[int, int]
) -> None:
    device = Wanderer(offsets)
    device.parameters = {"buf_size": buffers[0], "buf_count": buffers[1]}
    with pytest.raises(LinkError):
        device.open().upload(IMAGE, SHA256)
    assert device.frames < 20 * len(IMAGE) / 300  # twenty times what the image needs


def test_a_reset_is_done_once_though_its_answer_is_lost() -> None:
    device = PseudoDevice()
    unit = device.open()

    def lose_reset(data: bytes) -> bytes:
        return b"" if device.requests[-1][:2] == (0, 5) else data

    device.link.to_host = lose_reset
    unit.reset()
    assert device.resets == 1


def test_a_reset_that_did_not_arrive_is_a_timeout() -> None:
    device, seen = PseudoDevice(), [0]

    def lose_second(data: bytes) -> bytes:
        seen[0] += 1
        return b"" if seen[0] == 2 else data

    device.link.to_device = lose_second
    with pytest.raises(DeviceTimeout, match="to reset"):
        device.open().reset()
    assert device.resets == 0


def test_wait_ready_says_what_answers_instead() -> None:
    device = PseudoDevice()
    device.stage = "boot"
    with pytest.raises(DeviceTimeout, match=r"waited 2 s for the app.*the boot of n 1.2.3 answers"):
        device.open().wait_ready(Stage.APP, 2.0)
    assert device.open().wait_ready(Stage.BOOT, 2.0).stage is Stage.BOOT


def test_a_slow_answer_counts_though_it_was_asked_again() -> None:
    device, late = PseudoDevice(), []
    feed = device.link.answer

    def slowly(data: bytes) -> bytes:
        late.append(feed(data))
        return late.pop(0) if len(late) > 3 else b""

    device.link.answer = slowly
    assert device.open().wait_ready(Stage.APP, 5.0).version == "1.2.3"


def test_the_app_that_was_told_to_reset_is_not_taken_for_the_next_one() -> None:
    device = PseudoDevice()
    unit = device.open()
    device.uptime_ms = 60_000  # it goes on answering: it resets a little later
    unit.reset()
    with pytest.raises(DeviceTimeout):
        unit.wait_ready(Stage.APP, 2.0)
    device.uptime_ms = 5
    assert unit.wait_ready(Stage.APP, 2.0).stage is Stage.APP


def test_console_lines_come_between_answers(device: PseudoDevice) -> None:
    unit = device.open()
    device.console = b"ASSAY-APP 1 one\r\ntwo\r\n"
    unit.echo("x")
    assert unit.console_lines() == ("ASSAY-APP 1 one", "two")
    assert unit.console_lines() == ()


def test_waiting_for_a_line_keeps_those_behind_it() -> None:
    device = PseudoDevice()
    unit = device.open()
    device.link.received += b"a\r\nversion=1\r\nb\r\n"
    assert unit.wait_for_line("version=", 1.0) == "version=1"
    assert unit.console_lines() == ("b",)
    with pytest.raises(
        DeviceTimeout, match=r"waited 1 s for a line with 'never' on pseudo; the last lines were \['c'\]"
    ):
        device.link.received += b"c\r\n"
        unit.wait_for_line("never", 1.0)


def test_stale_bytes_are_dropped(device: PseudoDevice) -> None:
    unit = device.open()
    device.link.received += b"old line\r\nhalf a li"
    unit.drop_console()
    device.console = b"new\r\n"
    unit.echo("x")
    assert unit.console_lines() == ("new",)


def test_each_number_of_the_firmware_has_a_remedy() -> None:
    for number in set(AssayRc) - {AssayRc.OK}:
        assert refusal("upload", No(ASSAY_GROUP, number)).remedy, number
