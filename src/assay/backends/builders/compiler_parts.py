# SPDX-License-Identifier: Apache-2.0
"""What a compiler starts, and what it links with unasked: a file called `cc` only starts others, which do the work.

Guards: each part is where the compiler itself says that it is; a part that it does not have is none. Headers and
libraries are not listed one by one: the package that brought `crt1.o` brought those of C (`debian_packages`).
Leaves to others: digests (`toolchain`).
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

ASK_TIMEOUT_S = 10.0

PROGRAMS = ("cc1", "cc1plus", "collect2", "lto1", "lto-wrapper", "as", "ld", "ar", "objcopy")
"""Of GCC and binutils. Clang does its own work, and asks for the last ones only."""

FILES = ("crt1.o", "libc.so", "libgcc.a", "liblto_plugin.so")
"""Linked with, or loaded by the linker, in every build."""

START_OF_C = "crt1.o"

_DRIVER = re.compile(r"(?:[\w.+-]+-)?(?:cc|c\+\+|gcc|g\+\+|clang|clang\+\+)(?:-[0-9.]+)?")


def is_compiler(name: str) -> bool:
    """Whether a program of this name is a C or C++ compiler, of this machine or for another one."""
    return _DRIVER.fullmatch(name) is not None


def parts_of(compiler: Path, path: str) -> dict[str, Path]:
    """The parts of `compiler` by name, as files; it looks on `path` for what it has no place of its own for."""
    parts: dict[str, Path] = {}
    for name in PROGRAMS:
        said = _asked(compiler, f"-print-prog-name={name}", path)
        found = said if "/" in said else shutil.which(said, path=path) if said else None
        if found is not None and Path(found).is_file():
            parts[name] = Path(found).resolve()
    for name in FILES:
        said = _asked(compiler, f"-print-file-name={name}", path)
        if "/" in said and Path(said).is_file():
            parts[name] = Path(said).resolve()
    return parts


def _asked(compiler: Path, question: str, path: str) -> str:
    """The compiler's answer; empty when it has none."""
    try:
        done = subprocess.run(
            [str(compiler), question],
            capture_output=True,
            timeout=ASK_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
            env={"PATH": path, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "surrogateescape").strip() if done.returncode == 0 else ""
