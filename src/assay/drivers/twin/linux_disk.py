# SPDX-License-Identifier: Apache-2.0
"""The disk of an emulated Linux module, as its maker delivers it, and how QEMU is given it.

The maker writes a partition table, the chip id, and what the factory knows: the unit's host key, who may log in, whose
bundles it takes, its network address. Boot script and system are written later (`medium_loader`). The machine reaches
nothing: its network is QEMU's own, cut off, but for one port of the loopback that leads to its SSH server.

Guards: each twin has a host key and a login key of its own, made with it; who connects knows the host key from the
twin's folder. Leaves to others: the MCUboot images in the areas.
"""

from __future__ import annotations

import io
import socket
import struct
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from assay.errors import InfrastructureError, UsageFault
from assay.formats.gpt import BLOCK, Partition, partition_table

if TYPE_CHECKING:
    from assay.model.board import Board

INTERFACE = "virtio"
"""`flash_interface` of a board whose flash is a disk."""
HEADER_BYTES = 0x200
ENVIRONMENT_BYTES, FLASH_BYTES = 0x40000, 64 << 20  # U-Boot's for this machine; QEMU's second flash chip
HOST_KEY_FILE, LOGIN_KEY_FILE, ENVIRONMENT_FILE, PORT_FILE = "host_key.pub", "login_key", "environment.bin", "ssh_port"
GUEST_NETWORK = "10.0.2.15/24"
"""The guest's address in QEMU's network."""
PARTITIONS = (("boot", "boot"), ("A", "primary"), ("B", "secondary"), ("data", "data"))
"""Names in the table, and the board's areas. The unit's init and RAUC's configuration know their numbers."""


@dataclass(frozen=True)
class Outfit:
    """What a Linux module gets when it is made: the factory's archive, and `files` (with modes) for the twin."""

    archive: bytes
    files: Mapping[str, tuple[int, bytes]]


def make_outfit(keyring_pem: bytes) -> Outfit:
    """New keys, and whose bundles the unit takes."""
    host, login = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    factory = {
        "ssh_host_ed25519_key": _private(host),
        "authorized_keys": _public(login) + b"\n",
        "keyring.pem": keyring_pem,
        "network": f"{GUEST_NETWORK}\n".encode(),
    }
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in factory.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o600
            tar.addfile(member, io.BytesIO(data))
    return Outfit(out.getvalue(), {HOST_KEY_FILE: (0o644, _public(host)), LOGIN_KEY_FILE: (0o600, _private(login))})


def write_disk(path: Path, board: Board, otp: bytes, archive: bytes) -> None:
    """A disk as its maker ships it; holes where nothing is. Raises `UsageFault`, OSError."""
    areas = board.flash.areas
    if "factory" not in areas or len(archive) > areas["factory"].size:
        raise UsageFault(f"board {board.name} has no room for what its factory writes", remedy="correct its areas")
    parts = tuple(Partition(name, areas[area].offset, areas[area].size) for name, area in PARTITIONS)
    content = partition_table(board.flash.size, parts, otp)
    content |= {areas["otp"].offset: otp, areas["factory"].offset: archive}
    with path.open("wb") as file:
        file.truncate(board.flash.size)
        for offset, data in content.items():
            file.seek(offset)
            file.write(data)
        file.flush()


def write_environment(path: Path, board: Board) -> None:
    """U-Boot's environment: it starts the script that lies in the area `boot`, and waits for nobody."""
    area, load = board.flash.areas["boot"], board.ram["boot"].base
    command = (
        f"virtio scan; virtio dev 0; virtio read {load:x} {area.offset // BLOCK:x} {area.size // BLOCK:x}; "
        f"source {load + HEADER_BYTES:x}"
    )
    data = f"bootdelay=0\0bootcmd={command}\0\0".encode().ljust(ENVIRONMENT_BYTES - 4, b"\0")
    with path.open("wb") as file:
        file.truncate(FLASH_BYTES)
        file.write(struct.pack("<I", zlib.crc32(data)) + data)


def arguments(folder: Path, disk_fd: int, port: int) -> tuple[str, ...]:
    """What QEMU is told beyond the machine: the disk behind an inherited socket, U-Boot's environment, network."""
    environment = str(folder / ENVIRONMENT_FILE).replace(",", ",,")
    return (
        *("-drive", f"if=none,id=disk0,format=raw,file.driver=nbd,file.server.type=fd,file.server.str={disk_fd}"),
        *("-device", "virtio-blk-device,drive=disk0"),
        *("-drive", f"if=pflash,unit=1,format=raw,readonly=on,file={environment}"),
        *("-netdev", f"user,id=net0,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22"),
        *("-device", "virtio-net-device,netdev=net0"),
    )


def choose_port(folder: Path) -> int:
    """A free port of the loopback, kept in the folder for who connects. Raises OSError."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    (folder / PORT_FILE).write_text(str(port))
    return port


def chosen_port(folder: Path) -> int:
    """The port of the twin that runs. Raises `InfrastructureError`."""
    try:
        return int((folder / PORT_FILE).read_text())
    except (OSError, ValueError) as error:
        raise InfrastructureError(
            f"twin {folder.name!r} has no SSH port", remedy="stop it and start it anew"
        ) from error


def _public(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)


def _private(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
