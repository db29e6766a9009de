# SPDX-License-Identifier: Apache-2.0
"""UF2: the format, and boards whose bootloader is a disk: a folder with a mock of a bootloader, and a real FAT."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from flash_project import FlashProject
from policy_sample import pack_text
from uf2_bootloader import INFO, Uf2Bootloader

from assay.cli.flash import command
from assay.drivers.flash import uf2_volume
from assay.errors import LinkError, NotVerified, Refused, UsageFault
from assay.formats.intel_hex import read_intel_hex
from assay.formats.uf2 import Segment, read_uf2, write_uf2
from assay.interfaces.flasher import Part
from assay.pipeline.policy_adoption import adopt
from assay.pipeline.policy_files import policy_engine
from assay.pipeline.site import Site
from assay.pipeline.trust_file import site_trust, write_trust

RP2040 = 0xE48BFF56
FLASHER = """
[[flashers]]
driver = "uf2"
kind = "RPI-RP2"
addresses = { image = 0x10000000 }
memory = [{ base = 0x10000000, size = 0x10000 }]
options = { family = 0xe48bff56, board_id = "RPI-RP2", taken_timeout_s = 10 }
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FlashProject:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CI", "1")
    return FlashProject(tmp_path, FLASHER, f'flash = {{ uf2 = "{tmp_path / "volume"}" }}')


def nothing(_done: int, _all: int) -> None:
    """No progress is shown."""


def block(number: int, count: int, address: int, data: bytes, flags: int = 0x2000, family: int = RP2040) -> bytes:
    head = struct.pack("<8I", 0x0A324655, 0x9E5D5157, flags, address, len(data), number, count, family)
    return head + data.ljust(476, b"\0") + struct.pack("<I", 0x0AB16F30)


def test_what_is_written_is_read_again() -> None:
    data = bytes(range(256)) * 3 + b"end"
    read = read_uf2(write_uf2([(0x10000000, data), (0x10008000, b"more")], RP2040))
    assert [family for family, _ in read.families] == [RP2040]
    first, second = read.families[0][1]
    assert (first.address, first.data) == (0x10000000, data.ljust(1024, b"\0"))
    assert (second.address, second.data[:4]) == (0x10008000, b"more")


def test_tags_other_areas_and_the_order_of_blocks() -> None:
    """An extension tag behind the payload, a block that is not for the flash, blocks that come in another order."""
    tag = struct.pack("<B", 12) + (0x9FC7BC).to_bytes(3, "little") + b"1.2.3\0\0\0"
    payload = b"A" * 256
    tagged = bytearray(block(1, 2, 0x100, payload, flags=0xA000))
    tagged[32 + 256 : 32 + 256 + len(tag)] = tag
    raw = bytes(tagged) + block(0, 1, 0, b"x" * 100, flags=0x2001) + block(0, 2, 0, b"B" * 256)
    assert read_uf2(raw).families == ((RP2040, (Segment(0, b"B" * 256 + payload),)),)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "no whole number of blocks"),
        (b"x" * 512, "no UF2 magic"),
        (block(0, 2, 0, b"a" * 256), "missing, or there twice"),
        (block(0, 1, 0, b"a" * 256) * 2, "missing, or there twice"),
        (block(0, 2, 0, b"a" * 256) + block(1, 2, 128, b"b" * 256), "two blocks .* write to 0x80"),
        (block(0, 1, 0xFFFFFF80, b"a" * 256), "256 bytes at 0xffffff80"),
        (block(1, 1, 0, b"a" * 256), "number 1 of 1"),
        (block(0, 1, 0, b"x", flags=0x1), "no block is for the main flash"),
    ],
)
def test_a_damaged_file_is_not_used(raw: bytes, why: str) -> None:
    with pytest.raises(NotVerified, match=why):
        read_uf2(raw)


def test_a_binary_goes_to_the_board(project: FlashProject, tmp_path: Path) -> None:
    data = os.urandom(5000)
    with Uf2Bootloader(tmp_path / "volume") as bootloader:
        status, done = project.flash("--image", project.file("app.bin", data))
    assert (status, done["outcome"]) == (0, "PASS"), done
    assert bootloader.held(0x10000000, len(data)) == data
    assert done["found"]["kind"] == "RPI-RP2" and done["found"]["facts"]["Model"] == "Raspberry Pi RP2"
    record = project.record(done)
    assert record["type"] == "urn:assay:predicate:tool-flash:v1"
    assert [(each["by"], each["where"], each["size"]) for each in record["read_back"]] == [
        ("accepted", "0x10000000", 5000)
    ]
    assert record["images"][0]["signature"] == "none" and project.log_verifies()


def test_a_dry_run_touches_nothing(project: FlashProject) -> None:
    status, done = project.flash("--image", project.file("app.bin", b"a" * 300), "--dry-run")
    assert (status, done["outcome"], done["record"]) == (0, None, None)
    assert [(each["what"], each["where"], each["size"]) for each in done["plan"]][1] == ("write", 0x10000000, 300)


def test_a_dry_run_says_what_will_be_refused(project: FlashProject) -> None:
    words = ["--image", project.file("app.bin", b"a" * 300), "--place", "desk", "--dry-run"]
    words += ["--trust", str(project.folder / "trust.toml"), "--site", str(project.folder / ".assay")]
    refused = "without --accept-unverified-image it will be refused"
    said = CliRunner().invoke(command, words)
    assert said.exit_code == 0 and refused in " ".join(said.output.split())
    assert refused not in " ".join(CliRunner().invoke(command, [*words, "--accept-unverified-image"]).output.split())


def test_what_nobody_signed_needs_a_word(project: FlashProject) -> None:
    status, done = project.flash("--image", project.file("app.bin", b"a" * 300), accept=False)
    assert status == 4 and "nobody can tell who made it" in done["error"]


def test_where_a_policy_decides_a_file_that_is_no_release_is_refused(project: FlashProject, tmp_path: Path) -> None:
    file, site = project.file("app.bin", b"a" * 300), Site(tmp_path / ".assay")
    trust = site_trust(site, "all", allow_development=True)
    write_trust(tmp_path / "trust.toml", trust, replace=True)
    (tmp_path / "strict.toml").write_text(pack_text("false"))
    adopt(site, tmp_path / "strict.toml", "for the tests", trust, policy_engine(), untested="for the tests")
    with Uf2Bootloader(tmp_path / "volume") as bootloader:
        status, done = project.flash("--image", file)
        assert status == 4 and "policy 'strict' 1.0.0 decides at flash here" in done["error"]
        assert bootloader.held(0x10000000, 300) != b"a" * 300
        status, done = project.flash("--image", file, "--unsafe-skip-policy", "bring-up")
    assert status == 0, done
    assert project.record(done)["run"]["policy"] == {"decisions": [], "skipped": "bring-up"}


@pytest.mark.parametrize(
    ("data", "status", "words"),
    [
        (write_uf2([(0x10000000, b"a")], 0xADA52840), 4, "family 0xada52840, the board takes 0xe48bff56"),
        (write_uf2([(0x20000000, b"a")], RP2040), 4, "256 bytes at 0x20000000 do not fit"),
        (b"a" * 0x10001, 4, "65537 bytes at 0x10000000 do not fit"),
        (write_uf2([(0x10000000, b"a")], RP2040)[:-1] + b"x", 4, "no UF2 magic"),
    ],
)
def test_what_does_not_fit_is_refused(
    project: FlashProject, tmp_path: Path, data: bytes, status: int, words: str
) -> None:
    with Uf2Bootloader(tmp_path / "volume") as bootloader:
        got, done = project.flash("--image", project.file("app.uf2", data))
    assert (got, bootloader.memory) == (status, {}), done
    assert words in done["error"]


def test_another_board_in_its_bootloader(project: FlashProject, tmp_path: Path) -> None:
    with Uf2Bootloader(tmp_path / "volume", board="nRF52840-Feather"):
        status, done = project.flash("--image", project.file("app.bin", b"a" * 300))
    assert status == 3 and "there is no UF2 volume RPI-RP2" in done["error"] and "nRF52840-Feather" in done["remedy"]


def test_a_bootloader_that_does_not_take_it(project: FlashProject, tmp_path: Path) -> None:
    with Uf2Bootloader(tmp_path / "volume", keeps=True):
        status, done = project.flash("--image", project.file("app.bin", b"a" * 300))
    assert status == 3 and "waited 10 s for" in done["error"] and "did not take the file" in done["error"]


def test_a_volume_that_came_back_is_read_and_compared(tmp_path: Path) -> None:
    flasher = uf2_volume.open_uf2(str(tmp_path), family=RP2040, board_id="RPI-RP2", taken_timeout_s=5.0)
    plan = flasher.plan([Part("app", 0x10000000, b"a" * 300)])
    (tmp_path / "INFO_UF2.TXT").write_text(INFO.format(board="RPI-RP2"))
    (tmp_path / "CURRENT.UF2").write_bytes(write_uf2([(0x10000000, b"a" * 300)], RP2040))
    assert [each.by for each in flasher.read_back(plan, nothing)] == ["bytes"]
    (tmp_path / "CURRENT.UF2").write_bytes(write_uf2([(0x10000000, b"a" * 299 + b"b")], RP2040))
    with pytest.raises(Exception, match="does not hold what was written to 0x10000000"):
        flasher.read_back(plan, nothing)


def test_two_volumes_are_a_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The RP2040's ROM has one serial number for all: only the socket tells them apart."""
    mounts, blocks = "", tmp_path / "block"
    for number in (1, 2):
        volume = tmp_path / f"RPI RP2{number}"
        volume.mkdir()
        (volume / "INFO_UF2.TXT").write_text(INFO.format(board="RPI-RP2"))
        mounts += f"/dev/sd{number}1 {str(volume).replace(' ', chr(92) + '040')} vfat rw 0 0\n"
    (tmp_path / "mounts").write_text(mounts + "proc /proc proc rw 0 0\n")
    monkeypatch.setattr(uf2_volume, "MOUNTS", tmp_path / "mounts")
    monkeypatch.setattr(uf2_volume, "BLOCKS", blocks)
    monkeypatch.setattr(
        uf2_volume, "_usb_of", lambda path: ("E0C9125B0D9B", "1-2.1" if path.name.endswith("1") else "1-2.2")
    )
    flasher = uf2_volume.open_uf2("E0C9125B0D9B", family=RP2040, board_id="RPI-RP2")
    with pytest.raises(UsageFault, match=r"2 UF2 volumes can be it: .*socket 1-2.1.*socket 1-2.2"):
        flasher.identify()
    assert uf2_volume.open_uf2("1-2.2", family=RP2040, board_id="RPI-RP2").identify().probe == "E0C9125B0D9B"
    with pytest.raises(LinkError, match=r"there is no UF2 volume RPI-RP2 at 1-2\.7"):
        uf2_volume.open_uf2("1-2.7", family=RP2040, board_id="RPI-RP2").identify()


def test_the_usb_device_of_a_mounted_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    number = tmp_path.stat().st_dev
    usb = tmp_path / "devices" / "usb1" / "1-2.3"
    disk = usb / "1-2.3:1.0" / "host3" / "block" / "sda" / "sda1"
    disk.mkdir(parents=True)
    (disk / "dev").write_text(f"{os.major(number)}:{os.minor(number)}\n")
    (usb / "idVendor").write_text("2e8a\n")
    (usb / "serial").write_text("E0C9125B0D9B\n")
    (tmp_path / "block").mkdir()
    (tmp_path / "block" / "sda1").symlink_to(disk)
    monkeypatch.setattr(uf2_volume, "BLOCKS", tmp_path / "block")
    (tmp_path / "INFO_UF2.TXT").write_text(INFO.format(board="RPI-RP2"))
    found = uf2_volume.open_uf2(str(tmp_path), family=RP2040, board_id="RPI-RP2").identify()
    assert found.probe == "E0C9125B0D9B" and dict(found.facts)["socket"] == "1-2.3"


@pytest.fixture
def fat(tmp_path: Path) -> Iterator[Path]:
    """A FAT file system in a file, mounted by FUSE (this kernel may have no vfat)."""
    if shutil.which("fusefat") is None or not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("needs the Debian package fusefat, and /dev/fuse")
    image, folder = tmp_path / "fat.img", tmp_path / "RPI-RP2"
    image.write_bytes(b"")
    os.truncate(image, 4 << 20)
    subprocess.run(
        [shutil.which("mkfs.vfat") or "/usr/sbin/mkfs.vfat", "-n", "RPI-RP2", image], check=True, capture_output=True
    )
    folder.mkdir()
    subprocess.run(["fusefat", "-o", "rw+", image, folder], check=True, capture_output=True)
    (folder / "INFO_UF2.TXT").write_text(INFO.format(board="RPI-RP2"))
    yield folder
    subprocess.run(["fusermount", "-u", folder], check=False, capture_output=True)


def test_a_real_fat_that_is_found_by_its_board_id(fat: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The volume is found among the mounts; the file on it is what was meant, as mtools reads it."""
    flasher = uf2_volume.open_uf2("", family=RP2040, board_id="RPI-RP2", taken_timeout_s=0.2)
    found = flasher.identify()
    assert found.kind == "RPI-RP2" and dict(found.facts)["volume"] == str(fat)
    plan = flasher.plan([Part("app", 0x10000000, b"a" * 70000)])
    with pytest.raises(Exception, match="did not take the file"):
        flasher.write(plan, nothing)
    subprocess.run(["fusermount", "-u", fat], check=True)
    read = subprocess.run(["mtype", "-i", tmp_path / "fat.img", "::ASSAY.UF2"], capture_output=True, check=True).stdout
    assert read == write_uf2([(0x10000000, b"a" * 70000)], RP2040)
    with pytest.raises(LinkError):
        flasher.identify()


def test_a_hex_file_brings_its_addresses(project: FlashProject, tmp_path: Path) -> None:
    text = ":020000041000EA\n:0400000001020304F2\n:041000000506070AD0\n:00000001FF\n"
    assert read_intel_hex(text.encode()) == ((0x10000000, b"\1\2\3\4"), (0x10001000, b"\5\6\7\n"))
    with Uf2Bootloader(tmp_path / "volume") as bootloader:
        status, done = project.flash("--image", project.file("app.hex", text.encode()))
    assert status == 0, done
    assert bootloader.held(0x10000000, 4) == b"\1\2\3\4" and bootloader.held(0x10001000, 4) == b"\5\6\7\n"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (":0400000001020304F3\n:00000001FF\n", "line 1 is no record"),
        (":0400000001020304F2\n", "no end record"),
        (":0400000001020304F2\n:0100020001FC\n:00000001FF\n", "writes to 0x2 twice"),
        (":00000001FF\n:00000001FF\n", "line 2 goes on"),
        (":00000009F7\n:00000001FF\n", "unknown type 9"),
    ],
)
def test_a_damaged_hex_file_is_not_used(text: str, why: str) -> None:
    with pytest.raises(NotVerified, match=why):
        read_intel_hex(text.encode())


def test_a_binary_needs_an_address(tmp_path: Path) -> None:
    flasher = uf2_volume.open_uf2(str(tmp_path), family=RP2040, board_id="RPI-RP2")
    with pytest.raises(UsageFault, match="without an address"):
        flasher.plan([Part("app", None, b"a")])
    with pytest.raises(Refused):
        flasher.plan([Part("app", None, write_uf2([(0, b"a")], 1))])
    with pytest.raises(UsageFault, match="no UF2 family"):
        uf2_volume.open_uf2("", family=0, board_id="x")


def test_an_emulated_board_is_refused_by_flasher_where_trust_says_so(tmp_path: Path, project: FlashProject) -> None:
    file = tmp_path / "boards" / "theirs.toml"
    file.write_text(file.read_text().replace("revision = 0", "revision = 0\nemulated = true"))
    with Uf2Bootloader(tmp_path / "volume") as bootloader:
        status, done = project.flash("--image", project.file("app.bin", b"a" * 300))
    assert status == 4 and "is emulated, which 'test' refuses" in done["error"], done
    assert not bootloader.memory
