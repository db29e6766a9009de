# SPDX-License-Identifier: Apache-2.0
"""diffoscope, as a program: what two files differ in, in words.

Guards: it never decides anything; whether two files are the same was found before. When it says nothing, why is told.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

PROGRAM = "diffoscope"
TIMEOUT_S = 120.0
REPORT_BYTES_MAX = 1024 * 1024


@dataclass(frozen=True)
class Said:
    """diffoscope's words, or why there are none."""

    text: str | None = None
    why_not: str | None = None


def report(name: str, first: bytes, second: bytes) -> Said:
    """What diffoscope says about two versions of the file `name`."""
    if shutil.which(PROGRAM) is None:
        return Said(why_not="diffoscope is not installed (apt-get install diffoscope-minimal)")
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
    except subprocess.TimeoutExpired:
        return Said(why_not=f"diffoscope did not end in {TIMEOUT_S:.0f} s")
    except OSError as error:
        return Said(why_not=f"diffoscope cannot be started: {error.strerror}")
    text = done.stdout.decode("utf-8", "replace")
    return Said(text=text) if text else Said(why_not=f"diffoscope ended with status {done.returncode} and said nothing")
