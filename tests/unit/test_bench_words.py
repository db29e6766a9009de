# SPDX-License-Identifier: Apache-2.0
"""Words of `assay bench`: whose option is whose, which places there are, and columns that long names do not break."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

from assay.cli.columns import in_columns
from assay.cli.command_behind import in_order

ROOT = Path(__file__).parents[2]
LONG = "a-place-with-a-name-as-long-as-names-may-be-which-is-63-letters"
BENCH = f"""schema = "assay.bench/1"
[[places]]
name = "desk"
board = "rv32-virt"
port = "/dev/assay-no-such-port"
[[places]]
name = "{LONG}"
board = "ast1030-evb"
port = "/dev/assay-no-such-port-2"
"""
VALUED = frozenset({"--note", "--wait"})


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ASSAY_LOCK_DIR", str(tmp_path / "locks"))
    (tmp_path / "boards").symlink_to(ROOT / "boards")
    (tmp_path / "bench.toml").write_text(BENCH)
    return tmp_path


def assay(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "assay", "bench", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("given", "options", "name", "command"),
    [
        ("desk", "", "desk", ""),
        ("--note x desk", "--note x", "desk", ""),
        ("desk --note x", "--note x", "desk", ""),
        ("desk --note=x --json", "--note=x --json", "desk", ""),
        ("desk --note x -- make --json", "--note x", "desk", "make --json"),
        ("desk --note x make -j 2", "--note x", "desk", "make -j 2"),
        ("--json desk --wait 3 make --note y -- z", "--json --wait 3", "desk", "make --note y -- z"),
        ("desk --note -- -- make", "--note --", "desk", "make"),
        ("desk -- --odd", "", "desk", "--odd"),
        ("desk - x", "", "desk", "- x"),
    ],
)
def test_options_stand_on_either_side_of_the_name(given: str, options: str, name: str, command: str) -> None:
    expected = [*options.split(), name, *(["--", *command.split()] if command else [])]
    assert in_order(given.split(), VALUED) == expected


def test_a_name_behind_dashes_is_left_to_click() -> None:
    assert in_order(["--json", "--", "desk", "make"], VALUED) == ["--json", "--", "desk", "make"]


@pytest.mark.parametrize(("words", "says"), [("desk --", "no command behind --"), ("desk --note", "requires an arg")])
def test_what_is_missing_is_told(words: str, says: str) -> None:
    with pytest.raises(click.UsageError, match=says):
        in_order(words.split(), VALUED)


def test_a_hold_with_its_options_behind_the_place(project: Path) -> None:
    """The option was taken for the command."""
    inner = f"{sys.executable} -m assay bench who --json"
    done = assay(project, "acquire", "desk", "--note", "fan noise", "--wait", "0", "sh", "-c", inner)
    assert done.returncode == 0, done.stderr
    (holder,) = json.loads(done.stdout)["holders"]
    assert (holder["place"], holder["note"]) == ("desk", "fan noise")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("desk", "--nota", "x"), "No such option"),
        (("desk", "--"), "there is no command behind --"),
        (("--note", "x"), "Missing argument 'PLACE'"),
        (("desk", "--note"), "requires an argument"),
    ],
)
def test_a_slip_holds_nothing(project: Path, words: tuple[str, ...], says: str) -> None:
    done = assay(project, "acquire", *words)
    assert done.returncode == 2 and says in done.stderr, done.stderr
    assert json.loads(assay(project, "who", "--json").stdout)["holders"] == []


def test_giving_back_what_is_free_and_what_is_not_there(project: Path) -> None:
    free = assay(project, "release", "desk")
    assert (free.returncode, free.stdout.strip()) == (0, "desk is free: nobody held it")
    none = assay(project, "release", "deks")
    assert none.returncode == 2
    assert "no place and no twin called 'deks'" in none.stderr
    assert f"did you mean desk? known: desk, {LONG}" in none.stderr


def test_a_place_that_left_the_bench_file_can_be_given_back(project: Path) -> None:
    acquire, release = (f"{sys.executable} -m assay bench {word} desk" for word in ("acquire", "release"))
    script = f"{acquire} && rm bench.toml && {release}"
    done = subprocess.run(["bash", "-c", script], cwd=project, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "desk is free", done.stderr


def columns_of(lines: list[str], *words: str) -> set[int]:
    """Where `words` begin in the lines that hold one of them."""
    return {line.index(word) for line in lines for word in words if word in line}


def test_long_names_do_not_break_columns(project: Path) -> None:
    note = "n" * 199 + "\n\x1b[31m"
    script = f"{sys.executable} -m assay bench list; {sys.executable} -m assay bench who; "
    script += f"{sys.executable} -m assay bench top --once"
    done = assay(project, "acquire", LONG, "--note", note, "sh", "-c", f"{sys.executable} -m assay bench who {LONG}")
    assert done.returncode == 0 and "\x1b" not in done.stdout
    both = f"{sys.executable} -m assay bench acquire desk --note y sh -c '{script}'"
    said = assay(project, "acquire", LONG, "--note", note, "sh", "-c", both)
    assert said.returncode == 0, said.stderr
    lines = [line for line in said.stdout.splitlines() if line.startswith(("desk", LONG))]
    listed, held, top = lines[0:2], lines[2:4], lines[4:6]
    assert len(lines) == 6 and len(columns_of(listed, "port missing")) == 1
    assert len(columns_of(listed, "rv32-virt", "ast1030-evb")) == 1 == len(columns_of(listed, "used by"))
    assert len(columns_of(held, "is used by")) == 1
    assert len(columns_of(top, "port missing")) == 1 == len(columns_of(top, "bench acquire:"))


def test_a_wide_letter_takes_two_columns() -> None:
    rows = [("工作台", "a"), ("desk", "b"), ("e\u0301", "c")]
    assert in_columns(rows) == ["工作台  a", "desk    b", "e\u0301       c"]
    assert in_columns([]) == []
