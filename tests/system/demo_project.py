# SPDX-License-Identifier: Apache-2.0
"""A copy of the project in a folder of its own, in which the demo is run, killed and looked at."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.backends.records.record_store import RecordStore
from assay.model.record import RecordType
from assay.pipeline.site import Site

ROOT = Path(__file__).parents[2]
PARTS = ("boards", "firmware", "pipelines", "provisioning", "suites")
FIXED = {"bootloader": "1.0.0", "first": "1.0.0", "second": "1.1.0", "broken": "1.2.0"}
"""Versions that do not count up: what was built once comes from the cache, so that a run takes a third of the time."""

NO_NETWORK = ("unshare", "--net") if os.geteuid() == 0 else ("unshare", "--user", "--map-current-user", "--net")
"""Before a program that shall have no network but a loopback interface that is down."""

GONE_WAIT_S = 10.0
"""What a killed engine leaves has this long to close and be gone."""


def without_network() -> tuple[str, ...]:
    """`NO_NETWORK` where this user may make a network of their own, else nothing."""
    may = shutil.which("unshare") and not subprocess.run([*NO_NETWORK, "true"], capture_output=True).returncode
    return NO_NETWORK if may else ()


@dataclass(frozen=True)
class DemoProject:
    """The copy at `root`; its site is `site`."""

    root: Path

    @property
    def site(self) -> Site:
        """Its site."""
        return Site(self.root / ".assay")

    @classmethod
    def make(cls, root: Path) -> DemoProject:
        """Copy what the demo needs; nothing of it is git's."""
        for part in PARTS:
            shutil.copytree(ROOT / part, root / part, ignore=shutil.ignore_patterns("__pycache__", ".cache", "build"))
        return cls(root)

    def start(self, *words: str, before: Sequence[str] = ()) -> subprocess.Popen[str]:
        """`assay WORDS --json` in the copy, behind the words `before`."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ASSAY_")}
        return subprocess.Popen(
            [*before, sys.executable, "-m", "assay", *words, "--json"],
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**environment, "CI": "1"},
        )

    def run(self, *words: str, before: Sequence[str] = ()) -> tuple[int, dict[str, Any]]:
        """Its exit status and its answer."""
        process = self.start(*words, before=before)
        out, _ = process.communicate()
        return process.returncode, json.loads(out)

    def demo_words(self, *, board: str, fixed: bool) -> list[str]:
        """The words that run the demo."""
        chosen = {"board": board, **(FIXED if fixed else {})}
        pairs = [word for name, value in chosen.items() for word in ("--set", f"{name}={value}")]
        return ["run", "pipelines/demo.toml", *pairs]

    def processes(self) -> dict[int, list[str]]:
        """Processes that have to do with this copy: by command line, working folder or environment."""
        wanted, found = str(self.root).encode(), {}
        for folder in Path("/proc").glob("[0-9]*"):
            if int(folder.name) == os.getpid():
                continue
            try:
                words = (folder / "cmdline").read_bytes()
                texts = (words, (folder / "environ").read_bytes(), os.fsencode((folder / "cwd").readlink()))
            except OSError:
                continue
            if words and any(wanted in text for text in texts):
                found[int(folder.name)] = words.decode(errors="replace").split("\0")
        return found

    def wait_gone(self) -> dict[int, list[str]]:
        """Wait until no process has to do with this copy; answers those that stay."""
        end = time.monotonic() + GONE_WAIT_S
        while (left := self.processes()) and time.monotonic() < end:
            time.sleep(0.1)
        return left

    def serials(self) -> dict[str, set[str]]:
        """Serial number to the chips that the log says have it."""
        found: dict[str, set[str]] = {}
        for kind, statement in self.records():
            if kind is RecordType.PROVISIONING:
                predicate = statement["predicate"]
                found.setdefault(predicate["serial"], set()).add(predicate["chip"])
        return found

    def records(self) -> Iterator[tuple[RecordType, dict[str, Any]]]:
        """Type and statement of every record in the log, in its order."""
        store = RecordStore(self.site.folder)
        for _, entry in store.entries():
            bundle = json.loads(store.record(entry.record))
            yield entry.type, json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))

    def records_of_runs(self) -> Counter[str]:
        """How many records in the log name each run."""
        return Counter(run for _, statement in self.records() for run in _run_ids(statement))

    def faults(self) -> list[str]:
        """What must never be, whatever was killed: empty when all is well. No process of a run may live."""
        found = [f"left alive: {words}" for words in self.wait_gone().values()]
        status, answer = self.run("log", "verify")
        found += [f"log verify gives {status}: {answer}"] if status else []
        serials = self.serials()
        found += [f"serial number {serial} of {chips}" for serial, chips in serials.items() if len(chips) != 1]
        counted = Counter(chip for chips in serials.values() for chip in chips)
        found += [f"chip {chip} has {count} serial numbers" for chip, count in counted.items() if count != 1]
        named = self.records_of_runs()
        found += [f"run {run} has {count} records" for run, count in named.items() if count != 1]
        return found + [f"run {run} has no record" for run in self.finished_runs() if run not in named]

    def finished_runs(self) -> list[str]:
        """Runs that owe a record: all that are over, but pipelines, which owe one only when they were given up."""
        rows = self.site.journals.file.rows(
            "SELECT run_id FROM runs WHERE closed IS NOT NULL AND (verb != 'run' OR outcome = 'ABORTED')"
        )
        return [row["run_id"] for row in rows]


def _run_ids(value: Any) -> set[str]:
    """The runs that a statement is the record of: wherever its predicate says `run_id`."""
    if isinstance(value, list):
        return {run for each in value for run in _run_ids(each)}
    if not isinstance(value, dict):
        return set()
    here = {value["run_id"]} if isinstance(value.get("run_id"), str) else set()
    return here | {run for each in value.values() for run in _run_ids(each)}


def kill(pids: list[int]) -> None:
    """SIGKILL each that still lives."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
