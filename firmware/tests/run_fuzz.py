# SPDX-License-Identifier: Apache-2.0
"""Feeds the firmware's core, built for the host under sanitizers, with bytes that nobody should send.

    python firmware/tests/run_fuzz.py                         the corpus and seeded changes of it: the same each time
    python firmware/tests/run_fuzz.py --runs 100000 --seed 7 boot       more, other ones, of one target
    python firmware/tests/run_fuzz.py --libfuzzer --seconds 600         by clang's libFuzzer, which sees coverage
    python firmware/tests/run_fuzz.py --mutants               wrong variants of the core, each of which must be caught
    python firmware/tests/run_fuzz.py --coverage              which lines of the core are reached, with the host tests
    python firmware/tests/run_fuzz.py --seeds                 writes the seeds of the corpus anew

An input that fails is left behind, and named. Exit status 0 if all is well, 1 if an input failed (or a mutant lived), 3
if something could not be built or run.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

sys.dont_write_bytecode = True

import run_host  # noqa: E402
from geometries import read_board  # noqa: E402

FUZZ = run_host.FIRMWARE / "tests" / "fuzz"
CORPUS = FUZZ / "corpus"
SHARED = ("image_maker.c", "patch_maker.c", "smp_client.c")  # of the host tests
CLANG = ("-std=c11", "-g", "-O1", "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all",
         '-DMODULE_NAME="host"', '-DMODULE_VERSION="1.0.0"', "-w")  # fmt: skip
CLANG_OLDEST, CLANG_NEWEST = 14, 30  # major versions; the newest is how far names are tried
# Changed inputs of each target in a run that everybody waits for; a second or two of each.
RUNS = {"boot": 400, "image": 1500, "frames": 20000, "packets": 1500, "cbor": 40000, "xmodem": 3000, "stores": 1500,
        "delta": 20000}  # fmt: skip
WORKERS = 2
INPUT_MAX = 16384  # bytes: FUZZ_INPUT_MAX


@dataclass(frozen=True)
class Mutant:
    """A wrong variant: in `file`, `right` becomes `wrong`; the target must fail on it."""

    why: str
    file: str
    target: str
    right: str
    wrong: str


def read_mutants() -> list[Mutant]:
    """All of fuzz/mutants.toml."""
    rows = tomllib.loads((FUZZ / "mutants.toml").read_text(encoding="utf-8"))["mutant"]
    return [Mutant(row["why"], row["file"], row["target"], row["right"], row["wrong"]) for row in rows]


def sources() -> list[Path]:
    """The core, the host port, and the targets with what they share with the host tests."""
    firmware = run_host.FIRMWARE
    shared = [firmware / "tests" / "host" / name for name in SHARED]
    fuzz = [path for path in sorted(FUZZ.glob("*.c")) if path.name != "libfuzzer.c"]
    return [*sorted((firmware / "core").glob("*.c")), firmware / "port" / "host" / "port.c", *shared, *fuzz]


def compile_all(folder: Path, extra: tuple[str, ...] = ()) -> tuple[dict[str, Path], list[str]]:
    """Source file name to object, and the flags."""
    folder.mkdir()
    flags = [*run_host.compiler_flags(folder, read_board(), sanitize=True), f"-I{FUZZ}", *extra]
    with ThreadPoolExecutor(WORKERS) as pool:
        objects = dict(pool.map(lambda path: (path.name, run_host.compile_one(path, folder, flags)), sources()))
    return objects, flags


def feed(program: Path, target: str, given: argparse.Namespace, runs: int) -> tuple[int, str]:
    """One target: exit status and what to tell. An input that failed lies where `given.keep` says."""
    kept = given.keep / f"failed-{target}"
    kept.unlink(missing_ok=True)
    command = [str(program), target, str(CORPUS / target), str(given.seed), str(runs), str(kept)]
    done = run_host.run(command, target)
    if done.returncode == 0:
        return 0, done.stdout
    return 1, f"{target}: FAILED, the input is {kept}\n{done.stdout}{done.stderr[-6000:]}\n"


def run_targets(program: Path, given: argparse.Namespace) -> int:
    """All targets, some at a time; 1 if one failed."""
    with ThreadPoolExecutor(WORKERS) as pool:
        results = list(pool.map(lambda name: feed(program, name, given, given.runs or RUNS[name]), given.target))
    for _, said in results:
        print(said, end="")
    return max(status for status, _ in results)


def survives(mutant: Mutant, folder: Path, given: argparse.Namespace, bench: tuple[dict[str, Path], list[str]]) -> bool:
    """Builds the core with this fault. True if its target did not see it."""
    objects, flags = bench
    text = (run_host.FIRMWARE / "core" / mutant.file).read_text(encoding="utf-8")
    if text.count(mutant.right) != 1:
        raise SystemExit(run_host.fail(f"mutant {mutant.why!r}: its place in {mutant.file} is not there, or twice"))
    folder.mkdir()
    changed = folder / mutant.file
    changed.write_text(text.replace(mutant.right, mutant.wrong), encoding="utf-8")
    made = {**objects, mutant.file: run_host.compile_one(changed, folder, [*flags, "-w"])}
    program = run_host.link(made, folder / "fuzz", given.cache, sanitize=True)
    return feed(program, mutant.target, argparse.Namespace(keep=folder, seed=given.seed), RUNS[mutant.target])[0] == 0


def run_mutants(folder: Path, given: argparse.Namespace) -> int:
    """Each mutant must be caught by the run that everybody makes."""
    bench = compile_all(folder / "build")
    mutants, alive = read_mutants(), 0
    for number, mutant in enumerate(mutants):
        lives = survives(mutant, folder / f"mutant-{number}", given, bench)
        alive += lives
        print(f"{'ALIVE ' if lives else 'caught'} {mutant.target}, {mutant.file}: {mutant.why}", flush=True)
    print(f"{len(mutants)} mutants, {alive} alive")
    return 1 if alive else 0


def clang_version(program: str) -> int:
    """Of this clang; 0 if it does not say so."""
    told = re.search(r"clang version (\d+)", run_host.run([program, "--version"], "clang").stdout)
    return int(told[1]) if told else 0


def has_libfuzzer(program: str) -> bool:
    """Distributions package its library apart from clang: a program of one line is linked with all that is wanted."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "one.c"
        source.write_text(
            "int LLVMFuzzerTestOneInput(const char *d, long n) { return d && n < 0; }\n", encoding="ascii"
        )
        return run_host.run([program, *CLANG, str(source), "-o", f"{folder}/one"], "clang").returncode == 0


def find_clang() -> str:
    """The first clang, by its plain name or with a version, that is new enough and links libFuzzer."""
    names = ("clang", *(f"clang-{version}" for version in range(CLANG_NEWEST, CLANG_OLDEST - 1, -1)))
    refused = []
    for name in filter(shutil.which, names):
        version = clang_version(name)
        if version < CLANG_OLDEST:
            refused.append(f"{name} is version {version or 'unknown'}")
        elif has_libfuzzer(name):
            return name
        else:
            refused.append(f"{name} has no libFuzzer: apt-get install libclang-rt-{version}-dev, or the like")
    raise SystemExit(
        run_host.fail(
            "; ".join([f"no clang {CLANG_OLDEST} or newer with libFuzzer", *refused])
            + ("" if refused else f": apt-get install clang libclang-rt-{CLANG_OLDEST}-dev")
        )
    )


def run_libfuzzer(folder: Path, given: argparse.Namespace) -> int:
    """Each target for some seconds. Inputs that reach more are kept: some of them may go to the corpus."""
    folder.mkdir()
    (folder / "board_layout.h").write_text(run_host.firmware_build.layout_header(read_board()), encoding="ascii")
    flags = [flag for flag in run_host.compiler_flags(folder, read_board(), sanitize=True) if flag.startswith("-I")]
    files = [str(path) for path in sources() if path.name != "mutate.c"]
    failed, clang = 0, find_clang()
    for target in given.target:
        program, found = folder / f"fuzz-{target}", given.keep / f"found-{target}"
        found.mkdir(parents=True, exist_ok=True)
        define = f'-DFUZZ_TARGET="{target}"'
        command = [clang, *CLANG, *flags, f"-I{FUZZ}", define, str(FUZZ / "libfuzzer.c"), *files]
        done = run_host.run([*command, str(run_host.make_crypto(given.cache)), "-o", str(program)], "clang")
        if done.returncode != 0:
            raise SystemExit(run_host.fail(done.stderr))
        limits = [f"-max_total_time={given.seconds}", f"-max_len={INPUT_MAX}", f"-seed={given.seed}", "-timeout=20",
                  f"-artifact_prefix={given.keep}/failed-{target}-", "-print_final_stats=1"]  # fmt: skip
        told = subprocess.run(
            [str(program), *limits, str(found), str(CORPUS / target)], capture_output=True, text=True, check=False
        )
        count = re.search(r"number_of_executed_units: (\d+)", told.stderr)
        covered = re.findall(r"cov: (\d+)", told.stderr)
        print(f"{target}: {count[1] if count else '?'} inputs, {covered[-1] if covered else '?'} edges", flush=True)
        if told.returncode != 0:
            failed = 1
            print(told.stderr[-4000:])
    return failed


def run_coverage(folder: Path, given: argparse.Namespace) -> int:
    """Host tests and fuzz targets with gcov's counters: each file of the core, and the lines that nothing reached."""
    folder.mkdir()
    flags = ["--coverage", "-fprofile-abs-path"]
    objects, _ = compile_all(folder / "fuzz", (*flags, "-O0"))
    fuzz = run_host.link(objects, folder / "fuzz-program", given.cache, sanitize=True, extra=("--coverage",))
    status = run_targets(fuzz, given)
    (folder / "host").mkdir()
    host_flags = [*run_host.compiler_flags(folder / "host", read_board(), sanitize=True), *flags, "-O0"]
    objects = run_host.compile_all(folder / "host", host_flags)
    host = run_host.link(objects, folder / "host-program", given.cache, sanitize=True, extra=("--coverage",))
    status |= run_host.run([str(host)], "tests").returncode
    report_coverage(folder)
    return status


def report_coverage(folder: Path) -> None:
    """Lines of the core: reached by either program."""
    reached: dict[str, dict[int, int]] = {}
    texts: dict[tuple[str, int], str] = {}
    for where in (folder / "fuzz", folder / "host"):
        data = sorted(str(path) for path in where.glob("core-*.gcda"))
        done = run_host.run(["gcov", "-t", *data], "gcov")
        name = ""
        for line in done.stdout.splitlines():
            parts = line.split(":", 2)
            if len(parts) != 3:
                continue
            count, number, text = parts[0].strip(), parts[1].strip(), parts[2]
            if number == "0" and text.startswith("Source:"):
                name = Path(text[7:]).name if "/core/" in text else ""
            elif name and number != "0" and count != "-":
                times = 0 if count.startswith(("#", "=")) else 1
                lines = reached.setdefault(name, {})
                lines[int(number)] = max(lines.get(int(number), 0), times)
                texts[name, int(number)] = text
    for name, lines in sorted(reached.items()):
        print(f"{name:20} {sum(lines.values()):5} of {len(lines):5} lines")
        for number in sorted(number for number, times in lines.items() if not times):
            print(f"    {number:4}: {texts[name, number].strip()}")
    whole = sum(len(lines) for lines in reached.values())
    print(f"core: {sum(sum(lines.values()) for lines in reached.values())} of {whole} lines")


def main(arguments: list[str]) -> int:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description="Fuzzing of the firmware's core.")
    parser.add_argument("target", nargs="*", choices=[[], *RUNS], default=[])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, help="changed inputs of each target")
    parser.add_argument("--seconds", type=int, default=60, help="of each target, with --libfuzzer")
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()), help="where failed inputs go")
    for option in ("--libfuzzer", "--mutants", "--coverage", "--seeds"):
        parser.add_argument(option, action="store_true")
    parser.add_argument(
        "--cache", type=Path, default=Path(tempfile.gettempdir()) / f"assay-firmware-host-{os.getuid()}"
    )
    given = parser.parse_args(arguments)
    given.target = given.target or list(RUNS)
    given.cache.mkdir(parents=True, exist_ok=True)
    given.keep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "work"
        if given.libfuzzer:
            return run_libfuzzer(folder, given)
        if given.mutants:
            folder.mkdir()
            return run_mutants(folder, given)
        if given.coverage:
            return run_coverage(folder, given)
        program = run_host.link(compile_all(folder)[0], folder / "fuzz-program", given.cache, sanitize=True)
        if given.seeds:
            return run_host.run([str(program), "--seeds", str(CORPUS)], "seeds").returncode
        return run_targets(program, given)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
