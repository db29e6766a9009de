# SPDX-License-Identifier: Apache-2.0
"""The source of a project of somebody else, as Debian has it, pinned by digest: xxHash, with a Makefile and a CMake
project. Fetched once by `nox -s tests` or `-s containers`, by apt, with lists of its own.
"""

from __future__ import annotations

import hashlib
import sys
import tarfile
import tempfile
from pathlib import Path

from debian_archive import DebianArchive

ROOT = Path(__file__).parents[2]
FILE = ROOT / ".nox" / "foreign-projects" / "xxhash_0.8.1.orig.tar.gz"
SHA256 = "3bb6b7d6f30c591dd65aaaff1c8b7a5b94d81687998ca9400082c739a690436c"
PACKAGE, SUITE = "xxhash=0.8.1-1", "bookworm"


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
    with tempfile.TemporaryDirectory(prefix="assay-source-") as scratch:
        try:
            archive = DebianArchive(Path(scratch), "deb-src", SUITE)
        except LookupError as error:
            raise SystemExit(str(error)) from error
        got = archive.run("source", "--download-only", PACKAGE)
        data = (got / FILE.name).read_bytes()
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise SystemExit(f"{FILE.name} is another file than it was")
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_bytes(data)


if __name__ == "__main__":
    sys.exit(fetch())
