# SPDX-License-Identifier: Apache-2.0
"""What a verb and its signer process say to each other: one JSON object on a line, each way.

Guards: sizes and shapes; an error crosses as its class, message and remedy, and never as a traceback, which might
hold a secret.
Leaves to others: the pipes (`service`) and the keys (`process`).
"""

from __future__ import annotations

import json
from typing import Any

from assay import errors
from assay.errors import AssayError, InfrastructureError

MESSAGE_BYTES_MAX = 32 * 1024 * 1024
"""Bytes of a line; a statement of 16 MiB (`strict_json`) grows by a third in base64."""

TOKEN_STEP = "token_s"  # noqa: S105 (no secret)
"""In the line that a keyless signer tells once the token is there: the seconds that it took. From then on services are
waited for.
"""

_CLASSES: dict[str, type[AssayError]] = {
    kind.__name__: kind
    for kind in (
        errors.Refused,
        errors.NotVerified,
        errors.StorageError,
        errors.InfrastructureError,
        errors.ServiceAway,
        errors.ToolMissing,
        errors.UsageFault,
    )
}


def encode(message: dict[str, Any]) -> bytes:
    """`message` as one line."""
    return json.dumps(message, separators=(",", ":")).encode("ascii") + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """The message in `line`; `InfrastructureError` for anything else than a JSON object."""
    try:
        message = json.loads(line)
    except ValueError as error:
        raise InfrastructureError("a message of the signer process is damaged", remedy="try again") from error
    if not isinstance(message, dict):
        raise InfrastructureError("a message of the signer process is no object", remedy="try again")
    return message


def of_error(error: Exception) -> dict[str, Any]:
    """What may be said about `error`. Of an error that is not ours only the class: its text might hold a secret."""
    if isinstance(error, AssayError):
        kind = next((kind.__name__ for kind in type(error).__mro__ if kind.__name__ in _CLASSES), "InfrastructureError")
        return {"error": kind, "message": error.message, "remedy": error.remedy}
    return {
        "error": "InfrastructureError",
        "message": f"the signer process failed ({type(error).__module__}.{type(error).__name__})",
        "remedy": "check the key and its URI in keys.toml",
    }


def to_error(message: dict[str, Any]) -> AssayError | None:
    """The error in `message`; None when it is an answer."""
    if "error" not in message:
        return None
    kind = _CLASSES.get(str(message["error"]), InfrastructureError)
    return kind(str(message.get("message", "")), remedy=str(message.get("remedy", "")))
