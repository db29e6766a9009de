# SPDX-License-Identifier: Apache-2.0
"""Whose the place is, and which unit it is, before a flasher writes: labgrid is asked, and nothing is written by luck.

labgrid's client is a mock here, a script that says what the real one says; `tests/system/test_labgrid.py` has it.
"""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import Any

import pytest
from flash_project import FlashProject
from test_by_flasher import FLASHER, Mine, back

from assay.drivers.ssh import opening
from assay.interfaces.flasher import Identity
from assay.pipeline import driver_doors
from assay.pipeline.remote_places import open_host
from assay.pipeline.site import Site

CLIENT = """#!/bin/sh
# A mock of labgrid-client: -x COORDINATOR -p PLACE VERB
cd {folder}
case "$5" in
acquire) [ -f ann ] && echo "Place desk is already acquired by elsewhere/ann." && exit 1; echo acquired >> log;;
release) echo released >> log;;
show) echo "no resources";;
esac
"""
WHO = re.compile(r"does not say which unit desk is to the flasher mine|theirs has no flasher 'other'")
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGlb3l2yMDQ2RhIQ0gX9a8W7hVf3vV5mJtYyRV2w3xFd"


class Desk:
    """A project whose place is one of labgrid's, with a probe and a host; `driver` is what flashes it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(folder)
        monkeypatch.setenv("CI", "1")
        monkeypatch.setenv("ASSAY_LOCK_DIR", str(folder / "locks"))
        self.folder, self.driver = folder, Mine(read=back)
        (folder / "client").write_text(CLIENT.format(folder=folder))
        (folder / "client").chmod(stat.S_IRWXU)
        (folder / "log").touch()
        place = f'labgrid = {{ place = "desk", coordinator = "{folder.name}:1", program = "{folder / "client"}" }}'
        host = f'ssh = {{ host = "h", user = "u", host_keys = ["{KEY}"] }}'
        self.project = FlashProject(folder, FLASHER, f'probe = "P"\n{host}\n{place}')
        monkeypatch.setattr(driver_doors, "check_driver", lambda *_given: None)
        monkeypatch.setattr(driver_doors, "open_flasher", lambda *_given, **_more: self.driver)
        monkeypatch.setattr(driver_doors, "flasher_takes", lambda _name, _what: False)

    @property
    def log(self) -> list[str]:
        return (self.folder / "log").read_text().split()

    def flash(self) -> tuple[int, Any]:
        return self.project.flash("--image", self.project.file("app.bin", b"abcd"))


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path, monkeypatch)


def test_a_place_that_somebody_has_in_labgrid_is_not_flashed(desk: Desk) -> None:
    (desk.folder / "ann").touch()
    status, done = desk.flash()
    assert status == 3 and "is used by labgrid user ann on elsewhere" in done["error"], done
    assert desk.driver.did == [] and desk.log == []


def test_a_place_of_labgrid_is_acquired_for_a_flash_and_given_back(desk: Desk) -> None:
    status, done = desk.flash()
    assert (status, done["outcome"]) == (0, "PASS"), done
    assert desk.log == ["acquired", "released"]


def test_a_host_of_a_place_of_labgrid_is_acquired_too(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "need_paramiko", lambda: None)
    with open_host(Site(desk.folder / ".assay"), "desk", verb="test"):
        assert desk.log == ["acquired"]
    assert desk.log == ["acquired", "released"]


@pytest.mark.parametrize(
    ("place", "takes", "status"),
    [
        ('port = "/dev/null"', "", 2),
        ('port = "/dev/null"', "port", 0),
        ('port = "/dev/null"\nchip = "00aa"', "", 0),
        ('port = "/dev/null"\nflash = { mine = "1-2.3" }', "", 0),
        ('port = "/dev/null"\nflash = { other = "1-2.3" }', "", 2),
        (f'ssh = {{ host = "h", user = "u", host_keys = ["{KEY}"] }}', "ssh", 0),
        (f'ssh = {{ host = "h", user = "u", host_keys = ["{KEY}"] }}', "", 2),
    ],
)
def test_the_only_unit_that_is_there_is_not_taken_by_luck(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, takes: str, status: int
) -> None:
    desk = Desk(tmp_path, monkeypatch)
    FlashProject(tmp_path, FLASHER, place)
    monkeypatch.setattr(driver_doors, "flasher_takes", lambda _name, what: what == takes)
    desk.driver.says["found"] = Identity(probe="another's", chip="00aa")
    got, done = desk.flash()
    assert got == status, done
    assert ("write" in desk.driver.did) == (status == 0)
    assert status == 0 or WHO.search(done["error"])


@pytest.mark.parametrize(
    ("place", "takes", "where"),
    [
        ('port = "/dev/null"\nprobe = "P"', "port", ""),
        (f'ssh = {{ host = "h", user = "u", host_keys = ["{KEY}"] }}\nprobe = "P"', "ssh", ""),
        ('port = "/dev/null"\nprobe = "P"', "", "P"),
        ('port = "/dev/null"\nprobe = "P"\nflash = { mine = "/dev/other" }', "port", "/dev/other"),
    ],
)
def test_the_probe_of_a_place_is_no_address_of_a_flasher_with_a_way_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, takes: str, where: str
) -> None:
    desk, given = Desk(tmp_path, monkeypatch), []
    FlashProject(tmp_path, FLASHER, place)

    def opened(_driver: str, address: str, *_given: Any, **_more: Any) -> Mine:
        given.append(address)
        return desk.driver

    monkeypatch.setattr(driver_doors, "check_driver", lambda *_given: None)
    monkeypatch.setattr(driver_doors, "open_flasher", opened)
    monkeypatch.setattr(driver_doors, "flasher_takes", lambda _name, what: what == takes)
    desk.driver.says["found"] = Identity(probe=where or None, kind="it does not know any probe")
    status, done = desk.flash()
    assert (status, given) == (0, [where]), done


def test_what_the_built_in_flashers_work_over() -> None:
    names = ("dfu-util", "esptool", "openocd", "pyocd", "sftp", "uf2")
    assert [name for name in names if driver_doors.flasher_takes(name, "port")] == ["esptool"]
    assert [name for name in names if driver_doors.flasher_takes(name, "ssh")] == ["sftp"]
