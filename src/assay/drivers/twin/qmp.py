# SPDX-License-Identifier: Apache-2.0
"""The few words of QMP (QEMU machine protocol) that a wire needs: hello, stop, and the events that come by themselves.

Guards: a command's answer is waited for with a deadline; events that come in between are kept.
"""

from __future__ import annotations

import json
import socket
from typing import Any

from assay.errors import InfrastructureError, LinkError

ANSWER_TIMEOUT_S = 5.0  # `stop` takes 1 ms; a machine under heavy load has been seen to take 300 ms to start
MESSAGE_MAX = 65536  # bytes; the longest that comes here, the greeting, has 200


class Monitor:
    """Our end of QEMU's monitor socket. All methods raise LinkError when QEMU does not answer or has gone."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._socket.settimeout(ANSWER_TIMEOUT_S)
        self._received = bytearray()
        self._events: list[str] = []

    def hello(self) -> None:
        """Wait for the greeting, end the negotiation: QEMU has started and runs the guest."""
        if "QMP" not in self._message():
            raise LinkError("QEMU's monitor did not greet", remedy="see qemu.log in the twin's folder")
        self.execute("qmp_capabilities")

    def execute(self, command: str) -> None:
        """Send `command` and wait for its end; InfrastructureError when QEMU refuses it."""
        try:
            self._socket.sendall(json.dumps({"execute": command}).encode() + b"\n")
        except OSError as error:
            raise LinkError(f"QEMU's monitor: {error}", remedy="see qemu.log in the twin's folder") from error
        answer = self._message()
        while "event" in answer:
            self._events.append(str(answer["event"]))
            answer = self._message()
        if "return" not in answer:
            raise InfrastructureError(f"QEMU refused {command}: {answer}", remedy="see qemu.log in the twin's folder")

    def fileno(self) -> int:
        """For select."""
        return self._socket.fileno()

    def pending_events(self) -> list[str]:
        """Names of the events (RESET, STOP, SHUTDOWN, ...) since the last call; one read, so only when readable."""
        self._fill()
        while (message := self._next()) is not None:
            self._events.append(str(message.get("event", "")))
        events, self._events = self._events, []
        return events

    def close(self) -> None:
        """Release the socket."""
        self._socket.close()

    def _message(self) -> dict[str, Any]:
        while (message := self._next()) is None:
            self._fill()
        return message

    def _next(self) -> dict[str, Any] | None:
        line, found, rest = self._received.partition(b"\n")
        if not found:
            return None
        self._received = rest
        try:
            message = json.loads(line)
        except ValueError as error:
            raise LinkError(f"QEMU's monitor said {bytes(line[:80])!r}", remedy="see qemu.log") from error
        return message if isinstance(message, dict) else {}

    def _fill(self) -> None:
        try:
            data = self._socket.recv(MESSAGE_MAX)
        except OSError as error:
            raise LinkError(f"QEMU's monitor: {error}", remedy="see qemu.log in the twin's folder") from error
        if not data or len(self._received) > MESSAGE_MAX:
            raise LinkError("QEMU's monitor closed", remedy="see qemu.log in the twin's folder")
        self._received += data
