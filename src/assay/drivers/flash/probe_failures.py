# SPDX-License-Identifier: Apache-2.0
"""What tools for debug probes and USB devices say when something is wrong, as our errors.

Guards: no permission and an old probe firmware are told as what they are, whatever tool met them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from assay.drivers.flash.tool_program import Said, ToolProgram
from assay.drivers.usb_devices import rules_for_probes
from assay.errors import AssayError, InfrastructureError, LinkError

Failures = Sequence[tuple[str, type[AssayError], str]]
"""Regular expression in a line, the error that it means, and the remedy; the first that fits counts."""

_RULE = (
    'put SUBSYSTEM=="usb", ATTRS{idVendor}=="VVVV", MODE="0660", GROUP="plugdev", TAG+="uaccess" (VVVV as lsusb shows '
    'it; and the same with KERNEL=="hidraw*" for CMSIS-DAP) into /etc/udev/rules.d/70-assay.rules, and plug it in again'
)
UNPLUGGED = "it went away in the middle: check the cables and the power of board and probe, and flash it again"
COMMON: Failures = (
    (r"LIBUSB_ERROR_ACCESS|[Pp]ermission denied|Access denied|insufficient permissions", LinkError, _RULE),
    (
        r"firmware.{0,40}(too old|outdated|not supported|needs? (to be )?(an )?(update|upgrade))|"
        r"(update|upgrade).{0,30}firmware",
        InfrastructureError,
        "the probe's firmware is too old: update it with its maker's tool",
    ),
    (
        r"No such device|may have been disconnected|LIBUSB_(ERROR|TRANSFER)_NO_DEVICE|Lost device|ProbeDisconnected",
        LinkError,
        UNPLUGGED,
    ),
)


def failure(tool: ToolProgram, said: Said, doing: str, known: Failures) -> AssayError:
    """The error that `said` means."""
    return failure_in(tool.program, said.lines, doing, known) or tool.failed(said, doing)


def failure_in(program: str, lines: Sequence[str], doing: str, known: Failures) -> AssayError | None:
    """The same, None for words that nobody knows."""
    for pattern, kind, remedy in (*COMMON, *known):
        line = next((line.strip() for line in lines if re.search(pattern, line)), None)
        if line is not None:
            found = rules_for_probes() if remedy is _RULE else ""
            return kind(f"{program} could not {doing}: {line}", remedy=found or remedy)
    return None
