# SPDX-License-Identifier: Apache-2.0
"""What the firmware's tests share: a workshop for each board, and the core built for this host. A board without its
QEMU is skipped, with the reason."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "firmware" / "tests"))

from run_host import make_program
from signed_build import Workshop

BOARDS = ("ast1030-evb", "rv32-virt")


@pytest.fixture(scope="session", params=BOARDS)
def workshop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Builds for one board. The cache holds compiler output by content only, so it may live on between runs."""
    assert request.config.cache is not None
    cache = Path(request.config.cache.mkdir("firmware"))
    made = Workshop(request.param, tmp_path_factory.mktemp(request.param), cache)
    qemu = made.layout["twin"]["qemu"]
    if shutil.which(qemu) is None:
        pytest.skip(f"{qemu} is not installed: apt-get install {made.layout['twin']['package']}")
    return made


@pytest.fixture(scope="session")
def host_program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The core's test program for this host, under sanitizers, which also verifies signatures and applies patches."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler for this host: apt-get install gcc")
    assert request.config.cache is not None
    return make_program(tmp_path_factory.mktemp("host-program"), Path(request.config.cache.mkdir("firmware")))
