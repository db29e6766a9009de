# SPDX-License-Identifier: Apache-2.0
"""The fuzz targets of the firmware's core: the corpus, and seeded changes of it. The long runs are `nox -s fuzz`."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from run_fuzz import find_clang
from signed_build import FIRMWARE

RUN_FUZZ = FIRMWARE / "tests" / "run_fuzz.py"
TARGETS = {"boot", "image", "frames", "packets", "cbor", "xmodem", "stores", "delta"}


@pytest.mark.timeout(600)
@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler for this host: apt-get install gcc")
def test_no_input_breaks_the_core(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Every target, its whole corpus, and as many changed inputs as everybody waits for."""
    assert request.config.cache is not None
    cache = request.config.cache.mkdir("firmware")
    command = [sys.executable, str(RUN_FUZZ), "--cache", str(cache), "--keep", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    ran = {
        name: (int(files), int(runs)) for name, files, runs in re.findall(r"(\w+): (\d+) inputs .* (\d+) ", done.stdout)
    }
    assert set(ran) == TARGETS
    for name, (files, runs) in ran.items():
        assert files == len(list((FIRMWARE / "tests" / "fuzz" / "corpus" / name).iterdir()))
        assert files >= 3
        assert runs >= 400


OLD = "#!/bin/sh\necho 'Debian clang version 13.0.1'\n"
BARE = "#!/bin/sh\n[ \"$1\" = --version ] && echo 'Ubuntu clang version 18.1.3' && exit 0\nexit 1\n"
WHOLE = "#!/bin/sh\necho 'clang version 19.1.7'\n"


@pytest.mark.parametrize(
    ("programs", "says"),
    [
        ({}, "no clang 14 or newer with libFuzzer: apt-get install clang"),
        ({"clang": OLD}, "clang is version 13"),
        ({"clang": BARE}, "clang has no libFuzzer: apt-get install libclang-rt-18-dev"),
        ({"clang": OLD, "clang-18": BARE}, "clang is version 13; clang-18 has no libFuzzer"),
    ],
)
def test_no_clang_says_which(
    programs: dict[str, str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    only(programs, tmp_path, monkeypatch)
    with pytest.raises(SystemExit) as ended:
        find_clang()
    assert ended.value.code == 3
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("name", ["clang", "clang-14", "clang-19"])
def test_any_clang_that_links_libfuzzer(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is too old, or lacks libFuzzer, does not stand in the way."""
    only({"clang": OLD, "clang-20": BARE, name: WHOLE}, tmp_path, monkeypatch)
    assert find_clang() == name


def only(programs: dict[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """These are all the programs that there are."""
    for name, script in programs.items():
        (folder / name).write_text(script, encoding="ascii")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
