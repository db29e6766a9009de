# SPDX-License-Identifier: Apache-2.0
"""A Sigstore trusted root (`trusted_root.json`), as much of it as our own checks of logs and time stamps need.

Guards: keys of logs and chains of time stamp authorities with the time that they count for. Certificate authorities and
logs of certificates are read by the Sigstore client, which is given those that count (`for_client`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import compress
from typing import Any

from assay.errors import AssayError, NotVerified
from assay.formats import strict_json
from assay.formats.dsse import decode_base64

MEDIA_TYPE = "application/vnd.dev.sigstore.trustedroot+json;version=0.1"
ROOTS_KEPT = 8
_REMEDY = "get the trusted root again from who runs the services"


@dataclass(frozen=True)
class Window:
    """From when to when; both ends are included, and an end may be open."""

    start: datetime | None
    end: datetime | None

    def holds(self, when: datetime) -> bool:
        """Whether `when` lies in it."""
        return (self.start is None or self.start <= when) and (self.end is None or when <= self.end)


@dataclass(frozen=True)
class RootLog:
    """A transparency log: its address, its key (DER SubjectPublicKeyInfo), its id, and when the key counts."""

    address: str
    public_der: bytes
    log_id: bytes
    window: Window


@dataclass(frozen=True)
class RootStamper:
    """A time stamp authority: its name, its certificates (DER, leaf first), and when they count."""

    name: str
    chain: tuple[bytes, ...]
    window: Window


@dataclass(frozen=True)
class TrustedRoot:
    """What is read of a trusted root."""

    logs: tuple[RootLog, ...]
    stampers: tuple[RootStamper, ...]

    def at(self, when: datetime) -> TrustedRoot:
        """With the logs whose keys count at `when`."""
        return TrustedRoot(tuple(log for log in self.logs if log.window.holds(when)), self.stampers)


@lru_cache(ROOTS_KEPT)
def read(text: str) -> TrustedRoot:
    """The trusted root in `text`; `NotVerified` for anything else."""
    document = strict_json.loads_object(text.encode("utf-8"), "the trusted root")
    if document.get("mediaType") != MEDIA_TYPE:
        raise NotVerified(f"the trusted root's mediaType is not {MEDIA_TYPE}", remedy=_REMEDY)
    try:
        return TrustedRoot(tuple(_logs(document)), tuple(_stampers(document)))
    except AssayError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NotVerified("the trusted root is malformed", remedy=_REMEDY) from error


def for_client(text: str, signed: Iterable[datetime], issued: Iterable[datetime]) -> str:
    """The trusted root for the Sigstore client: the authorities of certificates that count at all times of `signed`,
    the logs of certificates that count at all of `issued`. The client looks at the begin of their time only, which
    would let whoever has the key of a service that ended go on.

    Raises `NotVerified` where none is left.
    """
    authorities, logs = _certifying(text)
    kept = (_counting(authorities, tuple(signed), "authority"), _counting(logs, tuple(issued), "log"))
    try:
        return _for_client(text, *kept)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NotVerified("the trusted root is malformed", remedy=_REMEDY) from error


@lru_cache(ROOTS_KEPT)
def _certifying(text: str) -> tuple[tuple[Window, ...], tuple[Window, ...]]:
    """The windows of authorities of certificates and of logs of certificates."""
    document = strict_json.loads_object(text.encode("utf-8"), "the trusted root")
    try:
        authorities = tuple(_window(each) for each in document.get("certificateAuthorities", []))
        return authorities, tuple(_window(log["publicKey"]) for log in document.get("ctlogs", []))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NotVerified("the trusted root is malformed", remedy=_REMEDY) from error


def _counting(windows: tuple[Window, ...], times: tuple[datetime, ...], what: str) -> tuple[bool, ...]:
    """Which of them count at all of `times`."""
    found = tuple(all(window.holds(time) for time in times) for window in windows)
    if not any(found):
        when = " and ".join(time.isoformat(timespec="seconds") for time in times) or "the time of the signature"
        raise NotVerified(f"no {what} of certificates of the trusted root counts at {when}", remedy=_REMEDY)
    return found


@lru_cache(ROOTS_KEPT)
def _for_client(text: str, authorities: tuple[bool, ...], logs: tuple[bool, ...]) -> str:
    """With those. The client also takes the end of a time stamp authority for the first moment after it, where the
    specification has it inside (`TimeRange` is closed); `read` goes by what is written.
    """
    document = json.loads(text)
    for name, kept in (("certificateAuthorities", authorities), ("ctlogs", logs)):
        document[name] = list(compress(document[name], kept))
    for authority in document.get("timestampAuthorities", []):
        said = authority.get("validFor") or {}
        if (end := _time(said.get("end"))) is not None:
            said["end"] = (end + timedelta.resolution).isoformat()
    return json.dumps(document)


def _logs(document: dict[str, Any]) -> Iterator[RootLog]:
    for log in document.get("tlogs", []):
        key = log["publicKey"]
        log_id = decode_base64(log["logId"]["keyId"], "a log's id")
        yield RootLog(str(log["baseUrl"]), decode_base64(key["rawBytes"], "a log's key"), log_id, _window(key))


def _stampers(document: dict[str, Any]) -> Iterator[RootStamper]:
    for authority in document.get("timestampAuthorities", []):
        subject = authority["subject"]
        name = authority.get("uri") or f"{subject.get('organization', '')} {subject.get('commonName', '')}".strip()
        chain = authority["certChain"]["certificates"]
        yield RootStamper(
            str(name), tuple(decode_base64(each["rawBytes"], "a certificate") for each in chain), _window(authority)
        )


def _window(document: dict[str, Any]) -> Window:
    said = document.get("validFor")
    if said is None:
        return Window(None, None)
    return Window(_time(said["start"]), _time(said.get("end")))


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    when = datetime.fromisoformat(text)
    if when.tzinfo is None:
        raise ValueError("a time without a zone")
    return when
