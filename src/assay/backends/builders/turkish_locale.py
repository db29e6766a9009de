# SPDX-License-Identifier: Apache-2.0
"""A locale for the second build: Turkish, compiled from the system's own sources into a folder of its own.

It is on few machines, and a C library that does not find a locale quietly takes C: then nothing differs. glibc looks
where LOCPATH says. Guards: none is given out half-made. Without localedef or its sources (Debian's `locales`) there is
none; whether a build then sees another locale is asked (`stages.build.probe`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from assay.backends.durable_file import make_folder

NAME = "tr_TR.UTF-8"
SOURCE = Path("/usr/share/i18n/locales/tr_TR")
COMPILE_TIMEOUT_S = 120.0
"""Seconds; it takes one, and a loaded machine more."""


def compiled_locale(cache: Path) -> Path | None:
    """The folder for LOCPATH, made below `cache` on first use; None where it cannot be made."""
    program = shutil.which("localedef")
    if program is None or not SOURCE.is_file():
        return None
    folder = cache / "locales" / _c_library()
    if (folder / NAME).is_dir():
        return folder
    try:
        make_folder(folder)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".locale-") as scratch:
            made = Path(scratch) / NAME
            command = [program, "--no-archive", "-i", "tr_TR", "-f", "UTF-8", str(made)]
            subprocess.run(command, capture_output=True, timeout=COMPILE_TIMEOUT_S, check=True)
            with contextlib.suppress(FileExistsError):
                made.rename(folder / NAME)
    except (OSError, subprocess.SubprocessError):
        return folder if (folder / NAME).is_dir() else None
    return folder


def _c_library() -> str:
    """Compiled locales are for one version of the C library."""
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "unknown").replace(" ", "-")
    except (OSError, ValueError):
        return "unknown"
