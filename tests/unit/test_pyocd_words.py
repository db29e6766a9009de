# SPDX-License-Identifier: Apache-2.0
"""What pyOCD's words mean: a chip that is locked is refused, and one that is clocked, blocked or unlocked is not."""

from __future__ import annotations

import pytest

from assay.drivers.flash.probe_failures import failure_in
from assay.drivers.flash.pyocd import _FAILURES
from assay.errors import InfrastructureError, LinkError, Refused


@pytest.mark.parametrize(
    "words", ["TargetError: NRF52840 is locked", "APPROTECT enabled: not automatically unlocking", "Locked device"]
)
def test_a_locked_chip_is_refused(words: str) -> None:
    assert isinstance(failure_in("pyOCD", [words], "write", _FAILURES), Refused)


@pytest.mark.parametrize("before", ["INFO SWD clocked at 4 MHz", "INFO device unlocked", "INFO core blocked"])
def test_other_words_with_the_same_letters_are_a_fault_of_the_link(before: str) -> None:
    told = failure_in("pyOCD", ["TransferError: No ACK received", before], "write", _FAILURES)
    assert isinstance(told, LinkError) and "No ACK" in told.message


@pytest.mark.parametrize("version", [2 << 12 | 20 << 6 | 4, 2 << 12 | 0 << 6 | 4], ids=["V2J20", "without-SWD"])
def test_an_old_firmware_in_the_words_of_pyocd_itself(version: int) -> None:
    """Its own ST-Link driver says them, to a device that tells that version."""
    stlink = pytest.importorskip("pyocd.probe.stlink.stlink").STLink

    class Device:
        serial_number = "066D"

        def transfer(self, _command: list[int], readSize: int) -> bytes:  # noqa: N803 (as pyOCD calls it)
            return version.to_bytes(2, "big").ljust(readSize, b"\0")

    with pytest.raises(Exception, match="firmware") as said:
        stlink(Device()).get_version()
    told = failure_in("pyOCD", [f"{type(said.value).__name__}: {said.value}"], "identify", _FAILURES)
    assert isinstance(told, InfrastructureError) and not isinstance(told, LinkError)
    assert told.remedy == "the probe's firmware is too old: update it with its maker's tool"
