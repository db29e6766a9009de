# SPDX-License-Identifier: Apache-2.0
"""The bootloader's patch decoder against detools, which writes the patches: what one of them makes, the other makes."""

from __future__ import annotations

import io
import random
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

detools = pytest.importorskip("detools", reason="pip install assay[delta]")

pytestmark = pytest.mark.timeout(600)
KINDS = (("none", 8, 7), ("crle", 8, 7), ("heatshrink", 8, 7), ("heatshrink", 10, 9), ("heatshrink", 11, 8),
         ("heatshrink", 4, 3), ("heatshrink", 12, 11))  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A patch to apply: to `old`; `new` is what it was made for, None if it was damaged since."""

    old: bytes
    patch: bytes
    new: bytes | None = None


def make_patch(old: bytes, new: bytes, kind: tuple[str, int, int], algorithm: str = "bsdiff") -> bytes:
    """A patch as the release makes it."""
    made = io.BytesIO()
    detools.create_patch(io.BytesIO(old), io.BytesIO(new), made, compression=kind[0], algorithm=algorithm,
                         heatshrink_window_sz2=kind[1], heatshrink_lookahead_sz2=kind[2], use_mmap=False)  # fmt: skip
    return made.getvalue()


def by_detools(case: Case) -> bytes:
    """What detools makes of the patch."""
    made = io.BytesIO()
    detools.apply_patch(io.BytesIO(case.old), io.BytesIO(case.patch), made)
    return made.getvalue()


def by_the_bootloader(cases: list[Case], folder: Path, program: Path) -> list[tuple[str, bytes]]:
    """What the bootloader's decoder says of each case, and what it makes of it."""
    for number, case in enumerate(cases):
        (folder / f"old.{number}").write_bytes(case.old)
        (folder / f"patch.{number}").write_bytes(case.patch)
    done = subprocess.run([program, "--apply-patches", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    words = [line.split(maxsplit=1)[1] for line in done.stdout.splitlines()]
    assert len(words) == len(cases)
    made = [folder / f"new.{number}" for number in range(len(cases))]
    return [(word, path.read_bytes() if path.exists() else b"") for word, path in zip(words, made, strict=True)]


def changed(dice: random.Random, old: bytes) -> bytes:
    """`old` as a new version might be: parts replaced, inserted, removed, moved, and a new tail."""
    new = bytearray(old)
    for _ in range(dice.randrange(8)):
        at = dice.randrange(len(new) + 1)
        length = dice.choice((1, 3, 40, 400))
        match dice.randrange(4):
            case 0:
                new[at : at + length] = dice.randbytes(length)
            case 1:
                new[at:at] = dice.choice((dice.randbytes(length), bytes(length)))
            case 2:
                del new[at : at + length]
            case _:
                part = new[at : at + length]
                del new[at : at + length]
                new[0:0] = part
    return bytes(new)


def pairs(dice: random.Random, count: int) -> list[tuple[bytes, bytes]]:
    """Old and new files: the edges first, then changes of random and of repetitive content."""
    zeros, noise = bytes(3000), dice.randbytes(3000)
    found = [(b"", b""), (b"", b"a"), (b"a", b""), (b"a", b"a"), (b"", noise), (noise, b""), (noise, noise),
             (zeros, noise), (noise, zeros), (zeros, zeros), (noise, noise[1500:] + noise[:1500])]  # fmt: skip
    while len(found) < count:
        size = dice.choice((1, 2, 63, 64, 65, 255, 256, 257, 4096, 20000))
        alphabet = dice.choice((bytes(range(256)), b"\0\1", b"\0\0\0\0\0\0\0\xff"))
        old = bytes(dice.choice(alphabet) for _ in range(size))
        found.append((old, changed(dice, old)))
    return found


def test_what_detools_makes_is_taken(tmp_path: Path, host_program: Path) -> None:
    """Every pair, every compression, both algorithms that make the sequential type: the new file comes out."""
    dice = random.Random(1)
    cases = [
        Case(old, make_patch(old, new, kind, algorithm), new)
        for number, (old, new) in enumerate(pairs(dice, 120))
        for kind in KINDS
        for algorithm in (("bsdiff", "match-blocks") if number % 4 == 0 and old and new else ("bsdiff",))
    ]
    results = by_the_bootloader(cases, tmp_path, host_program)
    wrong = [number for number, (word, made) in enumerate(results) if word != "ok" or made != cases[number].new]
    assert wrong == []
    assert all(by_detools(case) == case.new for case in cases[:: len(cases) // 50])
    assert len(cases) > 800


def test_damaged_patches_are_refused_or_mean_the_same(tmp_path: Path, host_program: Path) -> None:
    """Cut short, lengthened, bytes changed, another old file: what our decoder takes, detools takes too, and makes
    the same of it. (The other way round it may refuse: it is stricter about what nobody writes.)
    """
    dice = random.Random(2)
    cases = []
    for old, new in pairs(dice, 150):
        patch = make_patch(old, new, dice.choice(KINDS))
        cases += [Case(old, patch[: dice.randrange(len(patch))]) for _ in range(3)]
        cases += [Case(old, patch + dice.randbytes(1)), Case(old[: len(old) // 2], patch)]
        for _ in range(12):
            damaged = bytearray(patch)
            for _ in range(dice.randrange(1, 3)):
                damaged[dice.choice((0, 1, 2, 3, dice.randrange(len(patch)))) % len(patch)] = dice.randrange(256)
            cases.append(Case(old, bytes(damaged)))
    results = by_the_bootloader(cases, tmp_path, host_program)
    taken = [(case, made) for case, (word, made) in zip(cases, results, strict=True) if word == "ok"]
    assert [case for case, made in taken if by_detools(case) != made] == []
    assert {word for word, _ in results} == {"ok", "bad-patch"}
    assert len(taken) > 50 and len(cases) - len(taken) > 1000


def test_a_cut_patch_is_never_taken(tmp_path: Path, host_program: Path) -> None:
    """At every length."""
    dice = random.Random(3)
    old = dice.randbytes(1500)
    new = changed(dice, old) + b"the end"
    patches = [make_patch(old, new, kind) for kind in KINDS[:4]]
    cases = [Case(old, patch[:length]) for patch in patches for length in range(len(patch))]
    results = by_the_bootloader(cases, tmp_path, host_program)
    assert {word for word, _ in results} == {"bad-patch"}
