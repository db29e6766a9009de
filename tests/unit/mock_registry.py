# SPDX-License-Identifier: Apache-2.0
"""A registry that is a MOCK: a few lines of HTTP on loopback that answer as they are told, also wrongly.

It stands for a registry that somebody else runs, or that somebody took over. That ours speaks to real ones is shown by
`test_registry_real`.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class MockRegistry:
    """In memory. `twist` sees each request first, and answers it itself where it returns True."""

    def __init__(self, *, referrers: bool = True) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.tags: dict[str, str] = {}
        self.lists_referrers = referrers
        self.checks_digests = False
        self.twist: Callable[[Request], bool] = lambda _request: False
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self._uploads: dict[str, bytes] = {}
        self._begun = 0
        registry = self

        class Handler(Request):
            mock = registry

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.host = f"127.0.0.1:{self._server.server_port}"
        self.url = f"http://{self.host}/site"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def get(self, request: Request) -> None:
        path = request.path
        if (found := re.search(r"/blobs/sha256:([0-9a-f]{64})$", path)) is not None:
            return request.blob(self.blobs.get(found[1]))
        if (found := re.search(r"/manifests/(.+)$", path)) is not None:
            data = self.manifests.get(self.tags.get(found[1], found[1]))
            if data is None:
                return request.answer(404)
            return request.answer(200, data, {"Content-Type": json.loads(data).get("mediaType", MANIFEST)})
        if (found := re.search(r"/referrers/(.+)$", path)) is not None and self.lists_referrers:
            return request.answer(200, json.dumps(self._index(found[1])).encode())
        if path in self._uploads:
            return request.answer(204, headers={"Location": path, "Range": f"0-{len(self._uploads[path]) - 1}"})
        return request.answer(404)

    def change(self, request: Request) -> None:
        body = request.body
        if request.command == "POST":
            self._begun += 1
            path = f"{request.path}{self._begun}"
            self._uploads[path] = b""
            return request.answer(202, headers={"Location": path})
        if request.command == "PATCH":
            self._uploads[request.path] += body
            return request.answer(202, headers={"Location": request.path})
        path, _, query = request.path.partition("?")
        if path in self._uploads:
            data, digest = self._uploads.pop(path), query.rpartition("%3A")[2]
            if self.checks_digests and hashlib.sha256(data).hexdigest() != digest:
                return request.answer(400)
            self.blobs[digest] = data
            return request.answer(201)
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        reference = path.rpartition("/")[2]
        self.manifests[digest] = body
        self.tags[reference] = digest
        subject = self.lists_referrers and json.loads(body).get("subject")
        return request.answer(201, headers={"OCI-Subject": subject["digest"]} if subject else {})

    def _index(self, digest: str) -> dict[str, Any]:
        rows = []
        for each, data in self.manifests.items():
            document = json.loads(data)
            if document.get("subject", {}).get("digest") == digest:
                more = {key: document[key] for key in ("artifactType",) if key in document}
                rows.append({"mediaType": MANIFEST, "digest": each, "size": len(data), **more})
        return {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": rows}


class Request(BaseHTTPRequestHandler):
    """One request to the mock."""

    mock: MockRegistry
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        return

    def answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def blob(self, data: bytes | None) -> None:
        start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if data is None:
            self.answer(404)
        elif start is None:
            self.answer(200, data)
        else:
            at = int(start[1])
            self.answer(206, data[at:], {"Content-Range": f"bytes {at}-{len(data) - 1}/{len(data)}"})

    def cut(self, data: bytes, at: int, status: int = 200, headers: dict[str, str] | None = None) -> None:
        """The headers of all of `data`, its first `at` bytes, and the end of the connection."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data[:at])
        self.wfile.flush()
        self.close_connection = True

    def _any(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length)
        if len(self.body) < length and self.command != "PATCH":  # whoever asked is gone
            self.close_connection = True
            return
        self.mock.seen.append((self.command, self.path, dict(self.headers)))
        if self.mock.twist(self):
            return
        if self.command in ("GET", "HEAD"):
            self.mock.get(self)
        else:
            self.mock.change(self)

    do_GET = do_HEAD = do_POST = do_PATCH = do_PUT = _any  # noqa: N815 (http.server's names)
