# SPDX-License-Identifier: Apache-2.0
"""Power by a person: driver `manual` asks on the terminal, and waits.

Guards: without a terminal that we may read (CI, a background job) it refuses at once and never hangs.
"""

from __future__ import annotations

import os

from assay.drivers.power.switch import Switch
from assay.errors import InfrastructureError
from assay.formats.visible_text import visible

TERMINAL = "/dev/tty"  # stdin may be a pipe, and under pytest is none
NO = ("n", "no")


class ManualSwitch(Switch):
    """`what` is what the person is told to switch."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.name = what

    def tell(self, on: bool) -> None:
        """Ask, and wait for Enter. Raises InfrastructureError without a terminal, or when the person says no."""
        question = (
            f"\n>>> Switch {visible(self.name)} {'ON' if on else 'OFF'}, then press Enter (n: it cannot be done): "
        )
        if _answer(question).strip().lower() in NO:
            raise InfrastructureError(f"{self.name} was not switched: said the person", remedy="see why, then again")


def _answer(question: str) -> str:
    try:
        terminal = os.open(TERMINAL, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise _nobody("there is no terminal") from error
    try:
        if os.tcgetpgrp(terminal) != os.getpgrp():
            raise _nobody("we run in the background")
        os.write(terminal, question.encode())
        line = b""
        while not line.endswith(b"\n"):
            data = os.read(terminal, 1024)
            if not data:
                raise _nobody("the terminal was closed")
            line += data
        return line.decode("utf-8", "replace")
    except OSError as error:
        raise _nobody(error.strerror or str(error)) from error
    finally:
        os.close(terminal)


def _nobody(why: str) -> InfrastructureError:
    return InfrastructureError(
        f"the power of this place is switched by a person, and {why}", remedy="run it on a terminal, or get a switch"
    )


def open_manual(address: str = "") -> ManualSwitch:
    """Driver `manual`: `address` is what the person is told to switch."""
    return ManualSwitch(address or "the unit's power")
