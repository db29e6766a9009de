# SPDX-License-Identifier: Apache-2.0
"""Power by a relay with a web interface: driver `http`, with templates for Shelly and Tasmota or URLs of your own.

Guards: a relay is asked after it was told; what it answers is read up to a bound; a redirect is not followed, so what
is switched is what bench.toml names. Leaves to others: passwords, which do not belong into bench.toml: `password_file`.
"""

from __future__ import annotations

import base64
import re
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path
from typing import Any

from assay.drivers.power.switch import Switch
from assay.errors import InfrastructureError, StorageError, UsageFault

ANSWER_WAIT_S = 5.0
ANSWER_MAX = 64 * 1024  # bytes; Tasmota's longest status has 3 KB


@dataclass(frozen=True)
class Template:
    """URLs with `{address}` and `{channel}`; `is_on` and `is_off` are found in the answer to `status`."""

    on: str
    off: str
    status: str = ""
    is_on: str = ""
    is_off: str = ""


TEMPLATES = {
    "shelly": Template(
        "http://{address}/rpc/Switch.Set?id={channel}&on=true",
        "http://{address}/rpc/Switch.Set?id={channel}&on=false",
        "http://{address}/rpc/Switch.GetStatus?id={channel}",
        r'"output"\s*:\s*true',
        r'"output"\s*:\s*false',
    ),
    "shelly1": Template(
        "http://{address}/relay/{channel}?turn=on",
        "http://{address}/relay/{channel}?turn=off",
        "http://{address}/relay/{channel}",
        r'"ison"\s*:\s*true',
        r'"ison"\s*:\s*false',
    ),
    "tasmota": Template(
        "http://{address}/cm?cmnd=Power{channel}%20On",
        "http://{address}/cm?cmnd=Power{channel}%20Off",
        "http://{address}/cm?cmnd=Power{channel}",
        r'"POWER[0-9]*"\s*:\s*"ON"',
        r'"POWER[0-9]*"\s*:\s*"OFF"',
    ),
}
"""By the makers' documents: Shelly Gen2 and later (`shelly`), Gen1 (`shelly1`), Tasmota's web requests."""

_URL_REMEDY = "write http://HOST/... or https://HOST/..., and the address as HOST or HOST:PORT"
FIRST_CHANNEL = {"tasmota": 1}


class HttpSwitch(Switch):
    """A relay behind URLs."""

    def __init__(self, urls: Template, method: str, authorization: str | None) -> None:
        super().__init__()
        self._urls, self._method, self._authorization = urls, method, authorization
        self.name = f"the relay at {_host(urllib.parse.urlsplit(urls.on))}"
        self._open = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({})).open

    def tell(self, on: bool) -> None:
        """Raises InfrastructureError."""
        self._get(self._urls.on if on else self._urls.off, self._method)

    def ask(self) -> bool | None:
        """Raises InfrastructureError, also for an answer that says neither on nor off."""
        if not self._urls.status:
            return None
        answer = self._get(self._urls.status, "GET")
        on, off = (bool(re.search(word, answer)) for word in (self._urls.is_on, self._urls.is_off))
        if on == off:
            raise InfrastructureError(
                f"{self.name} says neither on nor off: {answer[:80]!r}", remedy="look at channel, is_on and is_off"
            )
        return on

    def _get(self, url: str, method: str) -> str:
        request = urllib.request.Request(url, method=method)  # noqa: S310 (http and https only, see _checked)
        if self._authorization:
            request.add_header("Authorization", self._authorization)
        try:
            with self._open(request, timeout=ANSWER_WAIT_S) as answer:
                body: bytes = answer.read(ANSWER_MAX)
        except urllib.error.HTTPError as error:
            reason = f"{error.code} {error.reason}"
            error.close()
            raise InfrastructureError(
                f"{self.name} answers {reason}", remedy="look at the URL, and at user and password_file"
            ) from error
        except (OSError, HTTPException, ValueError) as error:
            reason = str(getattr(error, "reason", error) or type(error).__name__)
            raise InfrastructureError(
                f"{self.name} does not answer: {reason}", remedy="look at its network, address and power"
            ) from error
        return body.decode("utf-8", "replace")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args: Any, **_words: Any) -> None:
        return None


def open_http(
    address: str = "",
    *,
    kind: str = "",
    channel: int | None = None,
    on: str = "",
    off: str = "",
    status: str = "",
    is_on: str = "",
    is_off: str = "",
    method: str = "GET",
    user: str = "",
    password_file: str = "",
) -> HttpSwitch:
    """Driver `http`: `kind` (shelly, shelly1, tasmota) and `address`, or URLs `on`, `off` and perhaps `status` with the
    regular expressions `is_on` and `is_off`. Raises UsageFault, StorageError.
    """
    if bool(kind) == bool(on or off):
        raise UsageFault("a relay has a kind, or URLs on and off", remedy=f"kinds: {', '.join(sorted(TEMPLATES))}")
    if kind and (kind not in TEMPLATES or not address):
        raise UsageFault(
            f"no relay of kind {kind!r} at {address.rpartition('@')[2]!r}",
            remedy=f"kinds: {', '.join(sorted(TEMPLATES))}",
        )
    template = TEMPLATES[kind] if kind else Template(on, off, status, is_on, is_off)
    number = FIRST_CHANNEL.get(kind, 0) if channel is None else channel
    urls = _filled(template, address, number)
    if urls.status and not (urls.is_on and urls.is_off):
        raise UsageFault("a status needs is_on and is_off", remedy="give what its answer holds when on, and when off")
    return HttpSwitch(urls, method.upper(), _authorization(user, password_file))


def _filled(template: Template, address: str, channel: int) -> Template:
    def fill(url: str) -> str:
        return url.replace("{address}", address).replace("{channel}", str(channel))

    filled = replace(template, on=fill(template.on), off=fill(template.off), status=fill(template.status))
    for name, url in (("on", filled.on), ("off", filled.off), *([("status", filled.status)] if filled.status else [])):
        _check(name, url)
    for word in (filled.is_on, filled.is_off):
        try:
            re.compile(word)
        except re.error as error:
            raise UsageFault(f"{word!r} is no regular expression: {error}", remedy="correct is_on or is_off") from error
    return filled


def _check(name: str, url: str) -> None:
    """It is a URL that can be asked and holds no password. It is not told as a whole: that would tell the password."""
    try:
        parts = urllib.parse.urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise UsageFault(f"the URL {name} is none: its host and port cannot be read", remedy=_URL_REMEDY) from error
    if "@" in parts.netloc:
        raise UsageFault(
            f"the URL {name} of the relay at {_host(parts)} has a user in it, and perhaps a password",
            remedy="take it out, and give the options user and password_file",
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageFault(f"the option {name}, or the address, is no URL of a relay", remedy=_URL_REMEDY)
    if not url.isascii() or not url.isprintable() or " " in url:
        raise UsageFault(
            f"the URL {name} of the relay at {_host(parts)} holds a blank, or what no URL holds",
            remedy="correct address and channel; write a blank as %20",
        )


def _host(parts: urllib.parse.SplitResult) -> str:
    """Host and port, without a user."""
    return parts.netloc.rpartition("@")[2]


def _authorization(user: str, password_file: str) -> str | None:
    if not password_file:
        return None
    try:
        password = Path(password_file).expanduser().read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(f"cannot read {password_file}: {error}", remedy="put the password into that file") from error
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
