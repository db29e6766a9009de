# SPDX-License-Identifier: Apache-2.0
"""What a Linux module is made of on the host: partition table, disk, RAUC bundle, against other people's tools."""

from __future__ import annotations

import hashlib
import shutil
import struct
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from assay.drivers.twin.linux_disk import choose_port, make_outfit, write_disk, write_environment
from assay.drivers.twin.medium_loader import MediumLoader
from assay.errors import DeviceTimeout, InfrastructureError, NotVerified, UsageFault
from assay.formats import der, rauc_bundle
from assay.formats.device_certificate import pem
from assay.formats.gpt import Partition, partition_table
from assay.formats.public_key import trusted_key
from assay.formats.rauc_bundle import BundleFacts
from assay.model.board import Board
from assay.model.trust import Role
from assay.pipeline.linux_places import ssh_of
from assay.pipeline.manifest_files import load_board
from assay.pipeline.places import PlaceAddress

BOARD = Path(__file__).parents[2] / "boards" / "linux-arm64.toml"
OTP = b"ASSYOTP1" + bytes(range(16))
MIB = 1 << 20


@pytest.fixture(scope="module")
def board() -> Board:
    return load_board(BOARD)


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


def sparse(path: Path, size: int, content: dict[int, bytes]) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
        for offset, data in content.items():
            file.seek(offset)
            file.write(data)
    return path


def said(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout + done.stderr


@needs("sfdisk")
def test_the_partition_table_is_one_for_sfdisk(tmp_path: Path) -> None:
    parts = (Partition("A", MIB, 4 * MIB), Partition("B", 5 * MIB, 4 * MIB))
    disk = sparse(tmp_path / "disk", 16 * MIB, partition_table(16 * MIB, parts, b"seed"))
    assert "No errors detected" in said("sfdisk", "--verify", str(disk))
    dump = said("sfdisk", "--dump", str(disk))
    assert "start=        2048, size=        8192" in dump and 'name="B"' in dump
    assert partition_table(16 * MIB, parts, b"seed") == partition_table(16 * MIB, parts, b"seed")


def test_partitions_that_overlap_are_refused() -> None:
    with pytest.raises(UsageFault, match="partition B does not fit"):
        partition_table(16 * MIB, (Partition("A", MIB, 4 * MIB), Partition("B", 2 * MIB, MIB)), b"")
    with pytest.raises(UsageFault, match="partition A does not fit"):
        partition_table(16 * MIB, (Partition("A", 12 * MIB, 4 * MIB),), b"")  # over the backup table


@needs("sfdisk")
def test_a_disk_as_its_maker_ships_it(tmp_path: Path, board: Board) -> None:
    outfit = make_outfit(b"keyring")
    write_disk(tmp_path / "disk", board, OTP, outfit.archive)
    assert "No errors detected" in said("sfdisk", "--verify", str(tmp_path / "disk"))
    factory = board.flash.areas["factory"]
    with (tmp_path / "disk").open("rb") as file:
        file.seek(factory.offset)
        archive = file.read(factory.size)
    names = subprocess.run(["tar", "t"], input=archive, capture_output=True, check=True).stdout.decode().split()
    assert names == ["ssh_host_ed25519_key", "authorized_keys", "keyring.pem", "network"]
    assert make_outfit(b"keyring").files["host_key.pub"] != outfit.files["host_key.pub"]  # each twin has its own
    assert outfit.files["login_key"][0] == 0o600


def test_the_environment_starts_the_script_behind_its_header(tmp_path: Path, board: Board) -> None:
    write_environment(tmp_path / "environment", board)
    data = (tmp_path / "environment").read_bytes()
    assert len(data) == 64 * MIB
    assert b"virtio read 41000000 800 80; source 41000200" in data[:1024]


def test_a_medium_is_written_once_and_read_back(tmp_path: Path, board: Board) -> None:
    write_disk(tmp_path / "disk", board, OTP, make_outfit(b"").archive)
    loader = MediumLoader("here", board, tmp_path / "disk", None)
    banner = loader.wait_banner(0)
    assert (banner.chip, banner.reason) == (OTP[8:], "nothing in boot, primary")
    assert loader.lacks_app()
    assert loader.send(bytes.fromhex("3db8f396") + bytes(600)) == b""  # no image that anybody could read back
    assert loader.wait_banner(0).reason == "nothing in primary"
    loader.send_app(bytes.fromhex("3db8f396") + bytes(600))
    assert not loader.lacks_app()
    with pytest.raises(DeviceTimeout, match="no medium without a system"):
        loader.wait_banner(0)
    with pytest.raises(DeviceTimeout):
        MediumLoader("there", board, None, None).wait_banner(0)


def test_a_unit_that_an_update_was_broken_off_on_is_not_blank(tmp_path: Path, board: Board) -> None:
    """It runs from the slot that the update did not write to, whichever that is."""
    write_disk(tmp_path / "disk", board, OTP, make_outfit(b"").archive)
    loader = MediumLoader("here", board, tmp_path / "disk", None)
    loader.send(bytes.fromhex("3db8f396") + bytes(600))
    with (tmp_path / "disk").open("r+b") as disk:
        disk.seek(board.flash.areas["secondary"].offset)
        disk.write(bytes.fromhex("3db8f396"))
    assert not loader.lacks_app()
    with pytest.raises(DeviceTimeout, match="no medium without a system"):
        loader.wait_banner(0)


def test_an_image_has_its_magic_when_all_else_is_durable(
    tmp_path: Path, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_disk(tmp_path / "disk", board, OTP, make_outfit(b"").archive)
    image, at = bytes.fromhex("3db8f396") + b"x" * 600, board.flash.areas["boot"].offset
    durable: list[bytes] = []
    monkeypatch.setattr("os.fsync", lambda _file: durable.append((tmp_path / "disk").read_bytes()[at : at + 604]))
    MediumLoader("here", board, tmp_path / "disk", None).send(image)
    assert durable == [bytes(4) + image[4:], image]


def test_a_place_with_a_linux_module_says_where_its_server_is(tmp_path: Path, board: Board) -> None:
    with pytest.raises(UsageFault, match="place desk has a Linux module") as told:
        ssh_of(PlaceAddress("desk", board, "nowhere"), board)
    assert "host_keys" in told.value.remedy
    outfit = make_outfit(b"")
    for name, (_, data) in outfit.files.items():
        (tmp_path / name).write_bytes(data)
    twin = PlaceAddress("twin", board, "nowhere", twin=tmp_path)
    with pytest.raises(InfrastructureError, match="has no SSH port"):
        ssh_of(twin, board)
    port = choose_port(tmp_path)
    where = ssh_of(twin, board)
    assert (where.port, where.user) == (port, "root")
    assert where.host_keys[0].split()[:2] == outfit.files["host_key.pub"][1].decode().split()[:2]


class Signed:
    """A bundle of a small image, and the key that signed it."""

    def __init__(self, folder: Path, name: str = "rauc-UNSAFE-DEVELOPMENT", compatible: str = "linux-arm64") -> None:
        from assay.backends.builders.squashfs_program import squashfs_of

        private = ec.generate_private_key(ec.SECP256R1())
        public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        key = trusted_key(public, Role.RAUC, name=name, development=True)
        sign = lambda data: private.sign(data, ec.ECDSA(SHA256()))  # noqa: E731
        image = b"an image " * 100_000
        self.facts = BundleFacts(compatible, "1.0.0", hashlib.sha256(image).hexdigest(), len(image))
        certificate = rauc_bundle.issue_certificate(key, datetime(2026, 1, 1, tzinfo=UTC), sign)
        self.squashfs = squashfs_of(rauc_bundle.IMAGE_FILE, image)
        self.data = rauc_bundle.assemble(self.squashfs, self.facts, certificate, key, sign)
        self.keyring = folder / f"{name}.pem"
        self.keyring.write_bytes(pem(certificate))
        self.file = folder / f"{name}.raucb"
        self.file.write_bytes(self.data)


def rauc(signed: Signed, keyring: Path) -> subprocess.CompletedProcess[str]:
    command = ["rauc", "info", f"--keyring={keyring}", str(signed.file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@needs("mksquashfs")
@needs("rauc")
def test_rauc_takes_a_bundle_that_it_did_not_make(tmp_path: Path) -> None:
    signed = Signed(tmp_path)
    done = rauc(signed, signed.keyring)
    assert done.returncode == 0, done.stderr
    assert "Verified inline signature" in done.stdout + done.stderr
    assert signed.facts.image_sha256 in done.stdout


@needs("mksquashfs")
@needs("rauc")
def test_rauc_refuses_a_bundle_of_another_key_or_that_was_changed(tmp_path: Path) -> None:
    signed, other = Signed(tmp_path), Signed(tmp_path, "other")
    assert "signature verification failed" in rauc(signed, other.keyring).stderr
    signed.file.write_bytes(signed.data[:-9] + bytes([signed.data[-9] ^ 1]) + signed.data[-8:])
    assert rauc(signed, signed.keyring).returncode != 0
    signed.file.write_bytes(signed.data[: len(signed.data) // 2])
    assert rauc(signed, signed.keyring).returncode != 0


@needs("mksquashfs")
def test_the_same_image_gives_the_same_squashfs(tmp_path: Path) -> None:
    one, two = Signed(tmp_path), Signed(tmp_path, "other")
    assert one.squashfs == two.squashfs
    assert one.data[: len(one.squashfs)] == two.data[: len(two.squashfs)]


@needs("mksquashfs")
def test_a_bundle_that_holds_another_image_is_not_verified(tmp_path: Path) -> None:
    signed = Signed(tmp_path)
    rauc_bundle.check_holds(signed.data, signed.facts)
    for facts in (
        BundleFacts("another", "1.0.0", signed.facts.image_sha256, signed.facts.image_size),
        BundleFacts("linux-arm64", "1.0.1", signed.facts.image_sha256, signed.facts.image_size),
        BundleFacts("linux-arm64", "1.0.0", "0" * 64, signed.facts.image_size),
    ):
        with pytest.raises(NotVerified, match="another image"):
            rauc_bundle.check_holds(signed.data, facts)
    for damaged in (b"", signed.data[:100], signed.data[:-8] + b"\xff" * 8):
        with pytest.raises(NotVerified):
            rauc_bundle.check_holds(damaged, signed.facts)


@needs("mksquashfs")
def test_words_beside_what_is_signed_are_not_the_manifest(tmp_path: Path) -> None:
    """Of an older bundle, whose signature is good, anybody can make one with another's words somewhere in it."""
    old, new = Signed(tmp_path), BundleFacts("linux-arm64", "2.0.0", "1" * 64, 7)
    words = rauc_bundle._manifest(new, "2" * 64, bytes(32), 4096)
    size = struct.unpack(">Q", old.data[-8:])[0]
    message = old.data[-8 - size : -8]
    whole = der.only(message, der.SEQUENCE).content
    beside = der.encode(der.SEQUENCE, whole, der.encode(der.OCTETS, words))
    for made in (message + words, words, beside):
        with pytest.raises(NotVerified):
            rauc_bundle.check_holds(old.data[: -8 - size] + made + struct.pack(">Q", len(made)), new)


@needs("veritysetup")
@needs("mksquashfs")
def test_the_hash_tree_is_veritysetups(tmp_path: Path) -> None:
    signed = Signed(tmp_path)
    padded = signed.squashfs + bytes(-len(signed.squashfs) % 4096)
    (tmp_path / "data").write_bytes(padded)
    (tmp_path / "tree").touch()
    text = said("veritysetup", "format", "--no-superblock", "--salt=aa", str(tmp_path / "data"), str(tmp_path / "tree"))
    tree, root = rauc_bundle.verity_tree(padded, b"\xaa")
    assert root in text
    assert (tmp_path / "tree").read_bytes()[: len(tree)] == tree
