# SPDX-License-Identifier: Apache-2.0
"""The real signer process on a folder of keys, for the length of a test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from assay.backends.signers.service import SignerProcess


@pytest.fixture
def signer(tmp_path: Path) -> Iterator[SignerProcess]:
    process = SignerProcess(tmp_path / "keys")
    yield process
    process.close()
