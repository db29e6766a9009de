# SPDX-License-Identifier: Apache-2.0
"""What a new user stumbled over: an option that was left out silently, streams that are closed or full, help that ends
in the middle of a sentence, and messages that did not say what to do.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_conformance import conform

from assay.backends.entry_points import installed_driver
from assay.errors import UsageFault
from assay.pipeline import host_checks, module_build
from assay.pipeline.places import check_names, find_place
from assay.pipeline.site import Site
from assay.pipeline.trust_file import read_image_key

ASSAY = (sys.executable, "-m", "assay")
KEY = "-----BEGIN PUBLIC KEY-----\n"
KEY += "MCowBQYDK2VwAyEABKeQGkv7YjBocFrRx1yVQSKj02QVX+obn9wwX2bAiVM=\n-----END PUBLIC KEY-----\n"


def assay(folder: Path, *words: str, through: str = '"$@"') -> subprocess.CompletedProcess[str]:
    """The command in `folder`, by a shell that may close or redirect its streams."""
    line = ["sh", "-c", through, "sh", *ASSAY, *words]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("verb", "option"),
    [
        (("provision", "--place", "a", "--profile", "p.toml", "--bootloader", "x@1", "--app", "y@1"), "--place=b"),
        (("evidence", "--place", "a", "--trust", "t.toml"), "--place=a"),
        (("evidence", "--place", "a", "--trust", "t.toml", "--serial=S-1"), "--serial=S-2"),
        (("build", "firmware/app", "--board", "a", "--out", "x"), "--board=b"),
    ],
)
def test_what_is_acted_on_is_named_once(tmp_path: Path, verb: tuple[str, ...], option: str) -> None:
    """ADR 0340: the last one would win, and nobody would hear that the first one was left alone."""
    told = assay(tmp_path, *verb, option, "--json")
    document = json.loads(told.stdout)
    name = option.partition("=")[0]
    assert (told.returncode, document["remedy"]) == (2, f"see assay {verb[0]} --help")
    assert f"Option '{name}' is given 2 times" in document["error"]


def test_flash_takes_several_places(tmp_path: Path) -> None:
    told = assay(tmp_path, "flash", "x@1", "--place", "a", "--place", "b", "--trust", "t.toml", "--json")
    assert "given 2 times" not in json.loads(told.stdout)["error"]


def test_a_misspelt_place_is_found_by_its_name_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ADR 0341: no port is looked for, so that a place that is not plugged in is no mistake of the command line."""
    (tmp_path / "boards").mkdir()
    monkeypatch.chdir(tmp_path)
    site = Site(tmp_path / ".assay")
    with pytest.raises(UsageFault, match="no place and no twin called 'desk'") as told:
        check_names(site, ["desk"])
    assert "there is no bench.toml" in told.value.remedy
    place = 'schema = "assay.bench/1"\n[[places]]\nname = "desk"\nboard = "b"\nport = "/dev/no-such-port"\n'
    (tmp_path / "bench.toml").write_text(place)
    check_names(site, ["desk"])
    with pytest.raises(UsageFault, match="'dsk'") as told:
        check_names(site, ["desk", "dsk"])
    assert told.value.remedy == "did you mean desk? known: desk"


def test_a_misspelt_image_is_told_also_where_no_board_is_plugged_in(tmp_path: Path) -> None:
    (tmp_path / "boards").mkdir()
    (tmp_path / "boards" / "b.toml").write_text(
        'schema = "assay.board/2"\nfirmware = "mcuboot"\nname = "b"\nrevision = 0\n'
        '[serial]\nbaud = 115200\n[smp]\ninfo = "b"\n[mcuboot]\nmode = "swap"\n'
    )
    place = 'schema = "assay.bench/1"\n[[places]]\nname = "desk"\nboard = "b"\nport = "/dev/no-such-port"\n'
    (tmp_path / "bench.toml").write_text(place)
    (tmp_path / "app.bin").write_bytes(b"x")
    line = ("flash", "--place", "desk", "--trust", "t.toml", "--json", "--image")
    for wrong in ("ap.bin", "0=ap.bin"):
        told = assay(tmp_path, *line, wrong)
        assert told.returncode == 2
        assert json.loads(told.stdout)["error"] == "ap.bin cannot be read: there is no such file"
    for right in ("app.bin", "0=app.bin"):
        assert json.loads(assay(tmp_path, *line, right).stdout)["error"] == "t.toml: there is no such trust file"


@pytest.mark.parametrize("words", [("--help",), ("--version",), ("trace", "--help")])
def test_help_on_a_full_disk_is_no_fail(tmp_path: Path, words: tuple[str, ...]) -> None:
    told = assay(tmp_path, *words, through='"$@" >/dev/full')
    assert told.returncode == 3
    assert told.stderr.startswith("ERROR: the answer cannot be written: ") and "Traceback" not in told.stderr


def test_a_wrong_word_is_status_2_also_where_nothing_can_be_told(tmp_path: Path) -> None:
    assert assay(tmp_path, "buidl", through='"$@" 2>/dev/full').returncode == 2


def test_closed_streams_are_no_fault(tmp_path: Path) -> None:
    """And no file of ours takes the place of one of them."""
    told = assay(tmp_path, "schema", "--out", "schemas", through='"$@" <&- >&-')
    assert (told.returncode, told.stderr) == (0, "")
    assert assay(tmp_path, "schema", "--out", "schemas", through='"$@" >&- 2>&-').returncode == 0


def test_help_of_a_group_ends_no_sentence_in_its_middle(tmp_path: Path) -> None:
    for group in ("keys", "log", "bench", "twin"):
        told = assay(tmp_path, group, "--help").stdout
        assert "Commands:" in told and "..." not in told.partition("Commands:")[2].replace("--pin-...", "")


def test_a_driver_by_a_misspelt_name() -> None:
    with pytest.raises(UsageFault) as told:
        installed_driver("power", "gipo")
    assert told.value.remedy.startswith("did you mean gpio? installed: ")


@pytest.mark.parametrize("name", ["no_such_module:open_it", "json:open_it"])
def test_a_suite_for_a_driver_that_is_not_there(tmp_path: Path, name: str) -> None:
    done = conform(tmp_path, "power", f"--assay-driver={name}", "--assay-driver-address=x")
    assert done.returncode == 1 and "name a function of a module that Python finds" in done.stdout
    assert "importlib" not in done.stdout


def test_outside_of_a_project_nobody_says_that_the_emulators_are_there(tmp_path: Path) -> None:
    found = next(each for each in host_checks.look(None, tmp_path / "site") if each.name == "emulators")
    assert found.state is host_checks.State.ADVICE and "no project's folder" in found.detail


def test_only_a_full_disk_is_no_room() -> None:
    full = module_build._cannot_build(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert full.message.startswith("no room to build") and "free disk space" in full.remedy
    refused = module_build._cannot_build(PermissionError(errno.EACCES, os.strerror(errno.EACCES), "cache/x"))
    assert refused.message == "cannot build: cache/x: Permission denied" and "free disk space" not in refused.remedy


def test_a_trust_file_gets_the_key_and_nothing_around_it(tmp_path: Path) -> None:
    (tmp_path / "vendor.pem").write_text(f"$ imgtool getpub\n{KEY}done\n")
    assert read_image_key(f"their-board={tmp_path / 'vendor.pem'}").public == KEY


def test_a_key_for_a_board_that_is_not_here_is_told(tmp_path: Path) -> None:
    (tmp_path / "boards").mkdir()
    (tmp_path / "boards" / "their-board.toml").write_text("")
    (tmp_path / "vendor.pem").write_text(KEY)
    assert assay(tmp_path, "keys", "init").returncode == 0
    wrong = assay(tmp_path, "keys", "trust", "--image-key", "their-bord=vendor.pem", "--out", "t.toml")
    assert wrong.returncode == 0 and "image key 'vendor' for their-bord" in wrong.stdout
    assert wrong.stderr == "caution: there is no boards/their-bord.toml here; did you mean their-board?\n"
    right = assay(tmp_path, "keys", "trust", "--image-key", "their-board=vendor.pem", "--out", "u.toml")
    assert (right.returncode, right.stderr) == (0, "")


def test_a_folder_whose_name_is_no_modules_name(tmp_path: Path) -> None:
    told = assay(tmp_path, "init", "My Gauge", "--json")
    assert told.returncode == 2 and "--name" in json.loads(told.stdout)["remedy"]


def test_a_board_that_a_place_names_wrongly_is_told_with_the_place(tmp_path: Path) -> None:
    """A bench file has many places, and the one with the wrong word is the one to correct."""
    (tmp_path / "boards").mkdir()
    (tmp_path / "boards" / "theirs.toml").write_text("")
    text = 'schema = "assay.bench/1"\n[[places]]\nname = "desk"\nboard = "thiers"\nport = "/dev/ttyS9"\n'
    (tmp_path / "bench.toml").write_text(text)
    with pytest.raises(
        UsageFault, match=r"bench\.toml:4: place desk: there is no boards/thiers\.toml \(did you mean 'theirs'"
    ) as told:
        find_place(Site(tmp_path / ".assay"), "desk", start=tmp_path)
    assert str(told.value).count("known boards") == 1
