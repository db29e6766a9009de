# SPDX-License-Identifier: Apache-2.0
"""Updates by a patch on each emulated board, with detools, imgtool and smpclient: taken, refused, and never started."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from qemu_board import QemuBoard
from raw_smp import RawSmp
from signed_build import Workshop, imgtool
from smpclient.generics import success
from smpclient.requests.image_management import ImageStatesWrite
from test_unit_life import INFO, MEASURE, READY, Unit, image_hash, provision, upload_error, wait_for

detools = pytest.importorskip("detools", reason="pip install 'assay[delta]'")
pytestmark = pytest.mark.timeout(300)
WRONG_BASE, NOT_BOOTABLE, BAD_HASH, TOO_LARGE = 17, 18, 12, 8
PATCHED = 7


@pytest.fixture
def unit(workshop: Workshop, tmp_path: Path) -> Iterator[Unit]:
    """A unit that runs 1.0.0."""
    board = QemuBoard(workshop.toml, workshop.build("rom") / "part.elf", tmp_path)
    board.make_blank()
    board.on()
    made = Unit(board)
    provision(made, workshop)
    assert "version=1.0.0" in made.reset()
    yield made
    board.close()


@dataclass(frozen=True)
class PatchMaker:
    """Patches of a workshop, as images of their own."""

    workshop: Workshop
    folder: Path

    def make(self, old: bytes, new: bytes, compression: str = "heatshrink", gives: bytes | None = None) -> bytes:
        """The signed patch from `old` to `new`; `gives`: it promises this image instead."""
        patch = io.BytesIO()
        detools.create_patch(io.BytesIO(old), io.BytesIO(new), patch, compression=compression, use_mmap=False)
        return self.sign(patch.getvalue(), image_hash(old), image_hash(gives or new))

    def sign(self, payload: bytes, base: bytes, gives: bytes) -> bytes:
        """A patch image with any content."""
        source, image = self.folder / "patch.bin", self.folder / "patch.img"
        source.write_bytes(payload)
        tlvs = {"0x00a0": self.workshop.board.encode(), "0x00a1": b"\1\0\0\0", "0x00a2": b"demo-sensor",
                "0x00a3": base, "0x00a4": gives, "0x00a5": b"\1\0\0\0"}  # fmt: skip
        words = [word for tag, value in tlvs.items() for word in ("--custom-tlv", tag, f"0x{value.hex()}")]
        size = self.workshop.layout["flash"]["areas"]["secondary"]["size"]
        imgtool("sign", "--key", str(self.workshop.key()), "--header-size", "0x200", "--pad-header", "--align", "1",
                "--slot-size", hex(size), "--version", "1.1.0", "--security-counter", "1", "--non-bootable", *words,
                str(source), str(image))  # fmt: skip
        return image.read_bytes()


def ask_for_test(unit: Unit, image: bytes) -> None:
    """Uploads a patch and asks for a test, by smpclient."""
    unit.upload(image)
    assert unit.ask(False, MEASURE, {"slot": 1})["hash"] == image_hash(image)
    assert success(unit.request(ImageStatesWrite(hash=image_hash(image))))
    state = unit.states()[1]
    assert (state["hash"], state["bootable"], state["pending"]) == (image_hash(image), False, True)


def note_of(unit: Unit, image: bytes) -> tuple[int, int, str]:
    """The newest note about an image: kind, code, reason."""
    note = next(note for note in reversed(unit.notes()) if note["hash"] == image_hash(image)[:8])
    return note["kind"], note["code"], note["reason"]


@pytest.mark.parametrize("compression", ["crle", "heatshrink", "none"])
def test_a_patch_becomes_the_image_under_test(unit: Unit, workshop: Workshop, tmp_path: Path, compression: str) -> None:
    """A small change travels as less than 5 % of the image, goes back unless it is confirmed, and stays if it is."""
    old, new = workshop.app("1.0.0"), workshop.app("1.1.0")
    patch = PatchMaker(workshop, tmp_path).make(old, new, compression)
    if compression == "none":  # as large as the image: only a board with much room takes it
        if len(patch) > workshop.layout["flash"]["areas"]["patch"]["size"]:
            assert upload_error(unit, patch) == TOO_LARGE
            return
    else:
        print(f"{workshop.board}: {len(patch)} of {len(new)} bytes, {len(patch) / len(new):.1%}, {compression}")
        assert len(patch) < 0.05 * len(new)
    for confirm in (False, True):
        ask_for_test(unit, patch)
        said = unit.reset()
        assert f"version=1.1.0 board={workshop.board} hash={image_hash(new).hex()} state=testing" in said
        assert unit.ask(False, MEASURE, {"slot": 0})["hash"] == image_hash(new)
        assert note_of(unit, patch) == (PATCHED, 0, f"{image_hash(old)[:8].hex()}>{image_hash(new)[:8].hex()}")
        if confirm:
            assert success(unit.request(ImageStatesWrite(confirm=True)))
        assert ("version=1.1.0" if confirm else "version=1.0.0") in unit.reset()
    assert unit.board.oracle_hits() == []


def test_power_lost_while_a_patch_is_applied(unit: Unit, workshop: Workshop, tmp_path: Path) -> None:
    """Cut at some moments after the reset: the unit comes up, and with the new image, without a second upload."""
    old, new = workshop.app("1.0.0"), workshop.app("1.1.0")
    patch = PatchMaker(workshop, tmp_path).make(old, new)
    for pause_ms in (5, 15, 30, 45):
        ask_for_test(unit, patch)
        with unit.console() as link:
            assert RawSmp(link).ask(2, 0, 5, {}) == {}
        time.sleep(pause_ms / 1000)
        unit.board.cycle()
        with unit.console() as link:
            wait_for(link, READY)
        if unit.ask(False, INFO)["version"] == "1.1.0":
            assert unit.ask(False, MEASURE, {"slot": 0})["hash"] == image_hash(new)
            assert "version=1.0.0" in unit.reset()
    assert unit.board.oracle_hits() == []


def test_what_cannot_be_applied_is_refused_and_the_image_stays(unit: Unit, workshop: Workshop, tmp_path: Path) -> None:
    """By the app at the end of the upload, or by the bootloader, which drops the request; recovery takes no patch."""
    maker = PatchMaker(workshop, tmp_path)
    old, new = workshop.app("1.0.0"), workshop.app("1.1.0")
    assert upload_error(unit, maker.make(new, old)) == WRONG_BASE
    room = workshop.layout["flash"]["areas"]["patch"]["size"]
    if room < workshop.layout["flash"]["areas"]["secondary"]["size"]:
        assert upload_error(unit, maker.sign(bytes(room), image_hash(old), image_hash(new))) == TOO_LARGE
    other = workshop.app("1.2.0")
    for wrong, code, reason in (
        (maker.make(old, new, gives=other), BAD_HASH, "bad-hash"),
        (maker.sign(b"\2\1\0", image_hash(old), image_hash(new)), TOO_LARGE, "too-large"),
        (maker.sign(b"\2\xbf\x7f\0", image_hash(old), image_hash(new)), 19, "bad-patch"),
    ):
        ask_for_test(unit, wrong)
        assert "version=1.0.0" in unit.reset()
        assert note_of(unit, wrong) == (3, code, reason)
        assert unit.ask(False, MEASURE, {"slot": 0})["hash"] == image_hash(old)
        assert not unit.states()[0]["pending"]
    ask_for_test(unit, maker.make(old, new))
    assert "version=1.1.0" in unit.reset()


def test_recovery_takes_no_patch(workshop: Workshop, tmp_path: Path) -> None:
    """A blank unit has nothing that a patch could be applied to."""
    board = QemuBoard(workshop.toml, workshop.build("rom") / "part.elf", tmp_path)
    board.make_blank()
    board.on()
    fresh = Unit(board)
    try:
        provision(fresh, workshop)
        patch = PatchMaker(workshop, tmp_path).make(workshop.app("1.0.0"), workshop.app("1.1.0"))
        assert upload_error(fresh, patch) == NOT_BOOTABLE
    finally:
        board.close()
