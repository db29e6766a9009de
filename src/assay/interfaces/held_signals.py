# SPDX-License-Identifier: Apache-2.0
"""Signals that wait while something must not be torn. Leaves to others: which ones, and what is done when they come."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


@contextmanager
def held(numbers: Iterable[signal.Signals]) -> Iterator[None]:
    """Signals of `numbers` wait until the block is left; processes and threads that begin in it hold them, too."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
