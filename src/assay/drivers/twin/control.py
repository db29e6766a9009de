# SPDX-License-Identifier: Apache-2.0
"""The way to a running twin: ask its wire for its state, switch its power, change its line, end it.

Guards: an answer of the wire becomes a value or an error of ours; a wire that is gone is said to be gone.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay import errors
from assay.drivers.twin.control_server import short_path
from assay.drivers.twin.twin_folder import TwinFolder
from assay.drivers.twin.wire_profile import WireProfile
from assay.errors import AssayError, InfrastructureError, LinkError

ANSWER_TIMEOUT_S = 15.0  # a power on takes 50 ms; 3 s when the QEMU of a killed wire still flushes; all on a busy host
STOP_TIMEOUT_S = 10.0
POLL_S = 0.005
ANSWER_MAX = 65536  # bytes


@dataclass(frozen=True)
class TwinStatus:
    """State of a twin; counts are of this wire's life, `baud` in bit/s (None: no limit).

    `faults` counts, for each direction, bytes and what happened to them since the wire of `profile` was put in.
    """

    name: str
    board: str
    chip: str
    running: bool
    power: str
    tty: str
    rom: str | None
    baud: int | None
    wire_pid: int | None = None
    qemu_pid: int | None = None
    owner_pid: int | None = None
    owner_gone: bool = False
    power_ons: int = 0
    resets: int = 0
    bytes_to_host: int = 0
    bytes_to_device: int = 0
    bytes_dropped: int = 0
    faults: dict[str, dict[str, int]] | None = None
    profile: dict[str, Any] | None = None
    ssh_port: int | None = None


class TwinControl:
    """A connection for each request, so that a wire that was started anew is found."""

    def __init__(self, folder: TwinFolder) -> None:
        self._folder = folder

    def status(self) -> TwinStatus:
        """The state, also of a twin that does not run. Raises UsageFault when there is none of that name."""
        if not self.alive():
            return self._resting()
        answer = self._ask({"do": "status"})
        fields = TwinStatus.__dataclass_fields__
        known = {key: value for key, value in answer.items() if key in fields}
        return TwinStatus(running=True, baud=answer["profile"]["baud"], **known)

    def cut_at_flush(self, number: int, seed: int) -> None:
        """Let the power go when the unit asks its disk for the `number`th flush from now on, before that is done; what
        is lost follows from `seed`. Raises LinkError when the twin does not run, UsageFault when it has no disk.
        """
        self._ask({"do": "power", "action": "cut", "at_flush": number, "seed": seed})

    def power(self, action: str, *, off_s: float = 0.0, after_s: float = 0.0) -> dict[str, Any]:
        """`on`, `off`, `cycle` (off for `off_s`) or `cut` (in `after_s` seconds, by the wire's clock).

        Raises LinkError when the twin does not run, InfrastructureError when a cut was not exact.
        """
        answer = self._ask({"do": "power", "action": action, "off_s": off_s, "after_s": after_s})
        if action == "cut" and not answer.get("exact", True):
            raise InfrastructureError(
                f"the power cut of twin {self._folder.name!r} was not exact: QEMU did not stop before it was killed",
                remedy="do not rely on the flash of this twin; create it anew",
            )
        return answer

    def set_baud(self, baud: int | None) -> None:
        """Another rate for the line, in bit/s; None: as fast as it goes."""
        self._ask({"do": "baud", "baud": baud})

    def set_wire(self, profile: WireProfile) -> None:
        """Another wire, at once: bytes on their way are lost, bytes and faults are counted anew."""
        self._ask({"do": "wire", "profile": profile.as_json()})

    def stop(self) -> None:
        """End the wire and wait until it is gone; nothing happens when it is not there."""
        if self.alive():
            with contextlib.suppress(LinkError):  # it ended meanwhile, or it is just ending
                self._ask({"do": "stop"})
            self.wait_gone()

    def alive(self) -> bool:
        """True while a wire holds the twin; a wire that is just beginning or ending counts."""
        try:
            lock = os.open(self._folder.lock, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def wait_gone(self) -> None:
        """Wait until no wire holds the twin. Raises InfrastructureError when it does not end."""
        deadline_s = time.monotonic() + STOP_TIMEOUT_S
        while self.alive():
            if time.monotonic() > deadline_s:
                raise InfrastructureError(
                    f"the wire of twin {self._folder.name!r} does not end", remedy=f"see {self._folder.wire_log}"
                )
            time.sleep(POLL_S)

    def _resting(self) -> TwinStatus:
        settings = self._folder.read_settings()
        return TwinStatus(
            name=self._folder.name,
            board=settings.board,
            chip=settings.chip,
            running=False,
            power="off",
            tty=str(self._folder.tty),
            rom=settings.rom,
            baud=settings.profile.baud,
            profile=settings.profile.as_json(),
        )

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            line = self._exchange(json.dumps(request).encode() + b"\n")
        except OSError as error:
            gone = LinkError(f"twin {self._folder.name!r} does not run", remedy=f"assay twin start {self._folder.name}")
            gone.blame("port")  # whoever asked, for its power perhaps: the wire is gone, and with it the port
            raise gone from error
        answer = json.loads(line)
        if not answer.get("ok"):
            raise error_of(answer)
        return dict(answer)

    def _exchange(self, request: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link, short_path(self._folder.control) as short:
            link.settimeout(ANSWER_TIMEOUT_S)
            link.connect(short)
            link.sendall(request)
            received = b""
            while not received.endswith(b"\n") and len(received) < ANSWER_MAX:
                data = link.recv(ANSWER_MAX)
                if not data:
                    raise ConnectionResetError
                received += data
            return received


class TwinPower:
    """`interfaces.power.Power` of a twin."""

    def __init__(self, folder: TwinFolder) -> None:
        self._control = TwinControl(folder)

    def on(self) -> None:
        """Power on; nothing happens when it is on."""
        self._control.power("on")

    def off(self) -> None:
        """Take the power away; nothing happens when it is off."""
        self._control.power("off")

    def cycle(self, off_s: float = 0.05) -> None:
        """Off for `off_s` seconds, then on."""
        self._control.power("cycle", off_s=off_s)

    def cut(self) -> None:
        """Take the power away now; the flash file holds what the chip held."""
        self._control.power("cut")

    def is_on(self) -> bool:
        """True when the unit has power."""
        return self._control.status().power == "on"


def open_twin_power(address: str) -> TwinPower:
    """The switch of the twin at `address`: its folder, or its port. Raises UsageFault when there is none."""
    path = Path(address)
    folder = TwinFolder(path.parent if path.name == "tty" else path)
    folder.read_settings()
    return TwinPower(folder)


def error_of(answer: dict[str, Any]) -> AssayError:
    """The error that the wire met, as if it had happened here."""
    kind = getattr(errors, str(answer.get("kind")), None)
    message, remedy = str(answer.get("error")), str(answer.get("remedy"))
    if isinstance(kind, type) and issubclass(kind, AssayError):
        return kind(message, remedy=remedy)
    return InfrastructureError(message, remedy=remedy)
