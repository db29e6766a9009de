# SPDX-License-Identifier: Apache-2.0
"""USB devices for the real dfu-util and uhubctl: programs (`usb_gadgets`) behind umockdev, which stands for the kernel.

What is started while they are plugged in sees them and no USB device of this host; this process does not.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

PYTHON = "/usr/bin/python3"  # the one that Debian's python3-gi is for
PRELOAD = "libumockdev-preload.so.0"
GADGETS = Path(__file__).with_name("usb_gadgets.py")
_IMPORTS = "import gi; gi.require_version('UMockdev', '1.0'); from gi.repository import UMockdev"


@cache
def is_there() -> bool:
    """umockdev, and Debian's Python with its bindings."""
    try:
        return subprocess.run([PYTHON, "-c", _IMPORTS], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


needs_umockdev = pytest.mark.skipif(
    not is_there(), reason="no umockdev (apt-get install umockdev gir1.2-umockdev-1.0 python3-gi)"
)


@contextmanager
def plugged(folder: Path, *devices: dict[str, object]) -> Iterator[None]:
    """`devices` are plugged in; what each holds is in the file of `folder` that is called like its socket."""
    command = ["umockdev-wrapper", PYTHON, str(GADGETS), str(folder), json.dumps(devices)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as desk:
        assert desk.stdout is not None
        root = desk.stdout.readline().strip()
        assert root, "the USB devices did not come up"
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LD_PRELOAD", PRELOAD)
            patch.setenv("UMOCKDEV_DIR", root)
            try:
                yield
            finally:
                assert desk.stdin is not None
                desk.stdin.close()
                desk.wait(100)


def held(folder: Path, socket: str) -> bytes:
    """What the device in that socket holds."""
    return (folder / socket).read_bytes()


def powered(folder: Path, socket: str) -> list[int]:
    """The ports of a hub that have power."""
    found: list[int] = json.loads(held(folder, socket))
    return found
