# SPDX-License-Identifier: Apache-2.0
"""diffoscope, as a program: what two files differ in, in words; nothing where it is not installed.

Guards: it never decides anything; whether two files are the same was found before.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

PROGRAM = "diffoscope"
TIMEOUT_S = 120.0
REPORT_BYTES_MAX = 1024 * 1024


def report(name: str, first: bytes, second: bytes) -> str | None:
    """diffoscope's text about two versions of the file `name`; None without diffoscope, or when it says nothing."""
    if shutil.which(PROGRAM) is None:
        return None
    try:
        with tempfile.TemporaryDirectory(prefix="assay-diffoscope-") as scratch:
            for folder, data in (("attested", first), ("rebuilt", second)):
                (Path(scratch) / folder).mkdir()
                (Path(scratch) / folder / Path(name).name).write_bytes(data)
            words = [f"{folder}/{Path(name).name}" for folder in ("attested", "rebuilt")]
            limit = ["--max-text-report-size", str(REPORT_BYTES_MAX)]
            done = subprocess.run(
                [PROGRAM, "--text", "-", *limit, *words],
                cwd=scratch,
                capture_output=True,
                timeout=TIMEOUT_S,
                check=False,
            )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace") or None
