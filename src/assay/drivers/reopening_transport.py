# SPDX-License-Identifier: Apache-2.0
"""A link to a device that goes away and comes back: with its reset a USB device leaves the bus, perhaps under another
name, and a host in a network is not there.

Guards: what broke is told each time, and the next use looks for the device again. Leaves to others: for how long a
broken link means nothing (`mcumgr.foreign_server`), and where the device is now (`open_now`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from assay.errors import LinkError, PlaceBusy
from assay.interfaces.transport import Transport

T = TypeVar("T")


class ReopeningTransport:
    """`interfaces.transport.Transport` over the link that `open_now` gives: now, or at the first use (`later`)."""

    def __init__(self, address: str, open_now: Callable[[], Transport], *, later: bool = False) -> None:
        """Raises what `open_now` raises, if not `later`."""
        self._address = address
        self._open_now = open_now
        self._link: Transport | None = None if later else open_now()
        self._closed = False

    @property
    def address(self) -> str:
        """Where the device is, or was before it went away."""
        return self._address

    def read(self, max_bytes: int, timeout_s: float) -> bytes:
        """As below. Raises LinkError, also when the device is not there again."""
        return self._with_link(lambda link: link.read(max_bytes, timeout_s))

    def write(self, data: bytes) -> None:
        """As below. Raises LinkError, also when the device is not there again."""
        self._with_link(lambda link: link.write(data))

    def drop_input(self) -> None:
        """As below. Raises LinkError, also when the device is not there again."""
        self._with_link(lambda link: link.drop_input())

    def close(self) -> None:
        """Release the link; a second call does nothing, and it is not opened again."""
        self._closed = True
        self._let_go()

    def _with_link(self, act: Callable[[Transport], T]) -> T:
        link = self._opened()
        try:
            return act(link)
        except LinkError:
            self._let_go()
            raise

    def _opened(self) -> Transport:
        if self._closed:
            raise LinkError(f"the link to {self._address} is closed", remedy="open the place again")
        if self._link is None:
            try:
                self._link = self._open_now()
            except PlaceBusy as error:  # some daemons have a look at each new port
                raise LinkError(error.message, remedy=error.remedy) from error
            self._address = self._link.address
        return self._link

    def _let_go(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._opened(), name)
