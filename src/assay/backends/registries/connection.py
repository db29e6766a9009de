# SPDX-License-Identifier: Apache-2.0
"""HTTP requests to one registry: TLS, log-in, and where an answer may lead.

Guards: the password is sent to the registry itself, and to a token service that it was given for, over TLS or on this
very machine; an answer that leads elsewhere is refused; what is held in memory is bounded, and so is how long any
answer may take; nothing is unpacked.
Leaves to others: what is asked (`client`), large bodies (`download`).
"""

from __future__ import annotations

import contextlib
import json
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from urllib.parse import urlencode

from assay import __version__
from assay.backends.paced_answer import Pace, TooSlow
from assay.backends.registries.credentials import TOKEN_HOST, Credentials
from assay.errors import InfrastructureError, NotVerified, Refused, UsageFault
from assay.formats.registry_address import Origin, resolve

TIMEOUT_S = 30.0
"""Seconds without a byte."""
PACE = Pace(grace_s=60.0, slowest_bytes_s=1024.0)
"""How slow an answer may be: less is no link, or somebody who keeps us waiting."""
REDIRECTS_MAX = 5
ANSWER_BYTES_MAX = 4 * 1024 * 1024
"""Bytes of a manifest or an index: what the distribution specification lets registries take."""
TOKEN_BYTES_MAX = 64 * 1024

_CHALLENGE = re.compile(r'([a-z_]+)="([^"]*)"')
_ELSEWHERE = (301, 302, 303, 307, 308)


@dataclass(frozen=True)
class Answer:
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


class RegistryConnection:
    """The registry at `origin`. `also`: hosts (`HOST[:PORT]`) that it may lead to. `ca`: whom its certificate is by.
    `for_tokens`: the credentials that were given for another host, which the registry sends us to for a token.

    Raises `InfrastructureError` when it cannot be asked, `Refused` when it must not be believed or does not let us in.
    """

    def __init__(
        self,
        origin: Origin,
        credentials: Credentials | None,
        *,
        ca: Path | None = None,
        also: frozenset[str] = frozenset(),
        timeout_s: float = TIMEOUT_S,
        clock: Callable[[], float] = time.monotonic,
        for_tokens: Callable[[str], Credentials | None] = lambda _host: None,
    ) -> None:
        self.origin = origin
        self._credentials = credentials
        self._for_tokens = for_tokens
        self._also = also
        self._timeout_s = timeout_s
        self._pace = replace(PACE, clock=clock)
        self._tls = _tls(ca) if origin.scheme == "https" else None
        self._ca = ca
        self._log_in = ""
        self._open: HTTPConnection | None = None

    def close(self) -> None:
        """Close what is open."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def ask(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        """The whole answer, of at most `ANSWER_BYTES_MAX` bytes."""
        with self.stream(method, path, headers=headers, body=body) as response:
            data = response.read(ANSWER_BYTES_MAX + 1)
            if len(data) > ANSWER_BYTES_MAX:
                raise self.refused(f"answers {method} {path} with more than {ANSWER_BYTES_MAX} bytes")
            said = response.headers.get("Content-Length")
            if method != "HEAD" and said is not None and said.isdecimal() and int(said) != len(data):
                raise self._lost(f"answers {method} {path} with {len(data)} of {said} bytes")
            return Answer(response.status, _headers(response), data)

    @contextlib.contextmanager
    def stream(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Iterator[HTTPResponse]:
        """The answer, whose body the caller reads; logged in and redirected where that is allowed."""
        sent = {"User-Agent": f"assay/{__version__}", "Accept-Encoding": "identity", **(headers or {})}
        origin, connection = self.origin, None
        try:
            for _ in range(REDIRECTS_MAX + 1):
                connection, response = self._send(origin, method, path, sent, body)
                if response.status == 401 and origin == self.origin and self._may_log_in(response, connection):
                    continue
                if response.status not in _ELSEWHERE or not response.headers.get("Location"):
                    break
                origin, path = self.leads(response.headers["Location"], path)
                connection.close()
            else:
                raise self.refused(f"leads from one address to the next more than {REDIRECTS_MAX} times")
            if response.headers.get("Content-Encoding", "identity") != "identity":
                raise self.refused("answers with something packed, which was not asked for")
            yield response
            self._keep(origin, connection, response)
        except (HTTPException, OSError) as error:
            raise self._failed(error) from error
        finally:
            if connection is not None and connection is not self._open:
                connection.close()

    def leads(self, location: str, path: str) -> tuple[Origin, str]:
        """Where a header `Location` leads. Raises `Refused` for a host that is neither the registry nor allowed."""
        here = f"{self.origin.scheme}://{self.origin}{path}"
        origin, there = resolve(location, here, f"the registry {self.origin}")
        allowed = origin.scheme == "https" and str(origin) in self._also
        if origin != self.origin and not allowed:
            raise NotVerified(
                f"the registry {self.origin} leads to {origin.scheme}://{origin}, which nobody named",
                remedy=f"find out whose that is; if it is the registry's own: --also {origin} (no password goes there)",
            )
        return origin, there

    def refused(self, what: str) -> NotVerified:
        """The error for a registry that `what`."""
        self.close()
        return NotVerified(f"the registry {self.origin} {what}", remedy="ask who runs it; nothing of it was kept")

    def _send(
        self, origin: Origin, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> tuple[HTTPConnection, HTTPResponse]:
        """A kept connection may have been closed by the other side in between: then once more on a new one, but for a
        piece of a blob, which the registry may have got.
        """
        mine = origin == self.origin
        sent = {**headers, **({"Authorization": self._log_in} if mine and self._log_in else {})}
        for kept in (True, False):
            connection = self._open if mine and kept and self._open is not None else self._connect(origin)
            fresh = connection is not self._open
            self._open = None
            try:
                connection.request(method, path, body=body, headers=sent)
                return connection, connection.getresponse()
            except (HTTPException, OSError):
                connection.close()
                if fresh or method == "PATCH":
                    raise
        raise AssertionError("a new connection answers or raises")

    def _connect(self, origin: Origin) -> HTTPConnection:
        if origin.scheme == "http":
            connection = HTTPConnection(origin.host, origin.port, timeout=self._timeout_s)
        else:
            tls = self._tls or _tls(self._ca)
            connection = HTTPSConnection(origin.host, origin.port, timeout=self._timeout_s, context=tls)
        connection.response_class = self._pace.answers  # type: ignore[assignment]  # called as a class is
        return connection

    def _keep(self, origin: Origin, connection: HTTPConnection | None, response: HTTPResponse) -> None:
        """A connection to the registry whose answer was read to its end serves the next request."""
        if connection is not None and origin == self.origin and response.isclosed() and not response.will_close:
            self._open = connection

    def _may_log_in(self, response: HTTPResponse, connection: HTTPConnection) -> bool:
        """Whether there is a log-in to try that was not tried; raises `Refused` when there is none."""
        challenge = response.headers.get("WWW-Authenticate", "")
        response.read(ANSWER_BYTES_MAX)
        connection.close()
        kind = challenge.partition(" ")[0].lower()
        if self._credentials is None and kind != "bearer":
            raise Refused(
                f"the registry {self.origin} wants a password, and none is known for it",
                remedy="docs/reference/registry says where passwords are looked for",
            )
        before = self._log_in
        self._log_in = self._token(challenge) if kind == "bearer" else self._basic(kind)
        if before == self._log_in:
            who = f" of {self._credentials.user} (from {self._credentials.source})" if self._credentials else ""
            raise Refused(f"the registry {self.origin} does not take the password{who}", remedy="correct it")
        return True

    def _basic(self, kind: str) -> str:
        if kind != "basic" or self._credentials is None:
            raise self.refused(f"wants a log-in of the kind {kind[:20]!r}, which is not known")
        return self._credentials.basic

    def _token(self, challenge: str) -> str:
        """A token for what the challenge names (distribution specification: token authentication)."""
        asked = dict(_CHALLENGE.findall(challenge))
        origin, path = self.leads(asked.get("realm", ""), "/")
        query = urlencode({name: asked[name] for name in ("service", "scope") if name in asked})
        known = self._credentials if origin == self.origin else self._for_tokens(str(origin))
        headers = {"Authorization": known.basic} if known else {}
        connection = self._connect(origin)
        try:
            connection.request("GET", f"{path}?{query}", headers=headers)
            response = connection.getresponse()
            data = response.read(TOKEN_BYTES_MAX)
            if response.status != 200:
                raise Refused(f"{origin} gives no token ({response.status})", remedy=self._token_remedy(origin, known))
            document = json.loads(data)
            token = document.get("token") or document.get("access_token")
        except (HTTPException, OSError) as error:
            raise self._failed(error) from error
        except (ValueError, AttributeError) as error:
            raise self.refused(f"sends us to {origin} for a token, which gives none") from error
        finally:
            connection.close()
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise self.refused(f"sends us to {origin} for a token, which gives none")
        return f"Bearer {token}"

    def _token_remedy(self, origin: Origin, known: Credentials | None) -> str:
        if known is None and self._credentials is not None:
            return f"the password of {self.origin} is not sent there; if it is meant for it: {TOKEN_HOST}={origin}"
        return "correct the password"

    def _failed(self, error: Exception) -> Exception:
        self.close()
        if isinstance(error, TooSlow):
            return self._lost(f"gives less than {self._pace.slowest_bytes_s:.0f} bytes a second ({error})")
        if isinstance(error, ssl.SSLCertVerificationError):
            text = f"the registry {self.origin} does not prove who it is: {error.verify_message}"
            return NotVerified(text, remedy="name the CA of its certificate with --ca, or find out who answers there")
        return self._lost(f"cannot be asked: {getattr(error, 'strerror', None) or error or type(error).__name__}")

    def _lost(self, what: str) -> InfrastructureError:
        return InfrastructureError(
            f"the registry {self.origin} {what}", remedy="check the network, and run it again: it goes on"
        )


def _tls(ca: Path | None) -> ssl.SSLContext:
    """TLS 1.2 or newer, certificate and host name verified: by `ca` alone where it is given, else by the system."""
    try:
        context = ssl.create_default_context(cafile=str(ca) if ca else None)
    except (OSError, ssl.SSLError) as error:
        raise UsageFault(f"{ca} holds no certificate of a CA", remedy="name a PEM file") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _headers(response: HTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.getheaders()}
