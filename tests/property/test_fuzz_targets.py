# SPDX-License-Identifier: Apache-2.0
"""The fuzzer's targets (tests/fuzz) with any bytes, and with a good input changed: no error but ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "fuzz"))

import parsers

FUZZ = Path(__file__).parents[1] / "fuzz"

ANY = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("name", parsers.TARGETS)
@ANY
@given(data=st.data())
def test_a_target(name: str, data: st.DataObject) -> None:
    good = parsers.TARGETS[name][1]
    begin = data.draw(st.integers(0, len(good)))
    end = data.draw(st.integers(begin, min(len(good), begin + 8)))
    parsers.run(name, good[:begin] + data.draw(st.binary(max_size=12)) + good[end:])
    parsers.run(name, data.draw(st.binary(max_size=80)))


READ = (
    "bundle",
    "bundle-parts",
    "statement",
    "json",
    "trusted-root",
    "vkey",
    "cosignature",
    "witness-request",
    "entries",
)
READ += ("log-entry", "cbor", "public-key", "uf2", "intel-hex", "store-index")
READ += ("keyless", "artifact-bundle", "envelope", "time-stamp", "archive-stamp", "certificate-names", "der", "note")
READ += ("tile", "trust-file", "keyless-settings", "tar", "hardware-map", "key-uri", "registry-address")
READ += ("component-query", "envelope-in-hashedrekord", "envelope-in-intoto", "client-root")


@pytest.mark.parametrize("name", READ)
def test_what_a_target_begins_with_is_read(name: str) -> None:
    """Else the fuzzer would begin with what is refused at once."""
    read, good = parsers.TARGETS[name]
    read(good)


def test_a_fault_is_no_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_data: bytes) -> None:
        raise KeyError("x")

    monkeypatch.setitem(parsers.TARGETS, "json", (broken, b""))
    with pytest.raises(KeyError):
        parsers.run("json", b"")


def test_a_crash_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "crash").write_bytes(b"\xff")
    command = [sys.executable, FUZZ / "run_atheris.py", "--replay", tmp_path / "crash", "json", "vkey"]
    assert subprocess.run(command, check=False).returncode == 0
    assert subprocess.run([*command, "nothing"], check=False, capture_output=True).returncode == 2
