# SPDX-License-Identifier: Apache-2.0
"""What a flash from outside asks of a driver, whichever it is: a driver that proves nothing gives no PASS."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flash_project import FlashProject

from assay.errors import InfrastructureError, LinkError
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
        monkeypatch.setattr(driver_doors, "open_flasher", lambda *_given, **_more: driver)
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
