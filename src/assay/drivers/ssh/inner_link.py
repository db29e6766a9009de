# SPDX-License-Identifier: Apache-2.0
"""The link to a host behind a jump host, which has no socket of ours: who is silent and does not answer is gone.

Guards: a link that is slow is not taken for a dead one: whatever comes counts, and an upload is acknowledged piece by
piece; a host of ours that had no time for us is none either, since looks are counted and not seconds.
Leaves to others: the link to the jump host itself, which the kernel watches (`tcp_link`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

import paramiko

LOOK_EACH_S = 1.0
ASK_AFTER, GONE_AFTER = 3, 8
"""Looks at a link from which nothing came: then the host is asked for an answer; then the link is given up."""


class InnerLink:
    """What a transport needs of a socket, on a channel of the jump host; it counts what came."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
        self.heard = 0

    @property
    def _closed(self) -> bool:
        """As a socket's, under the name by which paramiko asks for it."""
        return bool(self._channel.closed)

    def recv(self, count: int) -> bytes:
        """As a socket's."""
        data = self._channel.recv(count)
        self.heard += len(data)
        return data

    def send(self, data: bytes) -> int:
        """As a socket's."""
        return self._channel.send(data)

    def settimeout(self, timeout_s: float | None) -> None:
        """As a socket's."""
        self._channel.settimeout(timeout_s)

    def close(self) -> None:
        """As a socket's; who waits in `recv` or `send` is told."""
        with suppress(paramiko.SSHException, EOFError, OSError):
            self._channel.close()


def watch_inner(link: InnerLink, ask: Callable[[], None], alive: Callable[[], bool]) -> None:
    """Look after `link`, in a thread, for as long as it is `alive`; `ask` may wait for ever where nobody takes it."""
    threading.Thread(target=_watch, args=(link, ask, alive), daemon=True).start()


def _watch(link: InnerLink, ask: Callable[[], None], alive: Callable[[], bool]) -> None:
    heard, silent = link.heard, 0
    while alive():
        time.sleep(LOOK_EACH_S)
        silent = silent + 1 if link.heard == heard else 0
        heard = link.heard
        if silent == ASK_AFTER:
            threading.Thread(target=ask, daemon=True).start()
        if silent >= GONE_AFTER:
            link.close()
            return
