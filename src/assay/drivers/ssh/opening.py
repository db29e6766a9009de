# SPDX-License-Identifier: Apache-2.0
"""The door to hosts over SSH (entry point `assay.hosts: ssh`): paramiko is loaded when somebody goes through."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from assay.errors import ToolMissing
from assay.model.ssh import SshAddress

if TYPE_CHECKING:
    from assay.drivers.ssh.host import SshHost


def need_paramiko() -> None:
    """Raises ToolMissing that names the extra. What paramiko logs goes nowhere unless somebody asks for it."""
    try:
        import paramiko
    except ImportError as error:
        raise ToolMissing("SSH needs the package paramiko", remedy="pip install 'assay[ssh]'") from error
    logging.getLogger(paramiko.__name__).addHandler(logging.NullHandler())


def open_ssh(address: SshAddress) -> SshHost:
    """The host at `address`; nothing is connected yet. Raises ToolMissing."""
    need_paramiko()
    from assay.drivers.ssh.host import SshHost

    return SshHost(address)
