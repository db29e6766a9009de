# SPDX-License-Identifier: Apache-2.0
"""How a process that cannot go on in its main thread tells why, before it ends. Leaves to others: when that is so."""

from __future__ import annotations

import sys
from collections.abc import Callable

from assay.errors import AssayError


def _to_stderr(error: AssayError) -> None:
    sys.stderr.write(f"{error.status.name}: {error.message}\n  next: {error.remedy}\n")


tell: Callable[[AssayError], object] = _to_stderr
"""Who shows answers in a way of its own (`cli.session`) puts it here."""
