# SPDX-License-Identifier: Apache-2.0
"""The identity of the toolchain: version and digest of the compiler and of the Python that drives it.

Guards: the compiler's identity is one over all files that its wheel brought, the same on every machine; the compiler
itself is hashed again when the file changed, and compared with what the wheel says. Leaves to others: what is done
with it (provenance, the key of the build cache).
"""

from __future__ import annotations

import base64
import hashlib
import json
import platform
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from assay.backends.durable_file import make_folder, write_durably
from assay.errors import InfrastructureError, ToolMissing
from assay.model.artifact import ToolIdentity

COMPILER = "ziglang"


def toolchain(cache: Path) -> tuple[ToolIdentity, ...]:
    """Compiler and Python. `cache` keeps digests of large files by size and time. Raises `ToolMissing`."""
    known = _KnownDigests(cache)
    tools = (_wheel(COMPILER, "ziglang/zig", known), _python(known))
    known.save()
    return tools


class _KnownDigests:
    """Digests of files that have not changed since they were hashed: path, size and modification time say so."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._changed = False
        try:
            loaded = json.loads(file.read_bytes())
        except (OSError, ValueError):
            loaded = {}
        self._digests: dict[str, str] = loaded if isinstance(loaded, dict) else {}

    def sha256(self, path: Path) -> str:
        status = path.stat()
        key = f"{path}|{status.st_size}|{status.st_mtime_ns}|{status.st_ino}"
        if not isinstance(self._digests.get(key), str):
            with path.open("rb") as file:
                self._digests[key] = hashlib.file_digest(file, "sha256").hexdigest()
            self._changed = True
        return self._digests[key]

    def save(self) -> None:
        if not self._changed:
            return
        try:
            make_folder(self._file.parent)
            write_durably(self._file, json.dumps(self._digests).encode())
        except OSError:
            return  # only speed is lost: the next call hashes again


def _wheel(name: str, program: str, known: _KnownDigests) -> ToolIdentity:
    try:
        found = distribution(name)
    except PackageNotFoundError as error:
        remedy = f"{sys.executable} -m pip install {name}"
        raise ToolMissing(f"the compiler package {name!r} is not installed", remedy=remedy) from error
    rows = _recorded(found)
    path = Path(str(found.locate_file(program)))
    try:
        actual = known.sha256(path)
    except OSError as error:
        raise _damaged(name, f"{path} cannot be read") from error
    if rows.get(program) != actual:
        raise _damaged(name, f"{path} is not the file that the package brought")
    digest = hashlib.sha256("".join(f"{path} {sha256}\n" for path, sha256 in sorted(rows.items())).encode()).hexdigest()
    return ToolIdentity(name=name, version=found.version, sha256=digest)


def _recorded(found: Distribution) -> dict[str, str]:
    """Path to SHA-256 (hex) of the files of a wheel, without those that installers make (they hold local paths)."""
    rows: dict[str, str] = {}
    for line in (found.read_text("RECORD") or "").splitlines():
        path, _, rest = line.rpartition(",")[0].rpartition(",")
        scheme, _, value = rest.partition("=")
        if scheme == "sha256" and not path.startswith("..") and ".dist-info/" not in path:
            rows[path.strip('"')] = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)).hex()
    return rows


def _python(known: _KnownDigests) -> ToolIdentity:
    version = f"{platform.python_implementation()} {platform.python_version()}"
    return ToolIdentity(name="python", version=version, sha256=known.sha256(Path(sys.executable).resolve()))


def _damaged(name: str, what: str) -> InfrastructureError:
    remedy = f"{sys.executable} -m pip install --force-reinstall {name}"
    return InfrastructureError(f"the compiler package {name!r} is damaged: {what}", remedy=remedy)
