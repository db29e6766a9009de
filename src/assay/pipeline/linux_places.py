# SPDX-License-Identifier: Apache-2.0
"""Places with a Linux module: the link over SSH instead of a port, and what writes a medium without a system.

Guards: the host key is the one that the bench names, or that the twin was made with. Leaves to others: locks and power
(`places`), the link (`drivers.ssh.subsystem`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from assay.errors import DeviceTimeout, LinkError, UsageFault
from assay.interfaces.device import Device, Stage
from assay.interfaces.loader import RomLoader
from assay.interfaces.place import Found
from assay.interfaces.power import Power
from assay.interfaces.transport import Transport
from assay.model.board import Board
from assay.model.ssh import SshAddress

if TYPE_CHECKING:
    from assay.drivers.twin.twin_folder import TwinFolder
    from assay.pipeline.places import PlaceAddress
    from assay.pipeline.site import Site

ANSWER_TRY_S = 1.0


@dataclass(frozen=True)
class OpenLink:
    """The open way to a unit."""

    transport: Transport
    device: Device
    loader: RomLoader


def open_link(address: PlaceAddress, board: Board, power: Power | None) -> OpenLink:
    """Connect to the unit; one whose medium has no system is not waited for.

    Raises `UsageFault` for a place without `ssh`, `LinkError`, `Refused` for another host.
    """
    from assay.drivers.mcumgr.linux_module import over_link
    from assay.drivers.ssh.subsystem import SubsystemTransport
    from assay.drivers.twin.medium_loader import MediumLoader
    from assay.drivers.twin.twin_folder import TwinFolder

    assert board.ssh is not None
    transport = SubsystemTransport(ssh_of(address, board), board.ssh.subsystem)
    medium = TwinFolder(address.twin).flash if address.twin else None
    loader = MediumLoader(transport.address, board, medium, power)
    if not loader.lacks_app():
        transport.wait_up(board.ssh.up_timeout_s)
    device = over_link(transport, board.ssh.rate, board.ssh.up_timeout_s)
    return OpenLink(transport, device, loader)


def ssh_of(address: PlaceAddress, board: Board) -> SshAddress:
    """Where the unit's SSH server is, and which key it has."""
    from assay.drivers.twin import linux_disk

    assert board.ssh is not None
    if address.ssh is not None:
        return address.ssh
    if address.twin is None:
        raise UsageFault(
            f"place {address.name} has a Linux module, and does not say where its SSH server is",
            remedy='add ssh = { host = "...", user = "...", host_keys = ["ssh-ed25519 AAAA..."] } to the place',
        )
    folder = address.twin.absolute()
    return SshAddress(
        host="127.0.0.1",
        port=linux_disk.chosen_port(folder),
        user=board.ssh.user,
        host_keys=((folder / linux_disk.HOST_KEY_FILE).read_text(),),
        identity=str(folder / linux_disk.LOGIN_KEY_FILE),
    )


def key_files(address: PlaceAddress) -> tuple[Path, ...]:
    """The files, of those that are there, that whoever connects to the unit reads beside a twin's own folder."""
    found = []
    for hop in address.ssh.way if address.ssh is not None else ():
        for name in (hop.identity, hop.certificate, f"{hop.identity}-cert.pub" if hop.identity else None):
            path = Path(name).expanduser().absolute() if name else None
            found += [path] if path is not None and path.is_file() else []
    return tuple(found)


def ask_once(device: Device, loader: RomLoader) -> tuple[Found | None, str]:
    """What is there: a medium without a system, or the agent of one."""
    try:
        return loader.wait_banner(0.0), ""
    except DeviceTimeout:
        pass
    try:
        return device.wait_ready(Stage.APP, ANSWER_TRY_S), ""
    except LinkError as silence:
        return None, silence.message


def make_twin(site: Site, name: str, board: Board) -> TwinFolder:
    """Make a twin of any board, or give the one that is there; a Linux module gets its outfit."""
    from assay.drivers.twin.twin_folder import create_twin

    if board.ssh is None:
        return create_twin(site.twins_dir, name, board)
    from assay.drivers.twin.linux_disk import make_outfit
    from assay.formats.device_certificate import pem
    from assay.pipeline.rauc_signing import certificate

    return create_twin(site.twins_dir, name, board, outfit=lambda: make_outfit(pem(certificate(site))))
