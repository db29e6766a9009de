# SPDX-License-Identifier: Apache-2.0
"""What tests of a trace share: a finished site, made once, and copies of it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "unit"))  # ports, of which nobody else may take one


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished site in `.assay` and its trust file; nobody writes to it."""
    from made_site import finished_site

    folder = tmp_path_factory.mktemp("finished")
    finished_site(folder / ".assay").write_trust(folder / "trust.toml", allow_development=True, allow_emulated=True)
    return folder


@pytest.fixture
def finished_copy(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished site, to be damaged."""
    shutil.copytree(finished, tmp_path / "copy")
    return tmp_path / "copy"
