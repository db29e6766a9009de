# SPDX-License-Identifier: Apache-2.0
"""Builds the firmware's core for the host, with sanitizers, and runs its unit tests and power cuts.

    python firmware/tests/run_host.py [WORD]              tests whose name holds WORD
    python firmware/tests/run_host.py --geometries all    on every flash chip of host/geometries.toml, too
    python firmware/tests/run_host.py --mutants [WORD]    wrong variants of the core (of files whose name holds WORD),
                                                          each of which must be caught
    python firmware/tests/run_host.py --apply-patches FOLDER
        the patch decoder on old.N and patch.N of FOLDER: writes new.N, and tells of each N what became of it

Exit status 0 if all is well, 1 if a test failed (or a mutant lived), 3 if something could not be built or run.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FIRMWARE = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(FIRMWARE))
sys.dont_write_bytecode = True

import build as firmware_build  # noqa: E402
from geometries import Geometry, read_board, read_geometries  # noqa: E402

SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")
LOOSE_VERIFIER, WRAP = "loose_verifier.c", ("-Wl,--wrap=ed25519_verify",)
FLAGS = ("-std=c11", "-g", "-O1", "-Wall", "-Wextra", "-Wshadow", "-Wmissing-prototypes", "-Wstrict-prototypes",
         "-Wundef", "-Werror", "-Wno-override-init",
         '-DMODULE_NAME="host"', '-DMODULE_VERSION="1.0.0"')  # fmt: skip
TIMEOUT_S = 600
WORKERS = 2
FLASH_TESTS = "power,marks,group,boot_table,stores,smp.,smp_upload.,rom."  # those that depend on the flash chip
GEOMETRY_FLAGS = ("-DDOUBLE_CUTS=300u",)


@dataclass(frozen=True)
class Mutant:
    """A wrong variant: in `file`, each first text becomes the second; tests whose names hold `tests` must fail."""

    why: str
    file: str
    tests: str
    edits: tuple[tuple[str, str], ...]
    geometry: str  # the flash chip on which it is wrong; empty: the host board's


def read_mutants() -> list[Mutant]:
    """All of mutants.toml."""
    rows = tomllib.loads((FIRMWARE / "tests" / "mutants.toml").read_text(encoding="utf-8"))["mutant"]
    return [
        Mutant(
            row["why"],
            row["file"],
            row["tests"],
            tuple((edit["right"], edit["wrong"]) for edit in row["edits"]),
            row.get("geometry", ""),
        )
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


def compiler_flags(folder: Path, board: dict[str, Any], sanitize: bool) -> list[str]:
    """Writes the layout of a board to `folder`, and says how to compile."""
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
    with ThreadPoolExecutor(WORKERS) as pool:
        objects = pool.map(lambda path: (path.name, compile_one(path, folder, flags)), sources())
    return dict(objects)


def link(objects: dict[str, Path], program: Path, cache: Path, sanitize: bool, extra: tuple[str, ...] = ()) -> Path:
    """The test program."""
    wrap = WRAP if LOOSE_VERIFIER in objects else ()
    command = ["cc", *(SANITIZERS if sanitize else ()), *wrap, *extra, *(str(path) for path in objects.values())]
    done = run([*command, str(make_crypto(cache)), "-o", str(program)], "cc")
    if done.returncode != 0:
        raise SystemExit(fail(done.stderr))
    return program


@dataclass(frozen=True)
class Bench:
    """One chip's test program, all built but for the mutant."""

    objects: dict[str, Path]
    flags: list[str]
    sanitize: bool


def make_bench(name: str, folder: Path) -> Bench:
    """The host board's, under sanitizers, or that of a geometry."""
    folder.mkdir()
    rows = {geometry.name: geometry for geometry in read_geometries()}
    board, sanitize = (rows[name].board, rows[name].sanitize) if name else (read_board(), True)
    flags = [*compiler_flags(folder, board, sanitize), *(GEOMETRY_FLAGS if name else ())]
    return Bench(compile_all(folder, flags), flags, sanitize)


def survives(mutant: Mutant, folder: Path, bench: Bench, cache: Path) -> bool:
    """Builds the core with this fault and runs the tests. True if they did not see it."""
    text = (FIRMWARE / "core" / mutant.file).read_text(encoding="utf-8")
    for right, wrong in mutant.edits:
        if text.count(right) != 1:
            raise SystemExit(fail(f"mutant {mutant.why!r}: its place in {mutant.file} is not there, or there twice"))
        text = text.replace(right, wrong)
    folder.mkdir()
    changed = folder / mutant.file
    changed.write_text(text, encoding="utf-8")
    made = {**bench.objects, mutant.file: compile_one(changed, folder, [*bench.flags, "-w"])}
    program = link(made, folder / "host_tests", cache, bench.sanitize)
    done = run([str(program), mutant.tests, "--first"], "tests")
    if done.stdout.startswith("0 tests"):
        raise SystemExit(fail(f"mutant {mutant.why!r}: no test is called {mutant.tests!r}"))
    return done.returncode == 0


def run_mutants(folder: Path, cache: Path, word: str) -> int:
    """Each mutant must be caught."""
    alive = 0
    mutants = [mutant for mutant in read_mutants() if word in mutant.file]
    benches = {name: make_bench(name, folder / f"bench-{name}") for name in sorted({row.geometry for row in mutants})}
    for number, mutant in enumerate(mutants):
        lives = survives(mutant, folder / f"mutant-{number}", benches[mutant.geometry], cache)
        alive += lives
        print(f"{'ALIVE ' if lives else 'caught'} {mutant.file}: {mutant.why}", flush=True)
    print(f"{len(mutants)} mutants, {alive} alive")
    return 1 if alive else 0


def try_geometry(geometry: Geometry, folder: Path, cache: Path, word: str) -> tuple[int, str]:
    """The tests that depend on the flash, on another chip: exit status, and what to tell."""
    folder.mkdir()
    flags = [*compiler_flags(folder, geometry.board, geometry.sanitize), *GEOMETRY_FLAGS]
    program = link(compile_all(folder, flags), folder / "host_tests", cache, geometry.sanitize)
    done = run([str(program), word or FLASH_TESTS], "tests")
    cuts = re.search(r"all power cuts: (\d+)", done.stdout)
    counted = done.stdout.splitlines()[-1:] or ["ended early"]
    said = f"geometry {geometry.name}: {cuts[1] if cuts else 0} power cuts, {counted[0]}\n"
    if done.returncode == 0:
        return 0, said
    return 1, f"{said}{done.stdout}{done.stderr}"


def run_geometries(chosen: list[Geometry], folder: Path, cache: Path, word: str) -> int:
    """Each chip, some at a time; 1 if one failed."""
    with ThreadPoolExecutor(WORKERS) as pool:
        results = pool.map(lambda geometry: try_geometry(geometry, folder / geometry.name, cache, word), chosen)
        failed = 0
        for status, said in results:
            failed |= status
            print(said, end="", flush=True)
    return failed


def make_program(folder: Path, cache: Path) -> Path:
    """The test program on the host's own board; also for signatures (`--verify FILE`) and `--apply-patches FOLDER`."""
    objects = compile_all(folder, compiler_flags(folder, read_board(), sanitize=True))
    return link(objects, folder / "host_tests", cache, sanitize=True)


def run_default(folder: Path, cache: Path, wanted: list[str]) -> int:
    """The test program on the host's own board."""
    folder.mkdir()
    done = run([str(make_program(folder, cache)), *wanted], "tests")
    print(done.stdout, end="")
    print(done.stderr, end="", file=sys.stderr)
    return 1 if done.returncode else 0


def main(arguments: list[str]) -> int:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description="Host tests of the firmware's core.")
    parser.add_argument("word", nargs="?", default="")
    parser.add_argument("--mutants", action="store_true")
    parser.add_argument("--geometries", choices=("none", "everyday", "all"), default="everyday")
    parser.add_argument("--geometry", help="only this one")
    parser.add_argument("--apply-patches", type=Path, metavar="FOLDER")
    parser.add_argument(
        "--cache", type=Path, default=Path(tempfile.gettempdir()) / f"assay-firmware-host-{os.getuid()}"
    )
    given = parser.parse_args(arguments)
    given.cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        if given.mutants:
            return run_mutants(Path(name), given.cache, given.word)
        make_crypto(given.cache)
        if given.apply_patches:
            return run_default(Path(name) / "default", given.cache, ["--apply-patches", str(given.apply_patches)])
        rows = read_geometries() if given.geometries != "none" or given.geometry else []
        if given.geometry:
            only = [row for row in rows if row.name == given.geometry]
            return run_geometries(only, Path(name), given.cache, given.word)
        chosen = [row for row in rows if row.everyday or given.geometries == "all"]
        failed = run_geometries(chosen, Path(name), given.cache, given.word)
        return run_default(Path(name) / "default", given.cache, [given.word]) or failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
