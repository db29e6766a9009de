# SPDX-License-Identifier: Apache-2.0
"""A static file server on loopback that counts what is asked of it, and can be as bad as servers are."""

from __future__ import annotations

import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class FileServer:
    """Serves `folder`. `ranges`: answers with parts; `cut_after`: ends each blob after so many bytes; `redirect`:
    paths that end so are said to be elsewhere; `wrong_range`: gives another part than it was asked for; `tls`: the
    files of its key and certificate, for HTTPS.
    """

    def __init__(self, folder: Path, tls: tuple[Path, Path] | None = None) -> None:
        self.folder, self.asked = folder, list[str]()
        self.ranges, self.cut_after, self.redirect, self.wrong_range = True, -1, "", False
        self.status = 0
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.answer(self)

            def log_message(self, *_: object) -> None:
                return

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._http.server_address[1]}"
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls[1], tls[0])
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path.lstrip("/")
        first = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        offset = int(first.group(1)) if first and self.ranges else 0
        self.asked.append(f"{path} from {offset}" if offset else path)
        at = self.folder / path
        if self.status or not at.is_file():
            request.send_error(self.status or 404)
            return
        if self.redirect and path.endswith(self.redirect):
            request.send_response(302)
            request.send_header("Location", f"{self.url}/elsewhere")
            request.end_headers()
            return
        self._give(request, at.read_bytes(), offset, part=bool(first) and self.ranges)

    def _give(self, request: BaseHTTPRequestHandler, data: bytes, offset: int, *, part: bool) -> None:
        rest = data[offset:]
        request.send_response(206 if part else 200)
        if part:
            begin = offset + int(self.wrong_range)
            request.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        request.send_header("Content-Length", str(len(rest)))
        request.end_headers()
        blob = "/blobs/" in request.path
        request.wfile.write(rest[: self.cut_after] if blob and self.cut_after >= 0 else rest)

    @contextmanager
    def running(self) -> Iterator[FileServer]:
        thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._http.shutdown()
            self._http.server_close()
            thread.join()
