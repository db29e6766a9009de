# SPDX-License-Identifier: Apache-2.0
"""Where a registry is: `HOST[:PORT][/PREFIX]`, and which repository and tag a release has there.

Guards: HTTPS, but for this very machine; no password in an address; what becomes a path has the grammar of the OCI
distribution specification 1.1. No network here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from assay.errors import NotVerified, UsageFault

REPOSITORY_LENGTH_MAX = 255
"""Characters; what registries take with their host name before it."""

_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_HOST = re.compile(r"[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\]")
_HERE = ("localhost", "127.0.0.1", "[::1]", "::1")
_REMEDY = "write HOST[:PORT][/PREFIX], as in registry.example.com/firmware"


@dataclass(frozen=True)
class Origin:
    """Scheme, host and port: what an answer may not lead away from."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        usual = {"https": 443, "http": 80}[self.scheme] == self.port
        return self.host if usual else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class RegistryAddress:
    """A registry and the prefix of the repositories there."""

    origin: Origin
    prefix: str

    def repository(self, board: str, name: str) -> str:
        """The repository of a module for a board."""
        found = "/".join(part for part in (self.prefix, board, name) if part)
        if not _REPOSITORY.fullmatch(found) or len(found) > REPOSITORY_LENGTH_MAX:
            text = f"{found!r} is no name of a repository"
            raise UsageFault(text, remedy="use another prefix, and names without two '-' at their end")
        return found


def parse_address(text: str) -> RegistryAddress:
    """The registry that somebody named. Raises `UsageFault`."""
    url = text if "://" in text else f"https://{text}"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageFault(f"{text!r} is no registry: {error}", remedy=_REMEDY) from error
    if "@" in parts.netloc:
        remedy = "leave it out: see docs/reference/registry for where passwords are looked for"
        raise UsageFault("a password does not belong into a registry's address", remedy=remedy)
    origin = _origin(parts.scheme, parts.hostname or "", port)
    prefix = parts.path.strip("/")
    if origin is None or parts.query or parts.fragment or (prefix and not _REPOSITORY.fullmatch(prefix)):
        raise UsageFault(f"{text!r} is no registry", remedy=_REMEDY)
    if origin.scheme == "http" and origin.host not in _HERE:
        raise UsageFault(f"{text!r} is not encrypted", remedy="use https; http is for this very machine only")
    return RegistryAddress(origin, prefix)


def check_tag(tag: str) -> str:
    """`tag`, if registries take it. Raises `UsageFault`."""
    if not _TAG.fullmatch(tag):
        raise UsageFault(f"{tag!r} cannot be a tag of a registry", remedy="use a shorter version")
    return tag


def resolve(location: str, base: str, what: str) -> tuple[Origin, str]:
    """Where an answer leads (a header `Location`): origin, and path with its query. Raises `NotVerified`."""
    try:
        parts = urlsplit(urljoin(base, location))
        origin = _origin(parts.scheme, parts.hostname or "", parts.port)
    except ValueError:
        origin = None
    if origin is None or "@" in parts.netloc or not location.isascii() or not location.isprintable():
        raise NotVerified(f"{what} leads to {location[:80]!r}, which is no address", remedy="ask who runs the registry")
    return origin, parts.path + (f"?{parts.query}" if parts.query else "")


def _origin(scheme: str, host: str, port: int | None) -> Origin | None:
    usual = {"https": 443, "http": 80}.get(scheme)
    shown = f"[{host}]" if ":" in host else host
    return None if usual is None or not _HOST.fullmatch(shown) else Origin(scheme, host, port or usual)
