# SPDX-License-Identifier: Apache-2.0
"""Ed25519 vectors of Project Wycheproof through the device's verifier (`crypto/crypto.zig`).

    python firmware/tests/wycheproof.py ed25519_test.json                        built for this host, under sanitizers
    python firmware/tests/wycheproof.py ed25519_test.json --board ast1030-evb    in the bootloader on the emulated board

Both forms of the files are read: `testvectors` (`key.pk`) and `testvectors_v1` (`publicKey.pk`). A vector is judged
thus: `valid` must be accepted, `invalid` refused, `acceptable` may be either and is counted. Signatures that are not 64
bytes long never come to the verifier: the image parser refuses such a TLV (tests/host/test_image.c); they must all be
`invalid` here. Exit status 0 if all is as it should be, 1 if not, 3 if something could not be built or read.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from run_host import fail, make_program, run
from signed_build import Workshop
from twin_verifier import answers_of_board

SIGNATURE_BYTES = 64


@dataclass(frozen=True)
class Vector:
    """One signature and what is to be thought of it."""

    number: int
    key: str
    message: str
    signature: str
    result: str
    flags: tuple[str, ...]

    @property
    def fits(self) -> bool:
        """Is it as long as a signature is?"""
        return len(self.signature) == 2 * SIGNATURE_BYTES


def read_vectors(path: Path) -> list[Vector]:
    """All vectors of a file. Raises OSError, ValueError, KeyError for what is no such file."""
    document = json.loads(path.read_text(encoding="utf-8"))
    return [
        Vector(test["tcId"], (group.get("publicKey") or group["key"])["pk"], test["msg"], test["sig"], test["result"],
               tuple(test.get("flags", ())))
        for group in document["testGroups"]
        for test in group["tests"]
    ]  # fmt: skip


def accepted(program: Path, vectors: list[Vector]) -> list[bool]:
    """What the device's verifier says of each; one of a wrong length never gets there."""
    given = [vector for vector in vectors if vector.fits]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as lines:
        lines.writelines(f"{vector.key} {vector.signature} {vector.message}\n" for vector in given)
        lines.flush()
        done = run([str(program), "--verify", lines.name], "verifier")
    answers = iter(done.stdout.split())
    if done.returncode != 0 or len(done.stdout.split()) != len(given):
        raise SystemExit(fail(f"the verifier ended with {done.returncode}: {done.stderr}"))
    return [vector.fits and next(answers) == "ok" for vector in vectors]


def accepted_on_twin(workshop: Workshop, vectors: list[Vector]) -> list[bool]:
    """The same, of the board's own bootloader in the emulated board. Raises RuntimeError if that gives no answer."""
    given = [vector for vector in vectors if vector.fits]
    asked = [[bytes.fromhex(text) for text in (vector.key, vector.message, vector.signature)] for vector in given]
    answers = iter(answers_of_board(workshop, asked))
    return [vector.fits and next(answers) for vector in vectors]


def faults(vectors: list[Vector], said: list[bool]) -> list[str]:
    """What is not as it should be."""
    found = []
    for vector, ok in zip(vectors, said, strict=True):
        if vector.result != "acceptable" and ok != (vector.result == "valid"):
            found.append(f"vector {vector.number} is {vector.result}, the verifier says {'ok' if ok else 'no'}")
    return found


def answers(given: argparse.Namespace, vectors: list[Vector]) -> list[bool]:
    """Of the verifier that the command line names. Raises RuntimeError, OSError."""
    with tempfile.TemporaryDirectory() as folder:
        if given.board is None:
            return accepted(make_program(Path(folder), given.cache), vectors)
        return accepted_on_twin(Workshop(given.board, Path(folder), given.cache, given.compiler), vectors)


def main(arguments: list[str]) -> int:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description="Wycheproof's Ed25519 vectors through the device's verifier.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--board", help="its bootloader's verifier, on the emulated board")
    parser.add_argument("--compiler", choices=("zig", "gcc"), default="zig", help="of that bootloader")
    parser.add_argument(
        "--cache", type=Path, default=Path(tempfile.gettempdir()) / f"assay-firmware-host-{os.getuid()}"
    )
    given = parser.parse_args(arguments)
    given.cache.mkdir(parents=True, exist_ok=True)
    try:
        vectors = read_vectors(given.file)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return fail(f"{given.file} is no file of Ed25519 vectors: {error}")
    try:
        said = answers(given, vectors)
    except (RuntimeError, OSError) as error:
        return fail(f"the verifier gives no answers: {error}")
    found = faults(vectors, said)
    for fault in found:
        print(fault)
    counts = Counter((vector.result, "accepted" if ok else "refused") for vector, ok in zip(vectors, said, strict=True))
    told = ", ".join(f"{number} {result} {how}" for (result, how), number in sorted(counts.items()))
    print(f"{len(vectors)} vectors: {told}; {len(found)} faults")
    return 1 if found or not vectors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
