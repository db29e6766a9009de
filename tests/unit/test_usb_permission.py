# SPDX-License-Identifier: Apache-2.0
"""A probe or device that may not be used: which one, and the udev lines to add, as they go into the file."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from assay.drivers import usb_devices
from assay.drivers.flash.openocd import open_openocd
from assay.drivers.flash.pyocd import open_pyocd
from assay.errors import LinkError

JLINK = {"idVendor": "1366", "idProduct": "1055", "manufacturer": "SEGGER", "product": "J-Link"}
RULE = 'ATTRS{idVendor}=="1366", ATTRS{idProduct}=="1055", MODE="0660", GROUP="plugdev", TAG+="uaccess"'
RULES = [f'SUBSYSTEM=="usb", {RULE}', f'KERNEL=="hidraw*", {RULE}']
Plug = Callable[..., None]


@pytest.fixture
def forbidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plug:
    """Plugs in a device that nobody but root may use."""
    nodes: list[Path] = []
    monkeypatch.setattr(usb_devices, "SYS", tmp_path / "sys")
    monkeypatch.setattr(usb_devices, "NODES", tmp_path / "bus")
    monkeypatch.setattr(usb_devices.os, "access", lambda path, _mode: path not in nodes)

    def plug(words: dict[str, str], number: int = 4) -> None:
        folder = tmp_path / "sys" / f"1-{number}"
        folder.mkdir(parents=True)
        for name, text in {**words, "busnum": "1", "devnum": str(number)}.items():
            (folder / name).write_text(text + "\n")
        nodes.append(tmp_path / "bus" / "001" / f"{number:03d}")
        nodes[-1].parent.mkdir(parents=True, exist_ok=True)
        nodes[-1].write_bytes(b"")

    return plug


@pytest.mark.parametrize("written", ["683000001", "000683000001"])
def test_a_jlink_is_known_by_its_number_however_it_is_written(tmp_path: Path, forbidden: Plug, written: str) -> None:
    forbidden({**JLINK, "serial": "000683000001"})
    with pytest.raises(LinkError, match=r"no permission for .*bus/001/004 \(USB 1366:1055 SEGGER J-Link") as told:
        open_pyocd(written, folder=tmp_path, target="nrf52840").identify()
    assert told.value.remedy.splitlines()[1:] == RULES  # each goes into the file as it is


def test_a_probe_without_a_number_is_named_too(
    tmp_path: Path, forbidden: Plug, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbidden(JLINK)
    forbidden({"idVendor": "046d", "idProduct": "c31c", "product": "Keyboard"}, 5)
    program = tmp_path / "bin" / "openocd"
    program.parent.mkdir()
    program.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo "Open On-Chip Debugger 0.12.0" && exit 0\n'
        "echo 'Error: libusb_open() failed with LIBUSB_ERROR_ACCESS'; exit 1\n"
    )
    program.chmod(stat.S_IRWXU)
    monkeypatch.setattr("shutil.which", lambda _name: str(program))
    with pytest.raises(LinkError, match="LIBUSB_ERROR_ACCESS") as told:
        open_openocd("", folder=tmp_path / "kept", config=("x.cfg",), serial=False).identify()
    assert told.value.remedy.splitlines()[1:] == RULES
