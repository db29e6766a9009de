# SPDX-License-Identifier: Apache-2.0
"""A provisioned unit on real firmware that `assay test` runs suites on, and what is looked at afterwards.

Most tests of a file share one: a suite leaves it as it found it, or the run is not PASS.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from life_site import APP, ROOT, LifeSite, Told, environment, life_site

from assay.pipeline import test_sandbox

DEMO = ROOT / "suites" / "demo-sensor"
PATIENCE_S = 100.0
needs_sandbox = pytest.mark.skipif(bool(test_sandbox.why_not()), reason=test_sandbox.why_not())


@dataclass
class Unit:
    """A provisioned unit on the twin `u`, and a folder for suites and results."""

    site: LifeSite
    folder: Path
    serial: str
    count: int = 0

    def suite(self, text: str, **files: str) -> Path:
        """A suite of one file, and of `files` by their name without suffix."""
        self.count += 1
        folder = self.folder / f"suite-{self.count}"
        folder.mkdir()
        (folder / "test_it.py").write_text("import os, pathlib, time, pytest\n" + text)
        for name, content in files.items():
            (folder / f"{name}.py").write_text(content)
        return folder

    def waiting(self, text: str) -> tuple[Path, Path]:
        """A suite in which WAIT waits for a file, which can be seen from its sandbox, and that file, which is to be
        made.
        """
        go = self.site.folder / "store" / f"go-{self.count}"
        wait = f"while not pathlib.Path({str(go)!r}).exists(): time.sleep(0.1)"
        return self.suite(text.replace("WAIT", wait)), go

    def line(self, suite: Path, *more: str, place: str = "u", version: str = "1.0.0") -> tuple[str | Path, ...]:
        line = ("test", suite, "--place", place, "--release", f"{APP}@{version}", "--trust", self.site.trust)
        return (*line, "--results", self.results, *more)

    @property
    def results(self) -> Path:
        return self.folder / f"results-{self.count}"

    def test(self, text: str, *more: str, **files: str) -> Told:
        return self.site.verb(*self.line(self.suite(text, **files), *more))


@pytest.fixture(scope="module")
def unit(tmp_path_factory: pytest.TempPathFactory) -> Unit:
    folder = tmp_path_factory.mktemp("hil")
    site = life_site("ast1030-evb", folder / "site")
    site.twin("u")
    return Unit(site, folder, site.good(*site.provision_line("u"))["serial"])


@pytest.fixture(autouse=True)
def no_process_is_left(unit: Unit) -> Iterator[None]:
    yield
    assert eventually(lambda: not processes_with(str(unit.folder / "suite-"))), "a test process is left"


def statement(site: LifeSite, sha256: str) -> dict[str, Any]:
    bundle = json.loads((site.folder / "records" / f"{sha256}.json").read_text())
    found: dict[str, Any] = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    return found


def records(site: LifeSite, kind: str) -> list[dict[str, Any]]:
    found = [statement(site, path.stem) for path in (site.folder / "records").glob("*.json")]
    return [one["predicate"] for one in found if one["predicateType"].rstrip("v01.").rstrip("/:").endswith(kind)]


def plain_pytest(site: LifeSite, suite: Path, place: str, *more: str) -> list[str]:
    line = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "-p", "no:cacheprovider", str(suite), *more]
    line += ["--assay-place", place, "--assay-release", f"{APP}@1.0.0", "--assay-site", str(site.folder)]
    return [*line, "--assay-trust", str(site.trust)]


def popen(unit: Unit, suite: Path) -> subprocess.Popen[bytes]:
    line = unit.site.command(*unit.line(suite))
    return subprocess.Popen(line, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def has_started(results: Path, name: str) -> bool:
    return is_told(results, '"case-started"', name)


def is_told(results: Path, *words: str) -> bool:
    return any(
        all(word in line for word in words)
        for path in results.glob("events/*/*.jsonl")
        for line in path.read_text().splitlines()
    )


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def processes_with(word: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode("utf-8", "replace")
        except OSError:
            continue
        if "pytest" in words and "-m" in words and word in words and int(path.parent.name) != os.getpid():
            found.append(int(path.parent.name))
    return found


def release_of(site: LifeSite, version: str) -> bytes:
    """The release's manifest, which the store keeps as a blob."""
    for path in (site.folder / "store" / "blobs" / "sha256").iterdir():
        data = path.read_bytes()
        if data.startswith(b"{") and f'"version":"{version}"'.encode() in data and b'"assay.release/1"' in data:
            return data
    raise AssertionError(f"no release {version}")


def sha256(path: Path) -> str:
    return subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout[:64]


def coreutils_digest(folder: Path) -> str:
    """As the docs say that anyone can take it."""
    line = "find . -type f ! -path '*/__pycache__/*' -printf '%P\\n' | LC_ALL=C sort | xargs -d '\\n' sha256sum"
    return subprocess.run(
        f"{line} | sha256sum", shell=True, cwd=folder, capture_output=True, text=True, check=True
    ).stdout[:64]
