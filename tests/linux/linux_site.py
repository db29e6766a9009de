# SPDX-License-Identifier: Apache-2.0
"""A site with releases of a Linux module, made once and kept, and the commands that tests give.

The folder is `.assay-linux/`, so that a second run builds nothing: `assay build` knows inputs that it has built. Since
a release is for ever, versions carry a number that follows from the sources.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from assay.pipeline.manifest_files import load_module
from assay.pipeline.site import Site

ROOT = Path(__file__).parents[2]
KEPT = ROOT / ".assay-linux"
BOARD = "linux-arm64"
SYSTEM, BOOT = "firmware/linux", "firmware/linux/boot"
GOOD = ("1.0.0", "1.1.0")
TIMEOUT_S = 1200.0
BOOT_VERSION = "1.0.0"
DEFINES = {
    "1.2.0": ("SELFTEST_FAULT=3",),
    "1.3.0": ("LINUX_PANIC=1",),
    "1.4.0": ("LINUX_HANG=1", "LINUX_CONFIRM_WITHIN_S=30"),
    "1.5.0": ("LINUX_FREEZE=1",),
}
"""What is wrong with the bad ones."""


_STARTED: list[subprocess.Popen[str]] = []


@dataclass(frozen=True)
class Answer:
    """What a verb said: its exit status, its JSON document, and what it wrote for people."""

    status: int
    data: dict[str, Any]
    words: str


def start(*words: str, folder: Path = KEPT) -> subprocess.Popen[str]:
    """A verb on the kept site that runs by itself."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-m", "assay", *words, "--site", str(folder / "site")]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    _STARTED.append(process)
    return process


def end_all() -> None:
    """What a test that was given up has left running: it would wait for its unit."""
    for process in _STARTED:
        if process.poll() is None:
            process.kill()
            process.wait()


def assay(*words: str, folder: Path = KEPT) -> Answer:
    """Run a verb to its end."""
    begun_s = time.monotonic()
    process = start(*words, "--json", folder=folder)
    out, err = process.communicate(timeout=TIMEOUT_S)
    print(f"{time.monotonic() - begun_s:6.1f} s: assay {shlex.join(words)}: {process.returncode}", flush=True)
    return Answer(process.returncode, json.loads(out) if out.strip() else {}, err)


def good(*words: str, folder: Path = KEPT) -> dict[str, Any]:
    """The document of a verb that has to pass."""
    answer = assay(*words, folder=folder)
    assert answer.status == 0, (words, answer)
    return answer.data


@cache
def number() -> int:
    """Of what the releases are made of: what their modules declare, and the board."""
    files = {ROOT / "boards" / f"{BOARD}.toml"}
    for module in (SYSTEM, BOOT):
        for source in load_module(ROOT / module / "module.toml").build.sources:
            found = ROOT / source
            files |= {path for path in found.rglob("*") if path.suffix != ".pyc"} if found.is_dir() else {found}
    digests = [hashlib.sha256(path.read_bytes()).digest() for path in sorted(files) if path.is_file()]
    return int(hashlib.sha256(b"".join(digests)).hexdigest()[:7], 16)


def full(version: str) -> str:
    """`1.0.0` as it is released here."""
    return f"{version}+{number()}"


@cache
def bootloader() -> str:
    """The boot chooser's release, made on first use."""
    return _published("linux-boot", BOOT, BOOT_VERSION, ())


@cache
def release(version: str) -> str:
    """The system's release of that short version, made on first use."""
    return _published("demo-linux", SYSTEM, version, DEFINES.get(version, ()))


def _published(name: str, module: str, short: str, defines: tuple[str, ...]) -> str:
    version = full(short)
    reference, out = f"{name}@{version}", str(KEPT / f"{name}-{short}")
    if reference not in {each.reference for each in Site(KEPT / "site").store.releases()}:
        words = [word for define in defines for word in ("--define", define)]
        good("build", module, "--board", BOARD, "--version", version, *words, "--out", out)
        good("sign", out)
        good("publish", out + ".signed")
    return reference


def made_trust() -> Path:
    """The trust file of the kept site."""
    good("keys", "init")
    trust = ("keys", "trust", "--name", "linux", "--allow-development", "--allow-emulated", "--replace")
    good(*trust, "--out", str(KEPT / "trust.toml"))
    return KEPT / "trust.toml"
