# SPDX-License-Identifier: Apache-2.0
"""What a flash from outside asks of a driver, whichever it is: a driver that proves nothing gives no PASS."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from flash_project import FlashProject
from test_flash_openocd import ends

from assay.cli.bench_ask import ask
from assay.errors import InfrastructureError, LinkError, UsageFault
from assay.interfaces.flasher import Action, FlashPlan, Identity, ReadBack
from assay.pipeline import driver_doors

FLASHER = '[[flashers]]\ndriver = "mine"\naddresses = { app = 0x1000 }\nmemory = [{ base = 0x1000, size = 4096 }]\n'


class Mine:
    """A flasher without a board; what it answers is put in."""

    name = "mine"

    def __init__(self, **says: Any) -> None:
        self.says = {"found": Identity(probe="P"), "read": lambda plan: plan, "at": 0, **says}
        self.did: list[str] = []

    def identify(self) -> Identity:
        return self.says["found"]  # type: ignore[no-any-return]

    def plan(self, parts: Any) -> FlashPlan:
        return FlashPlan(tuple(parts), tuple(Action("write", (), p.where + self.says["at"], p.size) for p in parts))

    def write(self, plan: FlashPlan, progress: Any) -> None:
        self.did.append("write")
        if error := self.says.get("breaks"):
            raise error

    def read_back(self, plan: FlashPlan, progress: Any) -> tuple[ReadBack, ...]:
        return self.says["read"](plan)  # type: ignore[no-any-return]

    def reset(self) -> None:
        self.did.append("reset")

    def close(self) -> None:
        self.did.append("close")


Flash = Callable[[Mine], tuple[int, Any]]


@pytest.fixture
def flash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Flash:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CI", "1")
    project = FlashProject(tmp_path, FLASHER, 'probe = "P"')

    def run(driver: Mine) -> tuple[int, Any]:
        monkeypatch.setattr(driver_doors, "check_driver", lambda *_given: None)
        monkeypatch.setattr(driver_doors, "open_flasher", lambda *_given, **_more: driver)
        monkeypatch.setattr(driver_doors, "flasher_takes", lambda _name, _what: False)
        return project.flash("--image", project.file("app.bin", b"abcd"))

    return run


def back(plan: FlashPlan, **changed: Any) -> tuple[ReadBack, ...]:
    part = plan.parts[0]
    words = {"name": part.name, "where": part.where, "size": part.size, "sha256": part.sha256, "by": "bytes", **changed}
    return (ReadBack(**words),)


def test_one_that_keeps_its_word_is_closed_before_the_verdict(flash: Flash) -> None:
    mine = Mine(read=back)
    assert flash(mine)[0] == 0
    assert mine.did == ["write", "reset", "close", "close"]


@pytest.mark.parametrize(
    "read",
    [
        lambda plan: (),
        lambda plan: back(plan, name="another"),
        lambda plan: back(plan, size=3),
        lambda plan: back(plan, sha256="0" * 64),
    ],
)
def test_one_that_proves_nothing_gives_no_pass(flash: Flash, read: Any) -> None:
    status, done = flash(Mine(read=read))
    assert status == 3 and "does not prove that app is there" in done["error"], done


def test_a_plan_that_writes_elsewhere_is_refused(flash: Flash) -> None:
    mine = Mine(read=back, at=0x1000)
    status, done = flash(mine)
    assert status == 4 and "4 bytes at 0x2000 do not fit" in done["error"] and mine.did == ["close"], done


def test_another_probe_is_refused(flash: Flash) -> None:
    mine = Mine(read=back, found=Identity(probe="Q"))
    status, done = flash(mine)
    assert status == 4 and "on desk is probe Q, the bench says P" in done["error"] and mine.did == ["close"], done


def test_a_probe_that_cannot_be_told_is_refused(flash: Flash) -> None:
    status, done = flash(Mine(read=back, found=Identity(kind="x")))
    assert status == 4 and "is one whose probe cannot be told" in done["error"], done


@pytest.mark.parametrize(
    "error", [LinkError("the cable is gone", remedy="plug it in"), InfrastructureError("x", remedy="y")]
)
def test_a_link_that_breaks_is_an_error_and_the_flasher_is_closed(flash: Flash, error: Exception) -> None:
    mine = Mine(read=back, breaks=error)
    assert flash(mine)[0] == 3
    assert mine.did == ["write", "close"]


def test_who_is_there_can_be_asked_without_a_flash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    FlashProject(tmp_path, FLASHER, 'probe = "P"')
    mine = Mine(found=Identity("Q", "00aa", "a kind", (("flash", "4MB"),)))
    monkeypatch.setattr(driver_doors, "check_driver", lambda *_given: None)
    monkeypatch.setattr(driver_doors, "open_flasher", lambda *_given, **_more: mine)
    monkeypatch.setattr(driver_doors, "flasher_takes", lambda _name, _what: False)
    asked = CliRunner().invoke(ask, ["desk", "--json", "--site", str(tmp_path / ".assay")])
    told = json.loads(asked.stdout)
    assert (told["probe"], told["chip"], told["kind"], told["flasher"]) == ("Q", "00aa", "a kind", "mine")
    assert mine.did == ["close"]


def test_the_layer_of_a_fault_is_the_flasher(flash: Flash) -> None:
    assert flash(Mine(breaks=LinkError("the cable is gone", remedy="plug it in")))[1]["layer"] == "flasher"


TOOL = """#!/bin/sh
[ "$1" = --version ] && echo "Open On-Chip Debugger 0.12.0" && exit 0
case "$*" in *write_image*) echo $$ > started; sleep 300;; esac
exit 0
"""
OPENOCD = """
[[flashers]]
driver = "openocd"
addresses = { app = 0x1000 }
options = { config = ["x.cfg"] }
"""


def test_ctrl_c_ends_the_tool_and_says_what_the_unit_is_left_with(tmp_path: Path) -> None:
    project = FlashProject(tmp_path, OPENOCD, 'probe = "P"')
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "openocd").write_text(TOOL)
    (tmp_path / "bin" / "openocd").chmod(stat.S_IRWXU)
    words = ["flash", "--image", project.file("app.bin", b"abcd"), "--place", "desk", "--trust", "trust.toml"]
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "CI": "1"}
    command = [sys.executable, "-m", "assay", *words, "--accept-unverified-image"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        started = tmp_path / "started"
        for _ in range(900):
            if started.exists() and started.read_text().strip():
                break
            time.sleep(0.1)
        tool = int(started.read_text())
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=200)[0]
    assert process.returncode == 3 and "its memory was written in part, and it may not start" in said, said
    assert ends(tool)


def test_a_place_without_a_port_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageFault, match="no port that could be opened, only its probe:P"):
        driver_doors.open_transport("probe:P", 115200)
