# SPDX-License-Identifier: Apache-2.0
"""What the wire between a twin and its port is like, as the wire's process knows it: without pydantic, which would cost
every one of many twins its start.

Guards: a value that no wire can have is refused, wherever it comes from (a person's file was read by `model.wire`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from assay.errors import UsageFault

if TYPE_CHECKING:
    from assay.model import wire

BAUD_MIN = 300  # bit/s; below it a boot banner takes longer than any time-out here
BAUD_MAX = 4_000_000  # bit/s; the fastest that common USB adapters do
KINDS = ("damaged", "lost", "repeated", "stall", "disconnect")
DIRECTIONS = ("to_device", "to_host")
SHARE_MAX = 0.5
SECONDS_MAX = 60.0


def _within(what: str, value: float, most: float) -> None:
    if not isinstance(value, int | float) or not 0 <= value <= most:
        raise UsageFault(f"{what} of {value!r}", remedy=f"give 0 to {most:g}")


@dataclass(frozen=True)
class LineProfile:
    """What happens in one direction: shares of bytes, seconds, and `listed` faults (number of the byte, kind)."""

    damaged: float = 0.0
    lost: float = 0.0
    repeated: float = 0.0
    stall: float = 0.0
    disconnect: float = 0.0
    stall_s: float = 0.2
    disconnect_s: float = 0.5
    listed: tuple[tuple[int, str], ...] = ()

    def __post_init__(self) -> None:
        """Raises UsageFault for what no line can do."""
        for kind in KINDS:
            _within(kind, self.share(kind), SHARE_MAX)
        _within("stall_s", self.stall_s, SECONDS_MAX)
        _within("disconnect_s", self.disconnect_s, SECONDS_MAX)
        for at, kind in self.listed:
            if kind not in KINDS or not isinstance(at, int) or at < 0:
                raise UsageFault(f"a fault {kind!r} at byte {at!r}", remedy=f"give one of {', '.join(KINDS)}")

    def share(self, kind: str) -> float:
        """The share of bytes that `kind` happens to."""
        return float(getattr(self, kind))

    @property
    def clean(self) -> bool:
        """Nothing happens."""
        return not self.listed and not any(self.share(kind) for kind in KINDS)

    @classmethod
    def from_json(cls, data: Any) -> LineProfile:
        """Raises UsageFault for values of a wrong kind; unknown keys are of a newer assay."""
        try:
            known = {key: value for key, value in data.items() if key in cls.__dataclass_fields__}
            listed = tuple((at, kind) for at, kind in known.pop("listed", ()))
            return cls(**{key: float(value) for key, value in known.items()}, listed=listed)
        except (TypeError, ValueError, AttributeError) as error:
            raise UsageFault(f"faults of a wire: {data!r:.80}", remedy="see docs: reference/twin, The wire") from error


@dataclass(frozen=True)
class WireProfile:
    """`baud` in bit/s, None for as fast as it goes; `entropy` False lets the board's entropy source stay silent.

    `latency_s` holds each way; `seed` decides which bytes meet the faults of the two directions.
    """

    baud: int | None = None
    entropy: bool = True
    seed: int = 1
    latency_s: float = 0.0
    to_device: LineProfile = LineProfile()
    to_host: LineProfile = LineProfile()

    def __post_init__(self) -> None:
        """Raises UsageFault for a baud rate or a latency that no port has."""
        if self.baud is not None and not BAUD_MIN <= self.baud <= BAUD_MAX:
            raise UsageFault(
                f"a baud rate of {self.baud} bit/s", remedy=f"give {BAUD_MIN} to {BAUD_MAX}, or 0 for no limit"
            )
        _within("latency_s", self.latency_s, SECONDS_MAX)

    def with_baud(self, baud: int | None) -> WireProfile:
        """The same wire at another rate; 0 means no limit."""
        return replace(self, baud=baud or None)

    def as_json(self) -> dict[str, object]:
        """For twin.json and the status."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Any) -> WireProfile:
        """From twin.json. Raises UsageFault for a value of a wrong kind; unknown keys are of a newer assay."""
        baud, entropy = data.get("baud"), data.get("entropy", True)
        seed, latency_s = data.get("seed", 1), data.get("latency_s", 0.0)
        kinds = isinstance(baud, int | None) and isinstance(entropy, bool) and isinstance(seed, int)
        if not kinds or not isinstance(latency_s, int | float):
            raise UsageFault(f"a wire profile of {data}", remedy="give baud as a number, entropy as true or false")
        lines = (LineProfile.from_json(data.get(direction, {})) for direction in DIRECTIONS)
        return cls(baud, entropy, seed, float(latency_s), *lines)


def profile_of(file: wire.WireFile) -> WireProfile:
    """The profile that a person's file describes. Raises UsageFault for a rate that no port has."""

    def line(faults: wire.LineFaults, direction: str) -> LineProfile:
        shares = {kind: getattr(faults, kind) for kind in KINDS}
        listed = tuple((fault.at, fault.kind) for fault in file.faults if fault.direction == direction)
        return LineProfile(
            **shares, stall_s=faults.stall_ms / 1000, disconnect_s=faults.disconnect_ms / 1000, listed=listed
        )

    return WireProfile(
        baud=file.baud or None,
        seed=file.seed,
        latency_s=file.latency_ms / 1000,
        to_device=line(file.to_device, "to_device"),
        to_host=line(file.to_host, "to_host"),
    )
