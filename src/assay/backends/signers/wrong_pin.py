# SPDX-License-Identifier: Apache-2.0
"""A PIN that a token refused is not given to it again by itself: tokens lock themselves after a few.

Guards: one wrong PIN costs one try, however many verbs and pipelines come after it; a person (`assay keys login`), or
a file with a PIN that was written since, allows the next one. No PIN and no digest of one is kept: it is short.
"""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

from assay.backends.durable_file import write_durably
from assay.errors import Refused
from assay.interfaces.signer import KeyPlace
from assay.model.keys import PinSource


class WrongPin:
    """What is remembered about the PIN of `token`, in the folder of keys."""

    def __init__(self, token: str, source: PinSource, place: KeyPlace) -> None:
        self._token = token
        self._again = place.again
        self._source = place.folder / source.file if source.file is not None else None
        self._path = place.folder / f"wrong-pin-{hashlib.sha256(token.encode()).hexdigest()[:16]}"

    def check(self) -> None:
        """`Refused` when the PIN that would be given was refused before."""
        if self._again or not self._path.exists() or self._was_corrected():
            return
        raise Refused(
            f"the PIN of the token '{self._token}' was wrong the last time, and is not given to it again",
            remedy=f"correct it, then `assay keys login '{self._token}'`; a token locks itself after a few wrong PINs",
        )

    def remember(self) -> None:
        """The token refused it: also a person has to ask again. Raises `OSError`."""
        self._again = False
        write_durably(self._path, f"{self._token}\n".encode(), mode=0o600)

    def forget(self) -> None:
        """The token took it."""
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()

    def _was_corrected(self) -> bool:
        return self._source is not None and _written(self._source) > _written(self._path)


def _written(path: Path) -> int:
    """Nanoseconds; 0 for a file that is not there."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
