# SPDX-License-Identifier: Apache-2.0
"""The source of a project of somebody else, as Debian has it, pinned by digest: xxHash, with a Makefile and a CMake
project. Fetched once by `nox -s containers` (`python tests/unit/foreign_project.py`), by apt, with lists of its own.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from debian_mirror import debian_mirror

ROOT = Path(__file__).parents[2]
FILE = ROOT / ".nox" / "foreign-projects" / "xxhash_0.8.1.orig.tar.gz"
SHA256 = "3bb6b7d6f30c591dd65aaaff1c8b7a5b94d81687998ca9400082c739a690436c"
PACKAGE, SUITE = "xxhash=0.8.1-1", "bookworm"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def unpack(folder: Path) -> bool:
    """The project below `folder`; False where it was not fetched."""
    if not FILE.is_file():
        return False
    assert hashlib.sha256(FILE.read_bytes()).hexdigest() == SHA256
    with tarfile.open(FILE) as tar:
        for member in tar:
            name = member.name.partition("/")[2]
            if member.isfile() and name:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(tar.extractfile(member).read())  # type: ignore[union-attr]
    return True


def fetch() -> None:
    """From the mirror that this machine's apt takes Debian from; nothing of the system is changed."""
    if FILE.is_file():
        return
    try:
        mirror = debian_mirror()
    except LookupError as error:
        raise SystemExit(str(error)) from error
    with tempfile.TemporaryDirectory(prefix="assay-source-") as scratch:
        folder = Path(scratch)
        for name in ("lists/partial", "cache/archives/partial", "got"):
            (folder / name).mkdir(parents=True)
        (folder / "sources.list").write_text(f"deb-src [signed-by={KEYRING}] {mirror} {SUITE} main\n")
        settings = {"Dir::Etc::sourcelist": f"{scratch}/sources.list", "Dir::Etc::sourceparts": "-"}
        settings |= {"Dir::State::lists": f"{scratch}/lists", "Dir::Cache": f"{scratch}/cache"}
        apt = ["apt-get", "-qq", *(part for name, value in settings.items() for part in ("-o", f"{name}={value}"))]
        subprocess.run([*apt, "-o", "APT::Sandbox::User=root", "update"], check=True)
        subprocess.run([*apt, "source", "--download-only", PACKAGE], cwd=folder / "got", check=True)
        data = (folder / "got" / FILE.name).read_bytes()
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise SystemExit(f"{FILE.name} is another file than it was")
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_bytes(data)


if __name__ == "__main__":
    sys.exit(fetch())
