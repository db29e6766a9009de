# SPDX-License-Identifier: Apache-2.0
"""The conformance suite of hosts: our driver passes with a real sshd, and drivers that break their word do not."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from ssh_server import SshServer, needs_sshd, ssh_server
from test_conformance import conform, passed_all

pytestmark = [needs_sshd, pytest.mark.timeout(300)]

BROKEN = """
import json
from assay.drivers.ssh.sftp_flasher import open_sftp
from assay.model.ssh import SshAddress

def unit(address, *, at):
    fields = {key: tuple(value) if isinstance(value, list) else value for key, value in json.loads(at).items()}
    return open_sftp(ssh=SshAddress(**{**fields, **({"port": 1} if address else {})}))

from assay.drivers.ssh import command, upload
from assay.drivers.ssh.opening import open_ssh

def unquoted(address):
    command.command_text = lambda argv: " ".join(argv)
    return open_ssh(address)

def credulous(address):
    upload.Upload._is_good = lambda self, part, file, size: part <= size
    upload.Upload._check_part = lambda self: None
    return open_ssh(address)
"""


def options(server: SshServer) -> list[str]:
    address = server.address().model_dump(exclude_defaults=True)
    return [word for key, value in address.items() for word in ("--assay-driver-option", f"{key}={json.dumps(value)}")]


def test_our_driver_conforms(tmp_path: Path) -> None:
    with ssh_server(tmp_path / "sshd") as server:
        done = conform(tmp_path, "hosts", "--assay-driver=ssh", *options(server))
    passed_all(done, 14)


def test_the_sftp_flasher_conforms(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)
    with ssh_server(tmp_path / "sshd") as server:
        at = f"--assay-driver-option=at={server.address().model_dump_json(exclude_defaults=True)}"
        where = f"--assay-flash-at={tmp_path.resolve() / 'x.bin'}"
        done = conform(tmp_path, "flashers", "--assay-driver=broken:unit", "--assay-driver-absent=gone", at, where)
    passed_all(done, 7)


@pytest.mark.parametrize(
    ("driver", "fails"),
    [("unquoted", "test_words_arrive_as_they_left"), ("credulous", "test_it_goes_on_behind_what_is_right_only")],
)
def test_a_driver_that_breaks_its_word_does_not(tmp_path: Path, driver: str, fails: str) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)
    with ssh_server(tmp_path / "sshd") as server:
        done = conform(tmp_path, "hosts", f"--assay-driver=broken:{driver}", "-k", fails, *options(server))
    assert done.returncode == 1 and re.search(rf"FAILED .*{fails}", done.stdout), done.stdout
