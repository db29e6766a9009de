# SPDX-License-Identifier: Apache-2.0
"""What a stage may ask of the ledger of serial numbers: each belongs to one chip, for ever."""

from __future__ import annotations

from typing import Protocol

from assay.model.profile import SerialScheme


class SerialNumbers(Protocol):
    """Serial numbers and the chips that have them. Every method is durable when it returns; raises `StorageError`."""

    def assign(self, chip: bytes, scheme: SerialScheme, wanted: str | None = None) -> str:
        """The serial number of `chip`: the one that it has, else `wanted`, else the next of `scheme`.

        The same chip gets the same number however often it asks. Raises `DuplicateSerial` when `wanted` belongs to
        another chip or the chip has another number, `UsageFault` when `wanted` is no serial number, `Refused` when
        the scheme has no number left.
        """
        ...

    def adopt(self, chip: bytes, serial: str, source: str) -> None:
        """Note that `chip` has `serial`, as `source` says; `DuplicateSerial` when the ledger knows otherwise."""
        ...

    def serial_of(self, chip: bytes) -> str | None:
        """The serial number of `chip`; None when it has none yet."""
        ...
