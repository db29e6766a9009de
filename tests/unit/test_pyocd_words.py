# SPDX-License-Identifier: Apache-2.0
"""What pyOCD's words mean: a chip that is locked is refused, and one that is clocked, blocked or unlocked is not."""

from __future__ import annotations

import pytest

from assay.drivers.flash.probe_failures import failure_in
from assay.drivers.flash.pyocd import _FAILURES
from assay.errors import LinkError, Refused


@pytest.mark.parametrize(
    "words", ["TargetError: NRF52840 is locked", "APPROTECT enabled: not automatically unlocking", "Locked device"]
)
def test_a_locked_chip_is_refused(words: str) -> None:
    assert isinstance(failure_in("pyOCD", [words], "write", _FAILURES), Refused)


@pytest.mark.parametrize("before", ["INFO SWD clocked at 4 MHz", "INFO device unlocked", "INFO core blocked"])
def test_other_words_with_the_same_letters_are_a_fault_of_the_link(before: str) -> None:
    told = failure_in("pyOCD", ["TransferError: No ACK received", before], "write", _FAILURES)
    assert isinstance(told, LinkError) and "No ACK" in told.message
