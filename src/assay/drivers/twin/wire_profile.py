# SPDX-License-Identifier: Apache-2.0
"""What the wire between a twin and its port is like: the one place where a later property of the line is added."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from assay.errors import UsageFault

BAUD_MIN = 300  # bit/s; below it a boot banner takes longer than any time-out here
BAUD_MAX = 4_000_000  # bit/s; the fastest that common USB adapters do


@dataclass(frozen=True)
class WireProfile:
    """`baud` in bit/s, None for as fast as it goes; `entropy` False lets the board's entropy source stay silent."""

    baud: int | None = None
    entropy: bool = True

    def __post_init__(self) -> None:
        """Raises UsageFault for a baud rate that no port has."""
        if self.baud is not None and not BAUD_MIN <= self.baud <= BAUD_MAX:
            raise UsageFault(
                f"a baud rate of {self.baud} bit/s", remedy=f"give {BAUD_MIN} to {BAUD_MAX}, or 0 for no limit"
            )

    def with_baud(self, baud: int | None) -> WireProfile:
        """The same wire at another rate; 0 means no limit."""
        return replace(self, baud=baud or None)

    def as_json(self) -> dict[str, object]:
        """For twin.json and the status."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, object]) -> WireProfile:
        """From twin.json. Raises UsageFault for a value of a wrong kind; unknown keys are of a newer assay."""
        baud, entropy = data.get("baud"), data.get("entropy", True)
        if not (baud is None or isinstance(baud, int)) or not isinstance(entropy, bool):
            raise UsageFault(f"a wire profile of {data}", remedy="give baud as a number, entropy as true or false")
        return cls(baud, entropy)
