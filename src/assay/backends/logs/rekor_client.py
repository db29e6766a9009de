# SPDX-License-Identifier: Apache-2.0
"""A signature by key, into a Rekor v2 log and under a time stamp: two HTTP requests, each with a limit.

Guards: answers are bounded in bytes and in time, and come back as they are; whoever uses them verifies them. What is no
HTTP is a service out of order. Only what a signing configuration names is asked, and no redirect followed.
Leaves to others: verification (`pipeline.log_submit`), keyless signing (`sigstore`).
"""

from __future__ import annotations

import http.client
import json
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from assay.errors import InfrastructureError, Refused, ToolMissing, UsageFault
from assay.formats import strict_json
from assay.formats.dsse import encode_base64
from assay.formats.log_entry_proof import P256
from assay.formats.time_stamps import INSTALL

ANSWER_BYTES_MAX = 1024 * 1024
REKOR_MAJOR = 2
TRY_AGAIN = (408, 425, 429)


@dataclass(frozen=True)
class Services:
    """Where to log and to stamp."""

    log_url: str
    stamp_url: str


def services_of(trust_config: dict[str, Any]) -> Services:
    """The newest log and a time stamp authority of a ClientTrustConfig. Raises `UsageFault`."""
    try:
        signing = trust_config["signingConfig"]
        logs = [each["url"] for each in signing["rekorTlogUrls"] if each["majorApiVersion"] == REKOR_MAJOR]
        return Services(str(logs[0]), str(signing["tsaUrls"][0]["url"]))
    except (KeyError, TypeError, IndexError) as error:
        text = "the trust config names no Rekor v2 log with a time stamp authority"
        raise UsageFault(text, remedy="signatures by key are logged in Rekor v2, which needs time stamps") from error


def log_key_signature(
    services: Services, signature: bytes, digest: bytes, key_der: bytes, timeout_s: float
) -> dict[str, Any]:
    """The log's entry for `signature` over the SHA-256 `digest`. Raises `InfrastructureError`, `Refused`."""
    verifier = {"publicKey": {"rawBytes": encode_base64(key_der)}, "keyDetails": P256}
    asked = {
        "digest": encode_base64(digest),
        "signature": {"content": encode_base64(signature), "verifier": verifier},
    }
    body = json.dumps({"hashedRekordRequestV002": asked}).encode()
    url = f"{services.log_url.rstrip('/')}/api/v2/log/entries"
    return strict_json.loads_object(_post(url, body, "application/json", timeout_s), "the log's answer")


def stamp(services: Services, signature: bytes, timeout_s: float) -> bytes:
    """A time stamp over `signature`. Raises `InfrastructureError`, `Refused`, `ToolMissing`."""
    return stamp_at(services.stamp_url, signature, timeout_s)


def stamp_at(url: str, data: bytes, timeout_s: float) -> bytes:
    """A time stamp over `data` by the authority at `url`. Raises `InfrastructureError`, `Refused`, `ToolMissing`."""
    try:
        from rfc3161_client import HashAlgorithm, TimestampRequestBuilder
    except ImportError as error:
        raise ToolMissing("time stamps need the package rfc3161-client, which is not there", remedy=INSTALL) from error
    builder = TimestampRequestBuilder().hash_algorithm(HashAlgorithm.SHA256).data(data).nonce(nonce=True)
    return _post(url, builder.build().as_bytes(), "application/timestamp-query", timeout_s)


def _post(url: str, body: bytes, kind: str, timeout_s: float) -> bytes:
    if not url.startswith(("https://", "http://")):
        raise UsageFault(f"{url} is no web address", remedy="correct the trust config")
    request = urllib.request.Request(url, body, {"Content-Type": kind})  # noqa: S310 (checked above)
    try:
        data = _within(timeout_s, request)
    except urllib.error.HTTPError as error:
        if 400 <= error.code < 500 and error.code not in TRY_AGAIN:
            raise Refused(f"{url} refuses the signature (HTTP {error.code})", remedy="see the service's log") from error
        raise InfrastructureError(f"{url} is out of order (HTTP {error.code})", remedy="try again later") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise InfrastructureError(f"{url} does not answer: {error}", remedy="try again later") from error
    if len(data) > ANSWER_BYTES_MAX:
        raise InfrastructureError(f"{url} answers with more than {ANSWER_BYTES_MAX} bytes", remedy="try another")
    return data


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A signature goes to whom the trust config names, and to nobody that this one names."""

    def redirect_request(self, *_: Any) -> None:
        """None: the answer stays the error that its status says."""


_OPENER = urllib.request.build_opener(_NoRedirect)


def _within(timeout_s: float, request: urllib.request.Request) -> bytes:
    """The answer's first bytes, `timeout_s` from now at the latest. Raises what urllib raises.

    urllib's time-out is that of one reading, and a byte now and then resets it. A thread that is still reading then is
    left to it, and ends with the process.
    """
    answers: list[bytes] = []
    errors: list[Exception] = []

    def ask() -> None:
        try:
            with _OPENER.open(request, timeout=timeout_s) as answer:
                data = answer.read(ANSWER_BYTES_MAX + 1)
                if answer.length and len(data) <= ANSWER_BYTES_MAX:
                    raise http.client.IncompleteRead(data, answer.length)
                answers.append(data)
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=ask, name="log-request", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if errors:
        raise errors[0]
    if not answers:
        raise TimeoutError(f"no whole answer within {timeout_s:g} s")
    return answers[0]
