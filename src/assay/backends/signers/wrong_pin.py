# SPDX-License-Identifier: Apache-2.0
"""A PIN that a token refused is not given to it again by itself: tokens lock themselves after a few.

Guards: one wrong PIN costs one try, however many verbs and pipelines come after it, and also when the process is killed
before it has heard the token's answer; a person (`assay keys login`), or a file with a PIN that was written since,
allows the next one. No PIN and no digest of one is kept: it is short.
"""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

from assay.backends.durable_file import write_durably
from assay.backends.named_file import read_kept
from assay.errors import Refused
from assay.interfaces.signer import KeyPlace
from assay.model.keys import PinSource

_WRONG, _GIVEN = "wrong", "given"


class WrongPin:
    """What is remembered about the PIN of `token`, in the folder of keys."""

    def __init__(self, token: str, source: PinSource, place: KeyPlace) -> None:
        self._token = token
        self._again = place.again
        self._before: str | None = None
        self._source = place.folder / source.file if source.file is not None else None
        self._path = place.folder / f"wrong-pin-{hashlib.sha256(token.encode()).hexdigest()[:16]}"

    def check(self, *, locked: bool) -> None:
        """`Refused` when the PIN that would be given was refused before, or nobody knows.

        Only with the token's lock (`locked`) a PIN whose answer is awaited is nobody's: else another process is at it.
        """
        known = self._known()
        if self._again or known is None or self._was_corrected() or (known == _GIVEN and not locked):
            return
        said = "was wrong the last time" if known != _GIVEN else "was given to it, and nobody heard the answer"
        raise Refused(
            f"the PIN of the token '{self._token}' {said}, and is not given to it again",
            remedy=f"correct it, then `assay keys login '{self._token}'`; a token locks itself after a few wrong PINs",
        )

    def giving(self) -> None:
        """It is given to the token now. A folder that cannot be written does not keep a good PIN from it."""
        self._before = self._known()
        with contextlib.suppress(OSError):
            write_durably(self._path, f"{self._token}\n{_GIVEN}\n".encode(), mode=0o600)

    def not_given(self) -> None:
        """The token did not look at it: what was known before is known again."""
        if self._before is None:
            self.forget()
        else:
            with contextlib.suppress(OSError):
                write_durably(self._path, f"{self._token}\n{self._before}\n".encode(), mode=0o600)

    def remember(self) -> None:
        """The token refused it: also a person has to ask again. Raises `OSError`."""
        self._again = False
        write_durably(self._path, f"{self._token}\n{_WRONG}\n".encode(), mode=0o600)

    def forget(self) -> None:
        """The token took it."""
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()

    def _known(self) -> str | None:
        """`_WRONG`, `_GIVEN`, or None; files of earlier versions say only the token."""
        try:
            text = read_kept(self._path).decode(errors="replace")
        except FileNotFoundError:
            return None
        except OSError:
            return _WRONG
        return _GIVEN if text.endswith(f"\n{_GIVEN}\n") else _WRONG

    def _was_corrected(self) -> bool:
        return self._source is not None and _written(self._source) > _written(self._path)


def _written(path: Path) -> int:
    """Nanoseconds; 0 for a file that is not there."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
