# SPDX-License-Identifier: Apache-2.0
"""A bench without the extras: every driver's door opens, and who needs a package is told which extra has it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner

from assay.cli.main import main
from assay.drivers.ssh.opening import open_ssh
from assay.errors import ToolMissing
from assay.model.ssh import SshAddress

PACKAGES = ("paramiko", "pyocd", "esptool", "gpiod", "textual")
"""Of the extras `ssh`, `pyocd`, `esptool`, `gpio` and `top`."""
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 43
DOORS = f"""
import sys
from importlib.metadata import distribution
sys.modules |= dict.fromkeys({PACKAGES!r})
groups = {{"assay.transports", "assay.hosts", "assay.power", "assay.flashers", "assay.servers", "assay.loaders"}}
doors = [each for each in distribution("assay").entry_points if each.group in groups]
for door in doors:
    door.load()
import assay.cli.bench_top, assay.cli.console, assay.cli.flash, assay.cli.power, assay.pytest_plugin
print(len(doors))
"""
TOP = f"""
import sys
sys.modules |= dict.fromkeys({PACKAGES!r})
sys.argv = ["assay", "bench", "top"]
from assay.cli.main import run
run()
"""


def test_every_door_opens_without_them() -> None:
    done = subprocess.run([sys.executable, "-c", DOORS], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 20


def test_ssh_without_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "paramiko", None)
    with pytest.raises(ToolMissing) as told:
        open_ssh(SshAddress(host="10.0.0.7", user="root", host_keys=(HOST_KEY,)))
    assert told.value.remedy == "pip install 'assay[ssh]'"
    monkeypatch.chdir(tmp_path)
    answer = CliRunner().invoke(main, ["bench", "host-key", "127.0.0.1"])
    assert answer.exit_code == 3 and "assay[ssh]" in answer.output, answer.output


def test_the_page_without_its_package(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    child = subprocess.Popen([sys.executable, "-c", TOP], stdin=theirs, stdout=theirs, stderr=theirs, cwd=tmp_path)
    os.close(theirs)
    said = b""
    with suppress(OSError):  # the terminal is closed at its other end
        while data := os.read(ours, 4096):
            said += data
    os.close(ours)
    assert child.wait(60) == 3
    assert b"textual is not installed" in said and b"pip install 'assay[top]'" in said, said
