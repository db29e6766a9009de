# SPDX-License-Identifier: Apache-2.0
"""In CI tests fail instead of being skipped, where the session has installed what they need."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
FILES = {
    "test_mark.py": "import pytest\n@pytest.mark.skipif(True, reason='softhsm2 is not installed')\ndef test(): pass\n",
    "test_call.py": "import pytest\ndef test(): pytest.skip('no network namespace')\n",
    "test_file.py": "import pytest\npytest.importorskip('nothing', reason='pip install detools')\n",
    "test_other.py": "import pytest\ndef test(): pytest.skip('only root can')\n",
    "test_bad.py": "import pytest\n@pytest.mark.xfail(reason='softhsm')\ndef test(): assert False\n",
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("", {"4 skipped", "1 xfailed"}),
        ("softhsm|namespace|detools", {"1 failed", "1 skipped", "1 xfailed", "2 errors"}),
        (".", {"2 failed", "1 xfailed", "2 errors"}),
    ],
)
def test_skips_that_are_failures(tmp_path: Path, pattern: str, words: set[str]) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", tmp_path]
    command += ["-p", "tests.never_skip", "-n", "2"]
    options = ["--continue-on-collection-errors", str(tmp_path)]
    environment = {**os.environ, "ASSAY_NEVER_SKIP": pattern}
    done = subprocess.run(
        [*command, *options], env=environment, capture_output=True, text=True, check=False, cwd=TESTS.parent
    )
    last = done.stdout.strip().splitlines()[-1]
    assert {word.strip() for word in last.partition(" in ")[0].split(",")} == words, done.stdout
    assert ("may not be skipped here" in done.stdout) == bool(pattern)
