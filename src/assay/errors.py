# SPDX-License-Identifier: Apache-2.0
"""One tree of errors, and the exit status that each of them means.

Guards: whatever leaves assay as an error has a status, says what happened, and says what the person should do next.
Leaves to others: verdicts about a unit (`model.outcome`), which are values and not errors.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import ClassVar, Literal

Layer = Literal["port", "power", "link", "flasher", "host", "suite"]
"""Where a fault of the infrastructure came from. `suite`: the tests themselves are broken, or there were none."""


class ExitStatus(IntEnum):
    """Exit status of every verb (docs: reference/exit-status)."""

    PASS = 0
    FAIL = 1
    USAGE = 2
    ERROR = 3
    REFUSED = 4
    NOT_RECORDED = 5


GRAVITY = (
    ExitStatus.NOT_RECORDED,
    ExitStatus.REFUSED,
    ExitStatus.ERROR,
    ExitStatus.USAGE,
    ExitStatus.FAIL,
    ExitStatus.PASS,
)
"""Of several results the gravest is given."""


def gravest(statuses: list[ExitStatus]) -> ExitStatus:
    """The status that stands for all of `statuses`; PASS when there is none."""
    return next((status for status in GRAVITY if status in statuses), ExitStatus.PASS)


class AssayError(Exception):
    """Base of all errors of assay.

    `message` says what happened to which file or unit and what was expected; `remedy` what to do next.
    """

    status = ExitStatus.ERROR

    def __init__(self, message: str, *, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} ({self.remedy})" if self.remedy else self.message


class UnitFailed(AssayError):
    """The unit, the build or the artifact is bad."""

    status = ExitStatus.FAIL


class UsageFault(AssayError):
    """The command line asks for something that cannot be."""

    status = ExitStatus.USAGE


class ManifestFault(UsageFault):
    """A manifest is wrong; carries where.

    `file` as given by the user, `line` counted from 1 (None if the file as a whole is meant).
    """

    def __init__(self, file: str, line: int | None, expected: str, *, remedy: str = "correct the file") -> None:
        where = f"{file}:{line}" if line else file
        super().__init__(f"{where}: {expected}", remedy=remedy)
        self.file = file
        self.line = line
        self.expected = expected


class InfrastructureError(AssayError):
    """Port, board, network, tool or disk: nothing is said about the unit. `layer` is where; who knows better says so
    (`blame`).
    """

    usual_layer: ClassVar[Layer] = "host"

    def __init__(self, message: str, *, remedy: str) -> None:
        super().__init__(message, remedy=remedy)
        self._blamed: Layer | None = None

    @property
    def layer(self) -> Layer:
        """The layer that is to blame."""
        return self._blamed or self.usual_layer

    def blame(self, layer: Layer) -> None:
        """It was `layer`; the first one who says so is the nearest to the fault, and counts."""
        self._blamed = self._blamed or layer


class LinkError(InfrastructureError):
    """The link to a device broke or stayed silent."""

    usual_layer = "link"


class DeviceTimeout(LinkError):
    """The device did not answer in time; the message names what was waited for."""


@contextmanager
def at_layer(layer: Layer) -> Iterator[None]:
    """Infrastructure errors from inside are blamed on `layer`; the innermost one counts."""
    try:
        yield
    except InfrastructureError as error:
        error.blame(layer)
        raise


class ServiceAway(InfrastructureError):
    """A service on the network does not answer, or says that it is out of order: later it may."""


class PlaceBusy(InfrastructureError):
    """Somebody else holds the place or the port; the message names the holder."""

    usual_layer = "port"


class ToolMissing(InfrastructureError):
    """A program or a package is not installed; the remedy is the line that installs it."""


class StorageError(InfrastructureError):
    """A file could not be read or written (permissions, disk full)."""


class Refused(AssayError):
    """Signature, provenance, identity or policy says no."""

    status = ExitStatus.REFUSED


class NotVerified(Refused):
    """A statement, image, certificate, log or evidence does not verify; the message names the link."""


class WrongBoard(Refused):
    """The board on the port is not the one that was asked for."""


class WrongUnit(Refused):
    """The unit on the place is not the one with the serial number that was asked for."""


class InQuarantine(Refused):
    """Tests keep away from the place; the message says since when, by whom, and why."""


class DuplicateSerial(Refused):
    """The serial number belongs to another unit already."""


class NotRecorded(AssayError):
    """The work may be done, but its record is not durable."""

    status = ExitStatus.NOT_RECORDED


class Interrupted(BaseException):
    """A signal asks this process to end: ports, locks and journals are closed on the way out.

    Not an `AssayError`, so that no `except Exception` keeps a process alive that was told to go. `settled`: its notes
    say of everything whether it is half done.
    """

    status = ExitStatus.ERROR

    def __init__(self, signal_name: str) -> None:
        super().__init__(f"stopped by {signal_name}")
        self.signal_name = signal_name
        self.settled = False
