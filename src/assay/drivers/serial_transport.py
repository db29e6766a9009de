# SPDX-License-Identifier: Apache-2.0
"""Byte link over pyserial: a serial port, or any URL that pyserial knows (`socket://`, `rfc2217://`).

Guards: a port has one user at a time, and the second is told who the first is; every error of the library and of the
system becomes one of ours, with what to do next.
Leaves to others: the lock on the place (`drivers.locks`), which is taken before the port is opened.
"""

from __future__ import annotations

import errno
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from assay.drivers.port_users import programs_with, users_of
from assay.drivers.usb_ports import seen_ports
from assay.errors import AssayError, LinkError, PlaceBusy, UsageFault
from assay.interfaces.readiness import readable

if TYPE_CHECKING:
    from serial import Serial

BAUD = 115200  # bit/s, what boards have that say nothing else
WRITE_TIMEOUT_S = 10.0  # for one write to be taken: 2 KB at 2400 bit/s
NO_WRITE_TIMEOUT = ("rfc2217://",)  # pyserial refuses it there
LINK_AGE_SLACK_S = 2.0  # a link is made just after the pseudo-terminal that it points to
_WINDOWS_PORT = re.compile(r"COM[0-9]+", re.IGNORECASE)
_URL = "://"
_OF_HOSTS = ("socket", "rfc2217")
"""Kinds of URL that name a host and a port; pyserial compares a port that is not there with a number."""
_IDLE_POLL_S = 0.001  # for URL handlers that cannot be selected


class SerialTransport:
    """`interfaces.transport.Transport` over an open pyserial port."""

    def __init__(self, address: str, port: Serial) -> None:
        self._address = address
        self._port = port
        self._fd = _selectable(port)

    @property
    def address(self) -> str:
        """As the user gave it."""
        return self._address

    def read(self, max_bytes: int, timeout_s: float) -> bytes:
        """At least one byte, at most `max_bytes`; empty after `timeout_s` of silence. Raises LinkError."""
        from serial import SerialException

        try:
            if not self._wait(timeout_s):
                return b""
            return bytes(self._port.read(max_bytes))
        except (SerialException, OSError, TypeError, ValueError) as error:  # a closed port gives TypeError
            raise self._broken(error) from error

    def write(self, data: bytes) -> None:
        """Send all of `data`. Raises LinkError, also when the link takes nothing for 10 s."""
        from serial import SerialException

        try:
            self._port.write(data)
        except (SerialException, OSError, TypeError, ValueError) as error:
            raise self._broken(error) from error

    def drop_input(self) -> None:
        """Throw away what has been received and not read. Raises LinkError."""
        from serial import SerialException

        try:
            self._port.reset_input_buffer()
        except (SerialException, OSError, TypeError, ValueError) as error:
            raise self._broken(error) from error

    def set_line(self, line: str, asserted: bool) -> None:
        """Set a control line, `dtr` or `rts`. Raises LinkError, also for a port that has none."""
        from serial import SerialException

        try:
            setattr(self._port, line, asserted)
        except (SerialException, OSError, ValueError) as error:
            raise LinkError(
                f"{self._address} does not set {line.upper()}: {error}", remedy="name a port that has control lines"
            ) from error

    def close(self) -> None:
        """Release the port; a second call does nothing."""
        self._port.close()

    def _wait(self, timeout_s: float) -> bool:
        if self._fd is not None:
            return readable(self._fd, timeout_s)
        deadline_s = time.monotonic() + timeout_s
        while not self._port.in_waiting:
            if time.monotonic() >= deadline_s:
                return False
            time.sleep(_IDLE_POLL_S)
        return True

    def _broken(self, error: Exception) -> LinkError:
        return LinkError(
            f"the link to {self._address} broke: {error}", remedy="check the cable and the power, then do it again"
        )


def open_serial(address: str, baud: int = BAUD) -> SerialTransport:
    """Open a port for this process alone; `baud` in bit/s, 8N1, no flow control.

    Raises PlaceBusy naming who has the port, LinkError (missing, no permission, not a port) with what to do.
    """
    import serial

    _check_link(address)
    _check_url(address)
    try:
        # timeout=0: a read gives what is there; `SerialTransport` does the waiting.
        limit_s = None if address.lower().startswith(NO_WRITE_TIMEOUT) else WRITE_TIMEOUT_S
        port = serial.serial_for_url(address, baudrate=baud, timeout=0, write_timeout=limit_s, exclusive=True)
        port.reset_input_buffer()
    except ValueError as error:
        raise UsageFault(f"{address!r} is no port: {error}", remedy=_ports_remedy()) from error
    except (serial.SerialException, OSError) as error:
        raise _cannot_open(address, error) from error
    if others := programs_with(address):  # a terminal program that claimed nothing would take bytes meant for us
        port.close()
        raise PlaceBusy(f"{address} is open in {', '.join(others)}", remedy="end it, then do it again")
    return SerialTransport(address, port)


def _selectable(port: Serial) -> int | None:
    try:
        return int(port.fileno())
    except (OSError, AttributeError, ValueError):  # io.UnsupportedOperation is both OSError and ValueError
        return None


def _of_a_host(address: str) -> bool:
    return address.lower().startswith(tuple(kind + _URL for kind in _OF_HOSTS))


def _check_url(address: str) -> None:
    if not _of_a_host(address):
        return
    try:
        parts = urlsplit(address)
        complete = bool(parts.hostname) and parts.port is not None
    except ValueError:  # a port that is no number, or too large
        complete = False
    if not complete:
        raise UsageFault(
            f"{address!r} names no host and port", remedy=f"write {address.partition(_URL)[0]}{_URL}HOST:PORT"
        )


def _not_reached(address: str, error: Exception) -> AssayError:
    """pyserial puts its own sentence and the address around what the system said."""
    why = str(error).removeprefix(f"Could not open port {address}: ")
    if "expected a string in the form" in why:  # a word behind the port that pyserial does not know
        _, _, what = why.rpartition('": ')
        return UsageFault(f"{address!r} is no address: {what}", remedy="correct it")
    return LinkError(f"cannot open {address}: {why}", remedy="check host and port, and that the port server runs there")


def _cannot_open(address: str, error: Exception) -> AssayError:
    if _of_a_host(address):
        return _not_reached(address, error)
    code = getattr(error, "errno", None)
    if code in (errno.EAGAIN, errno.EBUSY, errno.EWOULDBLOCK):
        return PlaceBusy(f"{address} is used by {users_of(address)}", remedy="wait until it is done, or end it")
    if code in (errno.EACCES, errno.EPERM):
        return LinkError(f"no permission for {address}", remedy=_permission_remedy(address))
    if code in (errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.EIO):
        return _no_port(address)
    return LinkError(f"cannot open {address}: {error}", remedy=_ports_remedy())


def _no_port(address: str) -> LinkError:
    remedy = _ports_remedy()
    if _WINDOWS_PORT.fullmatch(address):
        remedy = (
            "that is a port of Windows, and assay runs on Linux: rfc2217://HOST:PORT, with a port server over there"
        )
    return LinkError(f"there is no port {address}", remedy=remedy)


def _permission_remedy(address: str) -> str:
    """The group that may use the port; and for a USB device the rule that gives it to whoever sits here."""
    try:
        group = Path(address).group()
    except (OSError, KeyError):
        group = "dialout"
    remedy = f"sudo usermod -aG {group if group != 'root' else 'dialout'} $USER, then log in again"
    usb = next((port for port in seen_ports() if port.device == os.path.realpath(address)), None)
    if usb is None or usb.vendor is None or usb.product is None:
        return remedy
    rule = (
        f'SUBSYSTEM=="tty", ATTRS{{idVendor}}=="{usb.vendor:04x}", ATTRS{{idProduct}}=="{usb.product:04x}", '
        'MODE="0660", GROUP="dialout", TAG+="uaccess"'
    )
    return f"{remedy}; or put this line into /etc/udev/rules.d/70-assay.rules and plug it in again: {rule}"


def _check_link(address: str) -> None:
    """A link to a pseudo-terminal that outlived its maker may point to somebody's window by now: never write there."""
    link = Path(address)
    try:
        target = link.resolve(strict=True)
        if not link.is_symlink() or not target.is_relative_to("/dev/pts"):
            return
        stale = target.stat().st_ctime > link.lstat().st_mtime + LINK_AGE_SLACK_S
    except OSError:
        return  # what is wrong with it shows when it is opened
    if stale:
        raise LinkError(
            f"{address} points to a terminal that is not its own any more",
            remedy="its maker was killed: start the twin again",
        )


def _ports_remedy() -> str:
    there = ", ".join(port.device for port in seen_ports()) or "none"
    return f"ports of this host: {there}; assay bench list shows the twins (assay twin start NAME)"
