# SPDX-License-Identifier: Apache-2.0
"""Builds the firmware's core for the host, with sanitizers, and runs its unit tests and power cuts.

    python firmware/tests/run_host.py [WORD]      tests whose name holds WORD
    python firmware/tests/run_host.py --mutants   wrong variants of the core, each of which the tests must catch

Exit status 0 if all is well, 1 if a test failed (or a mutant lived), 3 if something could not be built or run.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

FIRMWARE = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(FIRMWARE))
sys.dont_write_bytecode = True

import build as firmware_build  # noqa: E402

SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")
FLAGS = ("-std=c11", "-g", "-O1", "-Wall", "-Wextra", "-Wshadow", "-Wmissing-prototypes", "-Wstrict-prototypes",
         "-Wundef", "-Werror", "-Wno-override-init",
         '-DMODULE_NAME="host"', '-DMODULE_VERSION="1.0.0"')  # fmt: skip
TIMEOUT_S = 600


@dataclass(frozen=True)
class Mutant:
    """A wrong variant: in `file`, each first text becomes the second; tests whose names hold `tests` must fail."""

    why: str
    file: str
    tests: str
    edits: tuple[tuple[str, str], ...]


def read_mutants() -> list[Mutant]:
    """All of mutants.toml."""
    rows = tomllib.loads((FIRMWARE / "tests" / "mutants.toml").read_text(encoding="utf-8"))["mutant"]
    return [
        Mutant(row["why"], row["file"], row["tests"], tuple((edit["right"], edit["wrong"]) for edit in row["edits"]))
        for row in rows
    ]


def run(command: list[str], what: str) -> subprocess.CompletedProcess[str]:
    """Runs a tool; ends the program with status 3 if it cannot be run."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SystemExit(fail(f"{what}: {error}")) from error


def fail(text: str) -> int:
    """Tells why there is no result."""
    print(f"run_host.py: {text}", file=sys.stderr)
    return 3


def make_crypto(cache: Path) -> Path:
    """The Zig library for this host, made once."""
    library = cache / "crypto-host.a"
    source = FIRMWARE / "crypto" / "crypto.zig"
    if library.exists() and library.stat().st_mtime > source.stat().st_mtime:
        return library
    command = [*firmware_build.find_zig(), "build-lib", str(source), "-target", "x86_64-linux-gnu", "-O", "ReleaseFast",
               "-static", "-fPIC", "-fcompiler-rt", "--name", "crypto", f"-femit-bin={library}", "--cache-dir",
               str(cache / "zig"), "--global-cache-dir", str(cache / "zig")]  # fmt: skip
    done = run(command, "zig")
    if done.returncode != 0:
        raise SystemExit(fail(done.stderr))
    return library


def sources() -> list[Path]:
    """All of the core, the host port and the tests."""
    tests = sorted((FIRMWARE / "tests" / "host").glob("*.c"))
    return [*sorted((FIRMWARE / "core").glob("*.c")), FIRMWARE / "port" / "host" / "port.c", *tests]


def compiler_flags(folder: Path, sanitize: bool) -> list[str]:
    """Writes the layout of the host board to `folder`, and says how to compile."""
    board = tomllib.loads((FIRMWARE / "tests" / "host" / "host_board.toml").read_text(encoding="utf-8"))
    (folder / "board_layout.h").write_text(firmware_build.layout_header(board), encoding="ascii")
    includes = [folder, FIRMWARE / "core" / "include", FIRMWARE / "crypto" / "include", FIRMWARE / "port" / "host",
                FIRMWARE / "tests" / "host"]  # fmt: skip
    return [*FLAGS, *(SANITIZERS if sanitize else ()), *(f"-I{path}" for path in includes)]


def compile_one(source: Path, folder: Path, flags: list[str]) -> Path:
    """One object file; its name keeps apart two sources of the same name."""
    made = folder / f"{source.parent.name}-{source.stem}.o"
    done = run(["cc", *flags, "-c", str(source), "-o", str(made)], "cc")
    if done.returncode != 0:
        raise SystemExit(fail(done.stderr))
    return made


def compile_all(folder: Path, flags: list[str]) -> dict[str, Path]:
    """Source file name to object. Two compilers run at a time: the machine may have other work."""
    with ThreadPoolExecutor(2) as pool:
        objects = pool.map(lambda path: (path.name, compile_one(path, folder, flags)), sources())
    return dict(objects)


def link(objects: dict[str, Path], program: Path, cache: Path, sanitize: bool) -> Path:
    """The test program."""
    command = ["cc", *(SANITIZERS if sanitize else ()), *(str(path) for path in objects.values())]
    done = run([*command, str(make_crypto(cache)), "-o", str(program)], "cc")
    if done.returncode != 0:
        raise SystemExit(fail(done.stderr))
    return program


def survives(mutant: Mutant, folder: Path, objects: dict[str, Path], flags: list[str], cache: Path) -> bool:
    """Builds the core with this fault and runs the tests. True if they did not see it."""
    text = (FIRMWARE / "core" / mutant.file).read_text(encoding="utf-8")
    for right, wrong in mutant.edits:
        if text.count(right) != 1:
            raise SystemExit(fail(f"mutant {mutant.why!r}: its place in {mutant.file} is not there, or there twice"))
        text = text.replace(right, wrong)
    folder.mkdir()
    changed = folder / mutant.file
    changed.write_text(text, encoding="utf-8")
    made = {**objects, mutant.file: compile_one(changed, folder, [*flags, "-w"])}
    program = link(made, folder / "host_tests", cache, sanitize=True)
    return run([str(program), mutant.tests, "--first"], "tests").returncode == 0


def run_mutants(folder: Path, cache: Path) -> int:
    """Each mutant must be caught."""
    alive = 0
    flags = compiler_flags(folder, sanitize=True)
    objects = compile_all(folder, flags)
    mutants = read_mutants()
    for number, mutant in enumerate(mutants):
        lives = survives(mutant, folder / f"mutant-{number}", objects, flags, cache)
        alive += lives
        print(f"{'ALIVE ' if lives else 'caught'} {mutant.file}: {mutant.why}", flush=True)
    print(f"{len(mutants)} mutants, {alive} alive")
    return 1 if alive else 0


def main(arguments: list[str]) -> int:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description="Host tests of the firmware's core.")
    parser.add_argument("word", nargs="?", default="")
    parser.add_argument("--mutants", action="store_true")
    parser.add_argument(
        "--cache", type=Path, default=Path(tempfile.gettempdir()) / f"assay-firmware-host-{os.getuid()}"
    )
    given = parser.parse_args(arguments)
    given.cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        if given.mutants:
            return run_mutants(Path(name), given.cache)
        objects = compile_all(Path(name), compiler_flags(Path(name), sanitize=True))
        program = link(objects, Path(name) / "host_tests", given.cache, sanitize=True)
        done = run([str(program), given.word], "tests")
        print(done.stdout, end="")
        print(done.stderr, end="", file=sys.stderr)
        return 1 if done.returncode else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
