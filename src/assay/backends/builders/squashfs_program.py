# SPDX-License-Identifier: Apache-2.0
"""mksquashfs (squashfs-tools), as a program: a file system with one file, the same bytes for the same file."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from assay.errors import InfrastructureError, StorageError, ToolMissing

PROGRAM = "mksquashfs"
TIMEOUT_S = 600.0
FIXED = (
    "-all-root",
    "-all-time",
    "0",
    "-mkfs-time",
    "0",
    "-no-xattrs",
    "-no-exports",
    "-no-progress",
    "-quiet",
    "-comp",
    "gzip",
)


def squashfs_of(name: str, data: bytes) -> bytes:
    """A squashfs that holds `data` as the file `name`. Raises ToolMissing, InfrastructureError, StorageError."""
    try:
        with tempfile.TemporaryDirectory(prefix="assay-squashfs-") as scratch:
            folder, out = Path(scratch) / "content", Path(scratch) / "out.squashfs"
            folder.mkdir(mode=0o755)
            (folder / name).write_bytes(data)
            (folder / name).chmod(0o644)
            command = [PROGRAM, str(folder), str(out), *FIXED]
            done = subprocess.run(command, capture_output=True, timeout=TIMEOUT_S, check=False)
            if done.returncode != 0:
                said = done.stderr.decode(errors="replace").strip()[-300:]
                raise InfrastructureError(f"mksquashfs failed: {said}", remedy="check the version of squashfs-tools")
            return out.read_bytes()
    except FileNotFoundError as error:
        raise ToolMissing(f"{PROGRAM} is not installed", remedy="sudo apt-get install -y squashfs-tools") from error
    except subprocess.TimeoutExpired as error:
        raise InfrastructureError(f"mksquashfs did not end in {TIMEOUT_S:g} s", remedy="do it again") from error
    except OSError as error:
        raise StorageError(
            f"no room for a bundle: {error.strerror}", remedy="free disk space, or set TMPDIR"
        ) from error
