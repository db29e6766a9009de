# SPDX-License-Identifier: Apache-2.0
"""Tests of a Linux module take minutes and need packages: they run when they are named (`nox -s linux`)."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Not with all the others."""
    named = any("linux" in Path(word.partition("::")[0]).parts for word in config.invocation_params.args)
    return None if named or collection_path.name == "conftest.py" else True
