# SPDX-License-Identifier: Apache-2.0
"""One request to a witness over HTTP, with limits.

Guards: an answer is bounded, comes from the address that was named, and is handed on as it is. Leaves to others: what
it is worth (`pipeline.log_cosign`).
"""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from typing import IO

from assay.errors import InfrastructureError
from assay.model.witness import WitnessReply

ANSWER_BYTES_MAX = 64 * 1024
TIMEOUT_S = 30.0
"""Seconds without an answer: a witness signs and fsyncs, which takes well under one."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> None:
        """A witness is where its policy says, and nowhere else."""


_OPENER = urllib.request.build_opener(_NoRedirect)


def ask_witness(url: str, body: bytes) -> WitnessReply:
    """What the witness at the submission prefix `url` answers. Raises `InfrastructureError`."""
    request = urllib.request.Request(f"{url.rstrip('/')}/add-checkpoint", body, {"Content-Type": "text/plain"})  # noqa: S310 (the policy's pattern)
    try:
        with _OPENER.open(request, timeout=TIMEOUT_S) as answer:
            return _reply(answer.status, answer, url)
    except urllib.error.HTTPError as error:
        with error:
            return _reply(error.code, error, url)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise InfrastructureError(f"the witness at {url} does not answer: {error}", remedy="try again later") from error


def _reply(status: int, answer: http.client.HTTPResponse | urllib.error.HTTPError, url: str) -> WitnessReply:
    try:
        body: bytes = answer.read(ANSWER_BYTES_MAX + 1)
    except (OSError, http.client.HTTPException) as error:
        raise InfrastructureError(f"the witness at {url} stopped in the middle", remedy="try again") from error
    if len(body) > ANSWER_BYTES_MAX:
        raise InfrastructureError(f"the witness at {url} answers with too many bytes", remedy="ask who runs it")
    return WitnessReply(status, body, answer.headers.get_content_type())
