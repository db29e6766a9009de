# SPDX-License-Identifier: Apache-2.0
"""A blob into a registry: in pieces, and from where the registry has it, in this run and in the next.

Guards: an upload goes to no other host; a registry whose upload from before cannot be gone on with, or turns out wrong,
gets the blob once more from the start. Leaves to others: the connection; that one push at a time has the folder.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from assay.backends.durable_file import make_folder
from assay.backends.registries.connection import Answer, RegistryConnection
from assay.errors import InfrastructureError, Refused

UPLOAD_BYTES = 8 * 1024 * 1024
"""Bytes of one piece of an upload: what is sent again when the link breaks."""
UPLOAD_ATTEMPTS = 5
"""Pieces of one blob that may be lost."""
KEPT_S = 7 * 24 * 3600.0
"""Seconds after which nobody asks a registry about an upload any more: registries forget them in days."""

Expect = Callable[[Answer, tuple[int, ...], str], None]


class Uploads:
    """Where uploads to the repository `name` are, as the registry said last: a file for each in `folder`."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name

    def tidy(self, now_s: float) -> None:
        """Remove what nobody came back for. Raises `OSError`."""
        for path in self._folder.glob("*.json"):
            if now_s - path.stat().st_mtime > KEPT_S:
                path.unlink()

    def known(self, sha256: str) -> str | None:
        """Where the upload of a blob was; None where none is known."""
        try:
            found = json.loads(self._file(sha256).read_bytes())["location"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return found if isinstance(found, str) and found.startswith("/") else None

    def note(self, sha256: str, location: str) -> None:
        """The upload is at `location` now; a note that is torn is none. Raises `OSError`."""
        make_folder(self._folder, mode=0o700)
        beside = self._file(sha256).with_suffix(".new")
        beside.write_text(json.dumps({"location": location}), "utf-8")
        beside.replace(self._file(sha256))

    def done(self, sha256: str) -> None:
        """There is no such upload any more. Raises `OSError`."""
        self._file(sha256).unlink(missing_ok=True)

    def _file(self, sha256: str) -> Path:
        return self._folder / f"{hashlib.sha256(f'{self._name} {sha256}'.encode()).hexdigest()}.json"


class Upload:
    """Uploads to the repository at `base` of a registry; `expect` raises for an answer with another status."""

    def __init__(self, connection: RegistryConnection, base: str, uploads: Uploads, expect: Expect) -> None:
        self._connection = connection
        self._begin_at = f"{base}/blobs/uploads/"
        self._uploads = uploads
        self._expect = expect

    def put(self, sha256: str, data: bytes) -> int:
        """Upload a blob; answers the bytes that were there from before. Raises what `expect` and connections raise."""
        known = self._uploads.known(sha256)
        if known is not None:
            try:
                location, have = self._asked(known)
                if 0 < have <= len(data):
                    self._rest(sha256, data, location, have)
                    return have
            except Refused:
                pass  # it is not known there any more, or had other bytes
            self._uploads.done(sha256)
        self._rest(sha256, data, self._begun(sha256), 0)
        return 0

    def _rest(self, sha256: str, data: bytes, location: str, sent: int) -> None:
        failures = 0
        while sent < len(data):
            piece = data[sent : sent + UPLOAD_BYTES]
            headers = {
                "Content-Type": "application/octet-stream",
                "Content-Range": f"{sent}-{sent + len(piece) - 1}",
                "Content-Length": str(len(piece)),
            }
            try:
                answer = self._connection.ask("PATCH", location, headers=headers, body=piece)
                self._expect(answer, (202, 204), "to a piece of a blob")  # 204: go-containerregistry's
                location, sent = self._location(answer), sent + len(piece)
            except InfrastructureError:
                failures += 1
                if failures >= UPLOAD_ATTEMPTS:
                    raise
                location, sent = self._resumed(sha256, location)
            self._uploads.note(sha256, location)
        end = f"{location}{'&' if '?' in location else '?'}digest={quote(f'sha256:{sha256}')}"
        self._expect(self._connection.ask("PUT", end, body=b""), (201,), "to a whole blob")
        self._uploads.done(sha256)

    def _begun(self, sha256: str) -> str:
        answer = self._connection.ask("POST", self._begin_at, body=b"")
        self._expect(answer, (202,), "to an upload")
        location = self._location(answer)
        self._uploads.note(sha256, location)
        return location

    def _resumed(self, sha256: str, location: str) -> tuple[str, int]:
        """Where to go on after a piece was lost: there, or from the start where the registry threw it away."""
        try:
            where, have = self._asked(location)
        except Refused:
            have = 0
        return (where, have) if have else (self._begun(sha256), 0)

    def _asked(self, location: str) -> tuple[str, int]:
        """Where to go on, and how many bytes the registry has; "0-0" is none for some, and one for others: none."""
        answer = self._connection.ask("GET", location)
        self._expect(answer, (204,), "about an upload")
        found = re.fullmatch(r"(?:bytes=)?0-(\d+)", answer.headers.get("range", ""))
        last = int(found[1]) if found else 0
        return self._location(answer), last + 1 if last else 0

    def _location(self, answer: Answer) -> str:
        """Uploads stay at the registry: a blob of ours is sent nowhere else."""
        origin, path = self._connection.leads(answer.headers.get("location", ""), self._begin_at)
        if origin != self._connection.origin:
            raise self._connection.refused(f"wants an upload to go to {origin}")
        return path
