# SPDX-License-Identifier: Apache-2.0
"""Other people's Zephyr and MCUboot in QEMU, flashed through the command line with nothing but a board TOML."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from foreign_zephyr import board_toml, hash_of, image_of, native, needs_native, needs_zephyr, running

pytestmark = [needs_zephyr, pytest.mark.timeout(900)]

BOARDS = {
    "microbit": board_toml("theirs", "swap", "qemu_cortex_m0"),
    "mps2": board_toml("theirs", "ram-load", "mps2/an385", '[recovery]\nenter = "reset"\nparameters = true\n'),
}


@dataclass(frozen=True)
class Bench:
    """A project with one board TOML of somebody else's, and its unit on a port."""

    folder: Path

    def assay(self, *arguments: str | Path, expect: int = 0) -> Any:
        """Run a verb with --json; gives its answer, with what was said beside it under `told`."""
        command = [sys.executable, "-m", "assay", *map(str, arguments), "--json"]
        surroundings = {key: value for key, value in os.environ.items() if not key.startswith("ASSAY_")}
        done = subprocess.run(
            command, cwd=self.folder, env=surroundings | {"CI": "1"}, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == expect, (done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return json.loads(done.stdout) | {"told": done.stderr}

    def flash(self, image: Path, *more: str, expect: int = 0) -> Any:
        return self.assay("flash", "--image", image, "--place", "theirs", "--trust", "trust.toml", *more, expect=expect)


UNSIGNED = "--accept-unverified-image"


def bench(folder: Path, board: str, port: str) -> Bench:
    (folder / "boards").mkdir()
    (folder / "boards" / "theirs.toml").write_text(board)
    (folder / "bench.toml").write_text(
        f'schema = "assay.bench/1"\n[[places]]\nname = "theirs"\nboard = "theirs"\nport = "{port}"\n'
    )
    made = Bench(folder)
    made.assay("keys", "trust", "--allow-emulated", "--allow-development", "--out", "trust.toml")
    return made


@pytest.fixture
def microbit(tmp_path: Path) -> Iterator[Bench]:
    """Cortex-M0: MCUboot swaps."""
    with running("microbit") as port:
        yield bench(tmp_path, BOARDS["microbit"], port)


@pytest.fixture
def mps2(tmp_path: Path) -> Iterator[Bench]:
    """Cortex-M3: MCUboot loads into RAM, and has a serial recovery."""
    with running("mps2") as port:
        yield bench(tmp_path, BOARDS["mps2"], port)


def test_a_swap_by_the_app(microbit: Bench, tmp_path: Path) -> None:
    image = image_of("microbit", tmp_path / "new.bin", "1.1.0")
    refused = microbit.flash(image, expect=4)
    assert "not signed" in refused["error"] and UNSIGNED in refused["remedy"]
    done = microbit.flash(image, UNSIGNED)
    assert (done["outcome"], done["way"], done["how"]) == ("PASS", "app", "quoted")
    assert done["read_back"] == [{"number": 0, "slot": 0, "image_hash": hash_of(image)}]
    assert any(line.startswith("identity") for line in done["cannot"])
    again = microbit.flash(image, UNSIGNED)
    assert (again["way"], again["bytes_sent"]) == ("none", 0)
    verified = microbit.assay("log", "verify", "--trust", "trust.toml")
    assert verified["log"]["records"] == 2


def test_ram_load_by_the_app_and_by_recovery(mps2: Bench, tmp_path: Path) -> None:
    image = image_of("mps2", tmp_path / "new.bin", "1.1.0")
    done = mps2.flash(image, UNSIGNED)
    assert (done["way"], done["read_back"][0]["slot"]) == ("app", 1)
    older = image_of("mps2", tmp_path / "older.bin", "1.0.0")
    assert "not higher than 1.1.0" in mps2.flash(older, UNSIGNED, expect=4)["error"]


def test_an_empty_chip_by_recovery(tmp_path: Path) -> None:
    """MCUboot finds nothing to start and waits; its recovery takes the app, which then tells its hash."""
    with running("mps2-empty") as port:
        empty = bench(tmp_path, BOARDS["mps2"], port)
        image = image_of("mps2", tmp_path / "first.bin", "1.0.0")
        done = empty.flash(image, UNSIGNED)
        assert (done["outcome"], done["way"]) == ("PASS", "recovery")
        assert done["read_back"] == [{"number": 0, "slot": 0, "image_hash": hash_of(image)}]
        newer = image_of("mps2", tmp_path / "newer.bin", "1.1.0")
        again = empty.flash(newer, UNSIGNED, "--recovery")
        assert (again["way"], again["read_back"][0]["slot"]) == ("recovery", 0)


def test_raw_framing(tmp_path: Path) -> None:
    raw = BOARDS["mps2"].replace("baud = 115200", 'baud = 115200\nframing = "raw"')
    with running("mps2-raw") as port:
        theirs = bench(tmp_path, raw.replace('enter = "reset"', 'enter = "reset"\nframing = "raw"'), port)
        assert theirs.flash(image_of("mps2-raw", tmp_path / "new.bin", "1.1.0"), UNSIGNED)["way"] == "app"


def test_another_board_on_the_port(tmp_path: Path) -> None:
    with running("microbit") as port:
        theirs = bench(tmp_path, BOARDS["mps2"], port)
        image = image_of("mps2", tmp_path / "new.bin", "1.1.0")
        refused = theirs.flash(image, UNSIGNED, expect=4)
        assert "qemu_cortex_m0" in refused["error"] and "nothing was written" in refused["remedy"]


def test_our_verbs_say_what_such_a_board_cannot_do(microbit: Bench) -> None:
    for verb in (["evidence"], ["flash", "demo-sensor@1.0.0"]):
        refused = microbit.assay(*verb, "--place", "theirs", "--trust", "trust.toml", expect=2)
        assert "no identity" in refused["error"] and "assay flash --image" in refused["remedy"]


def test_what_is_on_the_board(microbit: Bench) -> None:
    told = microbit.assay("bench", "ask", "theirs")
    assert (told["stage"], told["buf_size"], told["buf_count"]) == ("app", 384, 4)
    assert [(row["slot"], row["active"]) for row in told["slots"]] == [(0, True)]


@needs_native
@pytest.mark.parametrize(
    ("server", "framing", "buffers"),
    [
        ("serial_buf96", "console", (96, 4)),
        ("serial_noparams", "console", (256, 1)),
        ("serial_raw", "raw", (384, 4)),
        ("serial", "auto", (384, 4)),
        ("shell", "console", (384, 4)),
        ("udp", "raw", (2048, 2)),
    ],
)
def test_servers_of_every_kind_answer(tmp_path: Path, server: str, framing: str, buffers: tuple[int, int]) -> None:
    board = board_toml("theirs", "swap", "native_sim").replace("baud = 115200", f'baud = 115200\nframing = "{framing}"')
    with native(server, tmp_path) as port:
        theirs = bench(tmp_path, board, port)
        told = theirs.assay("bench", "ask", "theirs")
        assert (told["stage"], (told["buf_size"], told["buf_count"]), told["slots"]) == ("app", buffers, None)
        image = image_of("microbit", tmp_path / "new.bin", "1.1.0")
        assert "knows no images" in theirs.flash(image, UNSIGNED, expect=3)["error"]


SUITE = """
import pytest


def test_answers(unit, smp):
    assert unit.serial is None and unit.says and not hasattr(unit, "release")
    assert smp.echo("hello") == "hello"


def test_comes_back_after_a_reset(smp, console):
    smp.ask_reset()


def test_still_runs_the_image(unit):
    assert [row.version for row in unit.slots if row.active] == ["1.1.0"]


def test_has_no_switch(power):
    power.cycle()
"""


def suite(folder: Path, text: str = SUITE) -> Path:
    (folder / "suite").mkdir()
    (folder / "suite" / "test_theirs.py").write_text(text)
    return folder / "suite"


def test_a_suite_with_nothing_but_a_board_toml(mps2: Bench, tmp_path: Path) -> None:
    image = image_of("mps2", tmp_path / "new.bin", "1.1.0")
    words = ["test", suite(tmp_path), "--place", "theirs", "--trust", "trust.toml", "--image", image, UNSIGNED]
    other = mps2.assay(*words, "--results", "before", expect=3)
    assert (other["layer"], "under test is image 0 1.1.0" in other["error"]) == ("flasher", True)
    mps2.flash(image, UNSIGNED)
    done = mps2.assay(*words, "--results", "after")
    assert (done["outcome"], len(done["cases"]), done["record_type"]) == ("PASS", 3, "foreign-test")
    assert "no power switch" in done["skipped"][0]["reason"]
    assert (done["how"], done["images"][0]["image_hash"], done["serial"]) == ("quoted", hash_of(image), None)
    assert [line.partition(":")[0] for line in done["cannot"]] == ["identity", "evidence"]
    mps2.assay("log", "verify", "--trust", "trust.toml")
