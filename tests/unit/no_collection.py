# SPDX-License-Identifier: Apache-2.0
"""No garbage is collected while something is read that is nested as deep as Python goes.

Down there what ends an object that became garbage earlier finds no room for a call: Python prints that, pytest makes a
failure of it, and it depends on what ran before.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_collection() -> Iterator[None]:
    """What is garbage now goes first."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
