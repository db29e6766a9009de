# SPDX-License-Identifier: Apache-2.0
"""A name in a bench or board file that is nowhere is told with file and line, when somebody asks, not at the flash."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BOARD = """\
schema = "assay.board/2"
firmware = "mcuboot"
name = "theirs"
revision = 0
[serial]
baud = 115200
[mcuboot]
mode = "swap"
[[flashers]]
driver = "uf2"
[flashers.options]
family = 1
board_id = "X"
[[flashers]]
driver = "openocd"
options = { config = ["x.cfg"] }
"""
PLAIN = """\
schema = "assay.board/2"
firmware = "any"
name = "plain"
revision = 0
[[flashers]]
driver = "uf2"
options = { family = 1, board_id = "X" }
"""
CHILD = """\
schema = "assay.board/2"
name = "child"
revision = 1
inherits = "theirs"
why = "another connector"
"""
BENCH = """\
schema = "assay.bench/1"
[[places]]
name = "desk"
board = "theirs"
port = "/dev/assay-no-such-port"
flash = { uf2 = "1-2" }
power = { driver = "manual" }
[[places]]
name = "model"
board = "rv32-virt"
twin = "t1"
[[places]]
name = "bare"
board = "plain"
flash = { uf2 = "1-3" }
[[places]]
name = "kid"
board = "child"
port = "/dev/assay-no-such-port-2"
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ASSAY_LOCK_DIR", str(tmp_path / "locks"))
    (tmp_path / "boards").mkdir()
    (tmp_path / "boards" / "rv32-virt.toml").symlink_to(ROOT / "boards" / "rv32-virt.toml")
    for name, text in (("theirs", BOARD), ("plain", PLAIN), ("child", CHILD)):
        (tmp_path / "boards" / f"{name}.toml").write_text(text)
    (tmp_path / "bench.toml").write_text(BENCH)
    return tmp_path


def assay(folder: Path, *words: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "assay", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr.replace(f"{folder}/", "")


def change(folder: Path, file: str, old: str, new: str) -> None:
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("file", "old", "new", "ask", "said"),
    [
        ("boards/theirs.toml", "family", "famly", "desk", "boards/theirs.toml:12: the flasher driver 'uf2' has no"),
        ("boards/theirs.toml", 'board_id = "X"\n', "", "desk", "boards/theirs.toml:11: the flasher driver 'uf2' "),
        ("boards/theirs.toml", "family", "famly", "kid", "boards/theirs.toml:12: the flasher driver 'uf2' has no"),
        ("boards/plain.toml", '"uf2"', '"uf3"', "bare", "boards/plain.toml:6: no installed package offers the driver"),
        ("bench.toml", "uf2 =", "u2f =", "desk", "bench.toml:6: place desk: theirs has no flasher 'u2f'"),
        ("bench.toml", '"manual"', '"manuel"', "desk", "bench.toml:7: no installed package offers the driver 'manuel'"),
        ("bench.toml", '"manual"', '"manual", options = { x = 1 }', "desk", "bench.toml:7: the power driver 'manual'"),
        ("bench.toml", '"theirs"', '"thiers"', "desk", "bench.toml:4: place desk: there is no boards/thiers.toml"),
        ("bench.toml", '"t1"', '"t9"', "model", "bench.toml:11: place model: there is no place and no twin ca"),
    ],
)
def test_a_name_that_is_nowhere_has_a_line(project: Path, file: str, old: str, new: str, ask: str, said: str) -> None:
    change(project, file, old, new)
    status, told = assay(project, "bench", "ask", ask)
    assert status == 2 and said in told and "next: " in told, told


def test_a_driver_that_is_installed_elsewhere_is_only_said_to_who_does_not_want_it(project: Path) -> None:
    change(project, "boards/theirs.toml", '"openocd"', '"opencod"')
    where = "boards/theirs.toml:15: no installed package offers the driver 'opencod' of assay.flashers; did you mean"
    status, told = assay(project, "bench", "ask", "desk")
    assert (status, told.startswith(where)) == (3, True), told  # there is no port: what else is wrong is told, too
    assert "there is no port" in told
    status, told = assay(project, "bench", "ask", "desk", "--flasher", "opencod")
    assert status == 2 and where.partition(";")[0] in told


def test_a_twin_of_another_board_has_a_line(project: Path) -> None:
    (project / "boards" / "ast1030-evb.toml").symlink_to(ROOT / "boards" / "ast1030-evb.toml")
    assert assay(project, "twin", "create", "t1", "--board", "ast1030-evb")[0] == 0
    status, told = assay(project, "bench", "ask", "model")
    assert status == 2 and "bench.toml:11: place model: it has board rv32-virt, twin t1 is a ast1030-evb" in told


def test_a_power_switch_with_a_slip_is_told_by_who_switches(project: Path) -> None:
    change(project, "bench.toml", '"manual"', '"manuel"')
    status, told = assay(project, "power", "on", "desk")
    assert status == 2 and "bench.toml:7: no installed package offers the driver 'manuel'" in told
