# SPDX-License-Identifier: Apache-2.0
"""A Linux module that keeps the device contract: the same SMP, over a link that carries more and answers later.

The answer to the last frame of an upload comes when RAUC has written the slot, and a hash over a slot is one over tens
of megabytes.
"""

from __future__ import annotations

from assay.drivers.mcumgr.device import McumgrDevice
from assay.drivers.mcumgr.session import Session
from assay.interfaces.device import DeviceInfo, Stage
from assay.interfaces.transport import MendingTransport
from assay.protocols.smp.framing import Framing

INSTALL_TIMEOUT_S = 180.0
"""Seconds: RAUC reads and writes 42 MB in 5 s on an idle host that emulates the unit; a busy one takes 30."""
QUESTION_TIMEOUT_S = 10.0
"""Seconds until an upload's first frame is sent again: it went where nobody is when the link was cut. A unit that goes
on with an upload hashes what it has before it answers, 24 MB in 2 s."""
PATIENCE = 10.0
"""Times what a microcontroller has: a hash over 42 MB takes 0.5 s to 3 s, and not 50 ms."""
RESTART_TIMEOUT_MIN_S = 5.0
"""Seconds: who waits this long or longer waits for a restart, and not for an answer."""


class LinuxModule(McumgrDevice):
    """A unit that takes `up_timeout_s` seconds to start where a microcontroller takes a few."""

    def __init__(self, session: Session, up_timeout_s: float) -> None:
        super().__init__(session, upload_ends_timeout_s=INSTALL_TIMEOUT_S, question_timeout_s=QUESTION_TIMEOUT_S)
        self._up_timeout_s = up_timeout_s

    def wait_ready(self, stage: Stage, timeout_s: float) -> DeviceInfo:
        """Wait until `stage` answers; a wait for a restart is one for a restart of this kind of unit."""
        restart = timeout_s >= RESTART_TIMEOUT_MIN_S
        return super().wait_ready(stage, max(timeout_s, self._up_timeout_s) if restart else timeout_s)


def over_link(link: MendingTransport, rate: int, up_timeout_s: float) -> LinuxModule:
    """A device on an open link that carries `rate` bit/s; raw framing, since SSH loses and changes nothing."""
    session = Session(link, Framing.RAW, baud=rate, patience=PATIENCE, mending=link)
    return LinuxModule(session, up_timeout_s)
