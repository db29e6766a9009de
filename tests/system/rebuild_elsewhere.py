# SPDX-License-Identifier: Apache-2.0
"""Releases of this checkout, built again on another machine from their provenance alone: `nox -s elsewhere`.

The other machine is the file system of another Debian, made here from its packages, entered with its own file systems,
processes and host name, and without a network. It has another Python, another C library and no compiler but the one of
the lock; of ours it is given assay as a wheel, the locked packages for its Python, a bare clone, the provenance and the
trust file. The processor and the kernel are the same. Wants root, git, mmdebstrap and the mirror that apt uses.

python tests/system/rebuild_elsewhere.py --suite trixie
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "unit"))

from debian_mirror import debian_mirror  # noqa: E402

BOARD = "ast1030-evb"
PACKAGES = ("python3", "python3-venv", "git", "bubblewrap")
SOURCE_ONLY = ("crcmod",)
"""Locked packages that have no wheel: the other machine has no compiler, and no rebuild needs them."""

GIVEN = "/given"
"""Where the other machine finds what it was given."""

VENV = "/opt/assay"


@dataclass(frozen=True)
class Elsewhere:
    """The file system of the other machine."""

    root: Path

    def run(self, *words: str, given: Path | None = None) -> str:
        """What `words` print there. Raises `subprocess.CalledProcessError`."""
        mounts = [f"mount -t proc proc {self.root}/proc", f"mount -t tmpfs tmpfs {self.root}/tmp"]
        mounts.append(f"mount --rbind /dev {self.root}/dev")
        if given is not None:
            (self.root / "given").mkdir(exist_ok=True)
            mounts.append(f"mount --bind {given} {self.root}/given")
        script = "; ".join(["hostname elsewhere", *mounts, f'exec chroot {self.root} "$@"'])
        walls = ["unshare", "--mount", "--pid", "--net", "--uts", "--fork", "--kill-child", "--"]
        environment = {"PATH": f"{VENV}/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8"}
        command = [*walls, "sh", "-euc", script, "sh", *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            print(done.stdout, done.stderr, file=sys.stderr)
            done.check_returncode()
        return done.stdout


def other_machine(folder: Path, suite: str, mirror: str | None) -> Elsewhere:
    """Made once, and kept in `folder`."""
    root = folder / suite
    if not root.exists():
        fresh = folder / f".{suite}"
        shutil.rmtree(fresh, ignore_errors=True)
        line = ["mmdebstrap", "--quiet", "--variant=apt", f"--include={','.join(PACKAGES)}", suite, str(fresh)]
        subprocess.run([*line, *([mirror or _mirror()])], check=True)
        fresh.rename(root)
    return Elsewhere(root)


def _mirror() -> str:
    try:
        return debian_mirror()
    except LookupError as error:
        raise SystemExit(f"{error}: name one with --mirror") from error


def install_there(machine: Elsewhere, given: Path) -> str:
    """assay and the locked packages, into an environment of the other machine; answers its version of Python."""
    version = machine.run("python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()
    lock = _lock_of_wheels((ROOT / "requirements" / "run.txt").read_text())
    (given / "lock.txt").write_text(lock)
    pip = [sys.executable, "-m", "pip"]
    wheels = ["-q", "--only-binary=:all:", "--python-version", version, "--no-deps", "--require-hashes"]
    subprocess.run([*pip, "download", *wheels, "-r", str(given / "lock.txt"), "-d", str(given / "wheels")], check=True)
    ours = ["-q", "--no-deps", "--no-build-isolation", "-w", str(given / "assay"), str(ROOT)]
    subprocess.run([*pip, "wheel", *ours], check=True)
    if not (machine.root / VENV.lstrip("/")).exists():
        machine.run("python3", "-m", "venv", VENV)
    offline = ["pip", "install", "-q", "--no-index", "--no-deps", "--disable-pip-version-check"]
    there = ["--require-hashes", "--find-links", f"{GIVEN}/wheels", "-r", f"{GIVEN}/lock.txt"]
    machine.run(*offline, *there, given=given)
    wheel = next((given / "assay").glob("*.whl")).name
    machine.run(*offline, "--force-reinstall", f"{GIVEN}/assay/{wheel}", given=given)
    return version


def _lock_of_wheels(lock: str) -> str:
    """The lock without the packages that are there as sources only."""
    entries = re.split(r"^(?=[A-Za-z0-9])", lock, flags=re.MULTILINE)
    return "".join(entry for entry in entries if entry.partition("==")[0] not in SOURCE_ONLY)


def release_here(folder: Path, given: Path) -> dict[str, dict[str, Any]]:
    """Artifacts of bootloader and app, built and signed here from a clone; `given` gets what a stranger needs."""
    clone = folder / "clone"
    _git("clone", "-q", "--no-local", str(ROOT), str(clone))
    _git("clone", "-q", "--bare", "--no-local", str(ROOT), str(given / "sources.git"))

    def assay(*words: str) -> str:
        line = [sys.executable, "-m", "assay", *words, "--site", str(folder / "site")]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ASSAY_")}
        done = subprocess.run(line, cwd=clone, env=kept, stdout=subprocess.PIPE, text=True, check=True)
        return done.stdout

    (folder / "image.pem").write_text(assay("keys", "show", "image", "--format", "pem"))
    assay("keys", "trust", "--allow-development", "--allow-emulated", "--out", str(given / "trust.toml"))
    artifacts = {}
    for name, more in {"bootloader": ("--declare-key", f"image={folder}/image.pem"), "app": ()}.items():
        out = str(folder / name)
        artifacts[name] = json.loads(
            assay("build", f"firmware/{name}", "--board", BOARD, "--out", out, *more, "--json")
        )["artifact"]
        assay("sign", out)
        shutil.copy(folder / f"{name}.signed" / "provenance.sigstore.json", given / f"{name}.json")
    return artifacts


def rebuild_there(machine: Elsewhere, given: Path, name: str) -> dict[str, Any]:
    """What the other machine says of the release called `name`."""
    words = ["rebuild", f"{GIVEN}/{name}.json", "--trust", f"{GIVEN}/trust.toml", "--source", f"{GIVEN}/sources.git"]
    site = ["--site", "/tmp/site", "--out", f"{GIVEN}/{name}-again", "--json"]  # of that machine
    told: dict[str, Any] = json.loads(machine.run(f"{VENV}/bin/assay", *words, *site, given=given))
    return told


def differences(name: str, here: dict[str, Any], told: dict[str, Any], again: dict[str, Any]) -> list[str]:
    """What is not as it has to be, in words; none when the other machine made the same and is another one."""
    found = [] if told["identical"] else [f"{name}: not identical, {told['difference']}"]
    if not any(line.startswith("python: ") for line in told["other_tools"]):
        found.append(f"{name}: the other machine has the same Python: it is not another one")
    if here["payload_sha256"] != again["payload_sha256"]:
        found.append(f"{name}: the payload there is {again['payload_sha256']}")
    return found


def _git(*words: str) -> None:
    subprocess.run(["git", "-c", "safe.directory=*", *words], check=True)


def main(arguments: list[str]) -> int:
    """0 when every release is the same there."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--suite", default="trixie", help="the Debian of the other machine [trixie]")
    parser.add_argument("--mirror", help="of Debian [as apt is configured]")
    parser.add_argument("--folder", type=Path, default=ROOT / ".nox" / "elsewhere-root", help="keeps that machine")
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    wrong: list[str] = []
    with tempfile.TemporaryDirectory(prefix="assay-elsewhere-") as scratch:
        given = Path(scratch) / "given"
        given.mkdir()
        begun_s = time.monotonic()
        machine = other_machine(options.folder.resolve(), options.suite, options.mirror)
        version = install_there(machine, given)
        print(f"{options.suite} with Python {version}, in {time.monotonic() - begun_s:.0f} s", flush=True)
        for name, here in release_here(Path(scratch), given).items():
            begun_s = time.monotonic()
            told = rebuild_there(machine, given, name)
            again = json.loads((given / f"{name}-again" / "artifact.json").read_text())
            wrong += differences(name, here, told, again)
            what = "identical" if told["identical"] else "DIFFERENT"
            print(f"{told['release']}: {what}, by {again['builder']} there, in {time.monotonic() - begun_s:.0f} s")
            for line in (*(f"{part['name']} {part['found']}" for part in told["compared"]), *told["other_tools"]):
                print(f"  {line}")
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
