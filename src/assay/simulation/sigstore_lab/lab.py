# SPDX-License-Identifier: Apache-2.0
"""The lab itself: five services of Sigstore behind one port on loopback.

Guards: it listens on 127.0.0.1 only, so nobody on another machine gets a certificate of it. What is sent to it is
bounded, and whatever is wrong with it is an HTTP status and no end of the lab. Each part can be put out of order, for
tests of clients (`out_of_order`).
Leaves to others: files (`backends`), the command (`cli.lab`).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

from assay.simulation.sigstore_lab import trust_config
from assay.simulation.sigstore_lab.certificate_authority import CertificateAuthority
from assay.simulation.sigstore_lab.identity_provider import IdentityProvider
from assay.simulation.sigstore_lab.timestamp_authority import TimestampAuthority
from assay.simulation.sigstore_lab.transparency_log import TransparencyLog

ADDRESS = "127.0.0.1"
BODY_BYTES_MAX = 1024 * 1024
"""Bytes of a request: requests have a few thousand."""

READ_TIMEOUT_S = 10
LOG = "/rekor/api/v2"
JSON, BYTES, STAMP = "application/json", "application/octet-stream", "application/timestamp-reply"
Reply = tuple[str, bytes]


class SigstoreLab:
    """The services. `port` 0: any that is free. Use it as a context, or `close` it."""

    def __init__(self, port: int = 0) -> None:
        self._server = _Server((ADDRESS, port), _Handler)
        self._server.lab = self
        self.url = f"http://{ADDRESS}:{self._server.server_address[1]}"
        self.provider = IdentityProvider(self.url)
        self.authority = CertificateAuthority(self.provider)
        self.stamper = TimestampAuthority()
        self.log = TransparencyLog(ADDRESS)
        self.out_of_order: dict[str, int] = {}
        """HTTP status by the beginning of a path, for services that are down."""
        self.trusted_root = trust_config.trusted_root(self.url, self.authority, self.stamper, self.log)
        self.signing_config = trust_config.signing_config(self.url)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def trust_config(self) -> dict[str, Any]:
        """A ClientTrustConfig."""
        return trust_config.trust_config(self.trusted_root, self.signing_config)

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> SigstoreLab:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def get(self, path: str, query: dict[str, list[str]]) -> Reply:
        """The answer to a GET. Raises `KeyError` for what is not there."""
        if path.startswith(f"{LOG}/"):
            return BYTES, self.log.read(path.removeprefix(f"{LOG}/"))
        if path == "/token":
            return "text/plain", self.provider.token(query["sub"][0]).encode("ascii")
        pages: dict[str, Callable[[], Any]] = {
            "/.well-known/openid-configuration": self.provider.configuration,
            "/jwks": self.provider.keys,
            "/trusted_root.json": lambda: self.trusted_root,
            "/trust_config.json": lambda: self.trust_config,
        }
        return JSON, json.dumps(pages[path]()).encode()

    def post(self, path: str, body: bytes, authorization: str) -> Reply:
        """The answer to a POST. Raises `KeyError` for what is not there, `ValueError` for what is refused."""
        if path == "/tsa":
            return STAMP, self.stamper.answer(body)
        if path == f"{LOG}/log/entries":
            return JSON, json.dumps(self.log.answer(json.loads(body))).encode()
        if path == "/api/v2/signingCert":
            token = authorization.removeprefix("Bearer ")
            return JSON, json.dumps(self.authority.answer(token, json.loads(body))).encode()
        raise KeyError(path)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    lab: SigstoreLab


class _Handler(BaseHTTPRequestHandler):
    timeout = READ_TIMEOUT_S
    server: _Server

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self._answer(parts.path, lambda: self.server.lab.get(parts.path, parse_qs(parts.query)))

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > BODY_BYTES_MAX:
            self._send(413, JSON, b'{"code": 413, "message": "no length, or too long"}')
            return
        body = self.rfile.read(int(length))
        authorization = self.headers.get("Authorization", "")
        self._answer(self.path, lambda: self.server.lab.post(self.path, body, authorization))

    def _answer(self, path: str, make: Callable[[], Reply]) -> None:
        down = next((status for start, status in self.server.lab.out_of_order.items() if path.startswith(start)), None)
        try:
            if down is not None:
                self._send(down, JSON, json.dumps({"code": down, "message": "out of order"}).encode())
                return
            self._send(200, *make())
        except KeyError as error:
            self._send(404, JSON, json.dumps({"code": 404, "message": f"there is no {error}"}).encode())
        except Exception as error:  # of whatever was sent
            self._send(400, JSON, json.dumps({"code": 400, "message": str(error)}).encode())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base's name)
        """Nothing: a lab says what it is, and no more."""
