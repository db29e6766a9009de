# SPDX-License-Identifier: Apache-2.0
"""`assay doctor`: each thing that can be missing is found missing, and gets its line."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import pytest

from assay.pipeline import host_checks
from assay.pipeline.host_checks import Finding, State, fix_line, look

BOARD = '[twin]\nqemu = "qemu-system-nowhere"\npackage = "qemu-nowhere"\n'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "boards").mkdir()
    (tmp_path / "boards" / "b1.toml").write_text(BOARD)
    (tmp_path / "boards" / "real.toml").write_text("name = 'a board without a twin'")
    return tmp_path


def named(findings: list[Finding], name: str) -> Finding:
    return next(finding for finding in findings if finding.name == name)


def test_a_missing_emulator_is_named_with_its_package(root: Path) -> None:
    found = named(look(root, root / "site"), "twin of b1")
    assert found.state is State.MISSING
    assert "qemu-system-nowhere" in found.detail
    assert found.fix.endswith("apt-get install -y --no-install-recommends qemu-nowhere")


def test_the_emulator_of_a_board_that_no_pipeline_runs_on_is_advice(root: Path) -> None:
    """The main job does not need it; who chooses that board is told, with the line."""
    (root / "boards" / "b2.toml").write_text(BOARD.replace("nowhere", "elsewhere"))
    (root / "pipelines").mkdir()
    (root / "pipelines" / "demo.toml").write_text('[variables]\nboard = "b1"\n')
    findings = look(root, root / "site")
    assert named(findings, "twin of b1").state is State.MISSING
    other = named(findings, "twin of b2")
    assert (other.state, other.fix.split()[-1]) == (State.ADVICE, "qemu-elsewhere")
    assert "only b2 needs it, and the pipelines run on b1" in other.detail
    (root / "pipelines" / "other.toml").write_text('[variables]\nboard = "b2"\n')
    assert named(look(root, root / "site"), "twin of b2").state is State.MISSING


def test_an_emulator_that_is_there_is_ok(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = root / "bin" / "qemu-system-nowhere"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho QEMU emulator version 1.2.3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    assert named(look(root, root), "twin of b1") == Finding("twin of b1", State.OK, "QEMU emulator version 1.2.3")


def test_no_programs_at_all(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(root))
    findings = look(root, root)
    assert named(findings, "git").state is State.ADVICE
    assert named(findings, "sandbox").state is State.ADVICE
    line = fix_line(findings)
    assert line.count("apt-get") == 1
    assert all(package in line.split() for package in ("git", "bubblewrap", "qemu-nowhere"))


def test_a_sandbox_that_is_forbidden(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = root / "bwrap"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(root))
    found = named(look(root, root), "sandbox")
    assert (found.state, "namespaces" in found.detail) == (State.ADVICE, True)


def test_a_compiler_of_another_version(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_checks.importlib.metadata, "requires", lambda name: ["ziglang==0.0.1"])
    found = named(look(root, root), "compiler")
    assert (found.state, "0.0.1" in found.fix) == (State.ADVICE, True)


def test_no_compiler(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_checks.importlib.metadata, "requires", lambda name: ["ziglang==0.17.1"])

    def missing(name: str) -> None:
        raise host_checks.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(host_checks.importlib.metadata, "distribution", missing)
    found = named(look(root, root), "compiler")
    assert found.state is State.MISSING
    assert "pip install 'ziglang==" in found.fix


def test_an_old_sqlite(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 31, 0))
    assert named(look(root, root), "sqlite").state is State.MISSING


def test_a_site_that_cannot_be_written(root: Path) -> None:
    # /proc takes no files, whoever asks: the same for root and for anybody else
    found = named(look(root, Path("/proc/self/assay-site")), "site folder")
    assert found.state is State.MISSING
    assert "--site" in found.detail


def test_a_full_disk(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 10**12, 1024 * 1024))
    found = named(look(root, root), "disk")
    assert (found.state, found.detail) == (State.MISSING, "1 MiB free, 500 MiB are needed")


def test_a_port_of_the_bench_that_may_not_be_opened(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = root / "ttyUSB7"
    port.touch()
    (root / "bench.toml").write_text(
        f'schema = "assay.bench/1"\n[[places]]\nname = "p"\nboard = "b"\nport = "{port}"\n'
    )
    assert named(look(root, root), f"port {port}").state is State.OK
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    found = named(look(root, root), f"port {port}")
    assert (found.state, "usermod -aG" in found.fix) == (State.MISSING, True)


def run_doctor(*words: str, path: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "assay", "doctor", "--site", str(folder / "site"), *words]
    environment = {**os.environ, "PATH": path}
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, check=False)


def test_status_and_document(root: Path) -> None:
    ended = run_doctor("--json", path=str(root), folder=root)
    document = json.loads(ended.stdout)
    assert (ended.returncode, document["status"]) == (3, 3)
    assert "qemu-nowhere" in document["fix_line"]
    (root / "boards" / "b1.toml").unlink()
    before = time.monotonic()
    assert run_doctor("--json", path=os.environ["PATH"], folder=root).returncode == 0
    assert time.monotonic() - before < 60


def test_fix_line_alone(root: Path) -> None:
    ended = run_doctor("--fix-line", path=str(root), folder=root)
    assert ended.returncode == 3
    (line,) = ended.stdout.splitlines()
    assert line.endswith("qemu-nowhere git bubblewrap")


def test_the_tools_of_flashers_are_looked_for_where_a_place_needs_them(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flashers = (
        '[[flashers]]\ndriver = "openocd"\n[[flashers]]\ndriver = "esptool"\n[[flashers]]\ndriver = "somebodys"\n'
    )
    (root / "boards" / "desk.toml").write_text(flashers)
    assert not [each for each in look(root, root / "site") if each.name.startswith("flasher")]
    (root / "bench.toml").write_text('[[places]]\nname = "one"\nboard = "desk"\n')
    monkeypatch.setenv("PATH", str(root))
    monkeypatch.setattr(sys, "executable", str(root / "python"))
    found = {each.name: each for each in look(root, root / "site") if each.name.startswith("flasher")}
    assert sorted(found) == ["flasher esptool", "flasher openocd"]
    assert found["flasher openocd"].fix.endswith("--no-install-recommends openocd")
    assert found["flasher esptool"].fix == f"{root / 'python'} -m pip install 'assay[esptool]'"
    assert "desk can be flashed by it" in found["flasher esptool"].detail
    (root / "esptool").write_text("#!/bin/sh\n")
    (root / "esptool").chmod(0o755)
    assert named(look(root, root / "site"), "flasher esptool").state is State.OK


def test_what_a_token_needs(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = root / "site" / "keys"
    keys.mkdir(parents=True)
    (root / "there.so").touch()
    modules = {"away": "/nonexistent/x.so", "soft": "/nonexistent/libsofthsm2.so", "there": str(root / "there.so")}
    text = "".join(f'[tokens.{label}]\nmodule = "{module}"\n' for label, module in modules.items())
    (keys / "keys.toml").write_text(text)
    found = look(root, root / "site")
    assert named(found, "token away").state is named(found, "token soft").state is State.MISSING
    assert "install -y --no-install-recommends softhsm2" in named(found, "token soft").fix
    assert named(found, "token there").state is State.OK
    monkeypatch.setattr("assay.pipeline.token_checks.importlib.util.find_spec", lambda _: None)
    assert "extra hsm" in named(look(root, root / "site"), "token there").detail


def test_places_that_are_hosts_need_paramiko(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only those: nobody else is told of the extra."""
    (tmp_path / "bench.toml").write_text('[[places]]\nname = "desk"\nport = "/dev/null"\n')
    assert not list(host_checks._hosts(tmp_path))
    (tmp_path / "bench.toml").write_text('[[places]]\nname = "module"\nssh = { host = "h" }\n')
    assert [found.state for found in host_checks._hosts(tmp_path)] == [State.OK]

    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    (found,) = host_checks._hosts(tmp_path)
    assert found.state is State.ADVICE and "assay[ssh]" in found.fix and "module" in found.detail
