# SPDX-License-Identifier: Apache-2.0
"""Reset by a debug probe as a power switch: driver `probe`, by pyOCD or OpenOCD.

Guards: the probe is named by its id, and by nothing less. No power is taken away: `off` halts the core, so that no code
runs, and `on` resets it; RAM and whatever hangs on the board keep their power, which the docs say.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from assay.drivers.flash.openocd import open_openocd
from assay.drivers.flash.pyocd import open_pyocd
from assay.drivers.power.switch import Switch
from assay.errors import UsageFault

TOOLS = ("pyocd", "openocd")


class Halting(Protocol):
    """What is needed of a flasher here."""

    @property
    def name(self) -> str: ...

    def halt(self) -> None: ...

    def reset(self) -> None: ...


class ProbeSwitch(Switch):
    """The reset of one board; it cannot be asked."""

    def __init__(self, probe: Halting, folder: tempfile.TemporaryDirectory[str]) -> None:
        super().__init__()
        self._probe, self._folder = probe, folder
        self.name = f"the reset by {probe.name}"

    def tell(self, on: bool) -> None:
        """Raises LinkError, ToolMissing."""
        if on:
            self._probe.reset()
        else:
            self._probe.halt()


def open_probe(
    address: str,
    *,
    tool: str = "pyocd",
    target: str = "",
    connect: str = "halt",
    config: Sequence[str] = (),
    commands: Sequence[str] = (),
    serial: bool = True,
) -> ProbeSwitch:
    """Driver `probe`: `address` is the probe's id; `target`, `connect` are pyOCD's, `config`, `commands` and `serial`
    OpenOCD's, as in the flashers of those names. Raises UsageFault.
    """
    if tool not in TOOLS or (tool == "pyocd") != bool(target) or (tool == "openocd") != bool(config):
        raise UsageFault(
            f"power by a probe needs tool = {' or '.join(TOOLS)}, with target for pyocd and config for openocd",
            remedy="correct power.options of the place",
        )
    folder = tempfile.TemporaryDirectory(prefix="assay-probe-")
    kept = Path(folder.name)
    if tool == "pyocd":
        return ProbeSwitch(open_pyocd(address, folder=kept, target=target, connect=connect), folder)
    return ProbeSwitch(open_openocd(address, folder=kept, config=config, commands=commands, serial=serial), folder)
