# SPDX-License-Identifier: Apache-2.0
"""What tests of attacks on a repository share: that each is refused with nothing left, and who attacks."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from repository_attacker import Attacker
from repository_pair import BOARD, Pair, files_below

from assay.errors import AssayError, ExitStatus

TARGET = f"{BOARD}/tiny/1.0.0.json"
CACHE = "repositories/releases/metadata/"
YEAR = timedelta(days=365)


@contextlib.contextmanager
def refused(pair: Pair, said: str, *, floor: bool = True) -> Iterator[None]:
    """What happens inside is refused (4) for the reason `said`; store, floor and incoming files are as before.

    `floor=False`: by whom the online keys were stolen can raise the floor, until they are rotated.
    """
    before = kept(pair, floor=floor)
    with pytest.raises(AssayError, match=said) as caught:
        yield
    assert caught.value.status is ExitStatus.REFUSED
    assert kept(pair, floor=floor) == before


def kept(pair: Pair, *, floor: bool = True) -> dict[str, bytes]:
    found = files_below(pair.station.folder)
    skipped = CACHE if floor else "repositories/releases/floor"
    return {path: data for path, data in found.items() if not path.startswith((CACHE, skipped))}


def attacker_of(pair: Pair, folder: Path | None = None) -> Attacker:
    return Attacker(folder or pair.folder, pair.owner.keys_dir)


def copy_of(pair: Pair, name: str) -> Path:
    return Path(shutil.copytree(pair.folder, pair.published.root / name))
