# SPDX-License-Identifier: Apache-2.0
"""The parsers by coverage, with atheris (libFuzzer for Python): `nox -s atheris -- --seconds 600 bundle`.

Each target is a process of its own, since libFuzzer ends the one that it runs in. What it finds it keeps in
.nox/atheris-corpus/TARGET, where the next run begins; a crash is a file beside it, which `--replay FILE TARGET` reads.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
CORPUS = HERE.parents[1] / ".nox" / "atheris-corpus"
INPUT_BYTES_MAX = 8192


def fuzz(name: str, seconds: int) -> None:
    """Never returns: libFuzzer leaves with its status."""
    import atheris

    with atheris.instrument_imports(include=["assay"]):
        import parsers

    folder = CORPUS / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "seed").write_bytes(parsers.TARGETS[name][1])
    options = [f"-max_total_time={seconds}", f"-max_len={INPUT_BYTES_MAX}", f"-artifact_prefix={CORPUS}/{name}-"]
    quiet = ["-print_final_stats=1", "-verbosity=0", "-timeout=20"]
    atheris.Setup([sys.argv[0], *options, *quiet, str(folder)], lambda data: parsers.run(name, data))
    atheris.Fuzz()


def main() -> int:
    """All targets, or those that are named; the worst status."""
    sys.path.insert(0, str(HERE))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--seconds", type=int, default=30, help="for each target [30]")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--replay", type=Path, help="read this file with the targets, and fuzz nothing")
    asked = parser.parse_args()
    if asked.one:
        fuzz(asked.one, asked.seconds)
    import parsers

    unknown = set(asked.targets) - set(parsers.TARGETS)
    if unknown:
        parser.error(f"no target {', '.join(sorted(unknown))}; there are {', '.join(parsers.TARGETS)}")
    chosen = asked.targets or list(parsers.TARGETS)
    if asked.replay:
        for name in chosen:
            parsers.run(name, asked.replay.read_bytes())
        return 0
    return max(_process(name, asked.seconds) for name in chosen)


def _process(name: str, seconds: int) -> int:
    command = [sys.executable, __file__, "--one", name, "--seconds", str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    runs = [line.split()[-1] for line in done.stderr.splitlines() if "number_of_executed_units" in line]
    print(f"{name:<16} {'CRASH' if done.returncode else 'ok':<6} {runs[0] if runs else '?':>10} runs", flush=True)
    if done.returncode:
        print(done.stdout[-4000:], done.stderr[-4000:], sep="\n")
    return abs(done.returncode)


if __name__ == "__main__":
    sys.exit(main())
