# SPDX-License-Identifier: Apache-2.0
"""The fuzz targets of the firmware's core: the corpus, and seeded changes of it. The long runs are `nox -s fuzz`."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
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
