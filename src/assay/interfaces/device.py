# SPDX-License-Identifier: Apache-2.0
"""What a stage may ask of a unit that speaks SMP: the device contract (docs/reference/device.md) as typed values.

Guards: four roads stay apart. An answer is a value; "no" is a `DeviceRefusal`; a silent device is a `DeviceTimeout`, a
broken or noisy link a `LinkError`; whether an answer can be believed is for the stages to say.
Leaves to others: framing and sessions (`drivers.mcumgr`), and whether this is the board that was meant (the caller
compares `DeviceInfo`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol

from assay.errors import UnitFailed

Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in all, as often as the driver likes, always once at the end."""


class DeviceRefusal(UnitFailed):
    """The device answered, and the answer was no.

    `group` is the SMP group whose numbers `rc` belongs to (None for an SMP version 1 answer, which names no group);
    `word` is the number's name in that group (`bad-signature`), or `rc-<n>` for a number that we do not know.
    """

    def __init__(self, request: str, *, group: int | None, rc: int, word: str, remedy: str = "") -> None:
        super().__init__(f"the device refused {request}: {word} (rc {rc})", remedy=remedy)
        self.request = request
        self.group = group
        self.rc = rc
        self.word = word


class Stage(StrEnum):
    """Which program on the device answers."""

    BOOT = "boot"
    APP = "app"


@dataclass(frozen=True)
class DeviceInfo:
    """What the device says of itself (group 0x4153, command 0). A claim, not evidence.

    `chip` is the 16-byte chip id; `image_hash` (32 bytes) was recomputed by the bootloader at this boot.
    """

    proto: int
    stage: Stage
    board: str
    revision: int
    chip: bytes
    name: str
    version: str
    serial: str | None = None
    state: Literal["confirmed", "testing"] | None = None
    image_hash: bytes | None = None


@dataclass(frozen=True)
class Parameters:
    """MCUmgr parameters: `buf_size` in bytes with header, `buf_count` frames that may be in flight."""

    buf_size: int
    buf_count: int


@dataclass(frozen=True)
class ImageSlot:
    """One row of the SMP image state."""

    slot: int
    version: str
    image_hash: bytes | None
    bootable: bool
    pending: bool
    confirmed: bool
    active: bool
    permanent: bool


@dataclass(frozen=True)
class UploadReport:
    """How an upload went: sizes in bytes, time in seconds, and what had to be done again."""

    size: int
    resumed_from: int
    duration_s: float
    frames: int
    retries: int
    frames_damaged: int


@dataclass(frozen=True)
class Measured:
    """A slot's image hash and how the device came to it (`recomputed`: over flash, now). `size` in bytes."""

    slot: int
    image_hash: bytes
    size: int
    how: str


@dataclass(frozen=True)
class KeyProof:
    """The device's public key (Ed25519, 32 bytes) and its proof of possession (64 bytes) for one challenge."""

    public_key: bytes
    proof: bytes
    chip: bytes


@dataclass(frozen=True)
class Certificate:
    """The serial number and the X.509 certificate (DER) that the device keeps."""

    serial: str
    der: bytes


@dataclass(frozen=True)
class Health:
    """Result of the self-test: `state` is `running`, `pass` or `fail`; `code` and `reason` tell which check."""

    state: str
    code: int
    reason: str


class NoteKind(StrEnum):
    """What a note is about; numbers as in the device contract."""

    SELFTEST_FAILED = "selftest-failed"
    REVERTED = "reverted"
    REFUSED_AT_BOOT = "refused-at-boot"
    SWAPPED = "swapped"
    CONFIRMED = "confirmed"
    RECOVERY_ENTERED = "recovery-entered"
    PATCHED = "patched"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Note:
    """Something that the device wanted remembered; `image_hash_start` is the first 8 bytes of the image's hash."""

    seq: int
    kind: NoteKind
    code: int
    image_hash_start: bytes
    reason: str


@dataclass(frozen=True)
class Stats:
    """Counters of the running app: milliseconds since reset, boots since power-on, bytes of free stack, bad frames."""

    uptime_ms: int
    boots: int
    stack_free: int
    frames_bad: int


class Console(Protocol):
    """The lines for people that share the link with SMP."""

    def console_lines(self) -> tuple[str, ...]:
        """The lines that came in and were not taken yet, oldest first, without line ends."""
        ...

    def wait_for_line(self, pattern: str, timeout_s: float) -> str:
        """The first line not taken yet in which the regular expression `pattern` is found.

        Lines before it are dropped. Raises DeviceTimeout naming `pattern` and the last lines seen.
        """
        ...

    def send_line(self, text: str) -> None:
        """Type `text` and a line end; the app answers `version` and `help`."""
        ...

    def drop_console(self) -> None:
        """Forget every line and byte that came in before now."""
        ...


class Device(Console, Protocol):
    """A unit that speaks SMP. All methods raise DeviceTimeout, LinkError and DeviceRefusal, and nothing else."""

    @property
    def address(self) -> str:
        """The address of the link, as the user gave it."""
        ...

    def info(self) -> DeviceInfo:
        """What answers on the port."""
        ...

    def echo(self, text: str) -> str:
        """`text`, once to the device and back."""
        ...

    def parameters(self) -> Parameters:
        """Buffer size and count; a device that does not know the command has one buffer of 256 bytes."""
        ...

    def image_state(self) -> tuple[ImageSlot, ...]:
        """The image slots, as the device sees them."""
        ...

    def upload(self, data: bytes, file_sha256: bytes, progress: Progress | None = None, image: int = 0) -> UploadReport:
        """Send an image file; goes on where an earlier upload of the same `file_sha256` (32 bytes) stopped.

        The app writes it to the secondary slot, the bootloader's recovery to the primary one. `image` is MCUmgr's
        number of the image: 0 is the app, 1 the radio of a board that has one.
        """
        ...

    def set_pending(self, image_hash: bytes) -> None:
        """Mark the image (32 bytes hash) to be tested at the next reset."""
        ...

    def confirm(self) -> None:
        """Keep the running image."""
        ...

    def erase(self) -> None:
        """Erase the secondary slot; an upload under way starts anew."""
        ...

    def reset(self) -> None:
        """Reset the device; returns when it has acknowledged, before it is up again (see `wait_ready`)."""
        ...

    def measure(self, slot: int) -> Measured:
        """The hash of slot 0 (primary), 1 (secondary) or 2 (bootloader), recomputed over flash now."""
        ...

    def make_key(self, challenge: bytes) -> KeyProof:
        """The device's public key, made if there is none, and proof of possession for `challenge` (32 bytes)."""
        ...

    def install_certificate(self, serial: str, cert_der: bytes) -> None:
        """Give the unit its serial number (1 to 64 bytes of UTF-8) and certificate (at most 1024 bytes)."""
        ...

    def read_certificate(self) -> Certificate:
        """The certificate that the device keeps; DeviceRefusal when it has none."""
        ...

    def evidence(self, nonce: bytes) -> bytes:
        """A COSE_Sign1 with EAT claims over `nonce` (8 to 64 bytes); not verified here."""
        ...

    def health(self) -> Health:
        """The self-test's result."""
        ...

    def notes(self, from_seq: int = 0) -> tuple[Note, ...]:
        """All notes from `from_seq` on, oldest first."""
        ...

    def stats(self) -> Stats:
        """Counters of the running app."""
        ...

    def wait_ready(self, stage: Stage, timeout_s: float) -> DeviceInfo:
        """Wait until `stage` answers. DeviceTimeout says what answered instead, and the last console lines."""
        ...

    def close(self) -> None:
        """Release the link; a second call does nothing."""
        ...
