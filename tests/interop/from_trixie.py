# SPDX-License-Identifier: Apache-2.0
"""What tests/interop takes of Debian 13 (trixie), which has it where the Debian of this machine may not: the sources of
go-containerregistry, a registry with the referrers API, `oras`, a client of registries, and the sources of
transparency-dev/merkle with its vectors. And of the Debian to come (forky), where it is there: `sigstore-go`.

Fetched once by `nox -s interop` (`python tests/interop/from_trixie.py`); unpacked, and not installed. The registry is
built by the Go of PyPI, from its own sources and Go's standard library alone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "unit"))

from debian_archive import DebianArchive  # noqa: E402

FOLDER = ROOT / ".nox" / "from-trixie"
PACKAGES = (
    "golang-github-google-go-containerregistry-dev",
    "golang-github-transparency-dev-merkle-dev",
    "oras",
)
TO_COME = ("forky", "sigstore-go")
LISTED = FOLDER / "packages"
"""What was fetched: a folder of another list is fetched anew."""

ORAS = FOLDER / "usr" / "bin" / "oras"
REGISTRY = FOLDER / "registry"
MERKLE = FOLDER / "usr" / "share" / "gocode" / "src" / "github.com" / "transparency-dev" / "merkle"
SIGSTORE_GO = FOLDER / "usr" / "bin" / "sigstore-go-verification"

GO_MODULE = "github.com/google/go-containerregistry"
GO_BUILD = {"GOPROXY": "off", "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}
GO_BUILD |= {"GOCACHE": str(ROOT / ".nox" / "go-cache")}
"""No network; what one build compiles of the standard library the next one has."""


def fetch() -> None:
    """Whole or not at all. Without apt, or a mirror of Debian, nothing: the tests say so when they are skipped."""
    wanted = "\n".join((*PACKAGES, *TO_COME))
    if FOLDER.is_dir():
        if LISTED.is_file() and LISTED.read_text() == wanted:
            return
        shutil.rmtree(FOLDER)
    FOLDER.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="from-trixie-", dir=FOLDER.parent) as scratch:
        try:
            archive = DebianArchive(Path(scratch) / "apt", "deb", "trixie")
        except LookupError as error:
            print(error, file=sys.stderr)
            return
        files = Path(scratch) / "files"
        unpack(archive.run("download", *PACKAGES), files)
        try:
            suite, package = TO_COME
            unpack(DebianArchive(Path(scratch) / "to-come", "deb", suite).run("download", package), files)
        except subprocess.CalledProcessError:
            print("sigstore-go: not in the Debian to come", file=sys.stderr)
        (files / LISTED.name).write_text(wanted)
        build(files / "usr" / "share" / "gocode" / "src" / GO_MODULE, Path(scratch) / "go", files / REGISTRY.name)
        files.rename(FOLDER)


def unpack(got: Path, files: Path) -> None:
    """The packages in `got`."""
    for package in sorted(got.glob("*.deb")):
        print(package.name)
        subprocess.run(["dpkg-deb", "-x", str(package), str(files)], check=True)


def build(sources: Path, folder: Path, program: Path) -> None:
    """`go_registry` with the packages in `sources`, as `program`."""
    shutil.copytree(sources, folder / "module")
    shutil.copy(Path(__file__).parent / "go_registry" / "main.go", folder)
    (folder / "module" / "go.mod").write_text(f"module {GO_MODULE}\n\ngo 1.23\n")
    needs = f"require {GO_MODULE} v0.0.0\n\nreplace {GO_MODULE} => ./module\n"
    (folder / "go.mod").write_text(f"module goregistry\n\ngo 1.23\n\n{needs}")
    environment = {**os.environ, **GO_BUILD, "GOPATH": f"{folder}/path"}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    go = shutil.which("go", path=path) or "go"
    subprocess.run([go, "build", "-o", str(program.absolute()), "."], cwd=folder, env=environment, check=True)


if __name__ == "__main__":
    sys.exit(fetch())
