# SPDX-License-Identifier: Apache-2.0
"""Any static file server serves a repository: two of other people, one of which gives parts of files."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from byte_killer import NEVER, Killed, Killer, killer
from free_ports import free_port
from repository_pair import Pair

__all__ = ["killer"]

BUSYBOX = shutil.which("busybox")
START_S = 100.0
SERVERS = {
    "python": [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "--directory", "{folder}", "{port}"],
    "busybox": [str(BUSYBOX), "httpd", "-f", "-p", "127.0.0.1:{port}", "-h", "{folder}"],
}


@contextlib.contextmanager
def serving(kind: str, folder: Path) -> Iterator[str]:
    port = free_port()
    words = [word.format(folder=folder, port=port) for word in SERVERS[kind]]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            deadline_s = time.monotonic() + START_S
            while time.monotonic() < deadline_s:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.02)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.kill()


@pytest.mark.parametrize("kind", SERVERS)
def test_a_static_file_server_serves_a_repository(served: Pair, killer: Killer, kind: str) -> None:
    """Killed after three quarters, a fetch goes on: from that byte where there are parts, else from that file."""
    if kind == "busybox" and BUSYBOX is None:
        pytest.skip("busybox (beside podman) is not installed")
    with serving(kind, served.folder) as url:
        found = served.fetch(where=url, station=served.new_station("whole"))
        assert found.release is not None
        whole = NEVER - killer.left
        killer.left = whole * 3 // 4  # the words of an answer 404 are counted if they came with its headers
        with pytest.raises(Killed):
            served.fetch(where=url)
        killer.left = NEVER
        assert served.fetch(where=url).release == found.release
        again = NEVER - killer.left
        assert again < whole * 3 // 4
