# SPDX-License-Identifier: Apache-2.0
"""Messages of SMP group 0x4153 (docs: reference/device, Group 0x4153).

Guards: an answer has the fields and sizes of the contract. A field that we do not know is left alone: it is of a
newer firmware. Requests are messages of the `smp` package; answers are plain models, since the package's message class
has a `version` of its own, which would hide the firmware's.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from smp import message

from assay.protocols.smp.error_words import ASSAY_GROUP


class Command(IntEnum):
    """Command numbers of the group."""

    INFO = 0
    KEY = 1
    CERTIFICATE = 2
    MEASURE = 3
    EVIDENCE = 4
    HEALTH = 5
    NOTES = 6
    STATS = 7


Uint = Annotated[int, Field(ge=0, le=0xFFFFFFFFFFFFFFFF)]
ChipId = Annotated[bytes, Field(min_length=16, max_length=16)]
Hash = Annotated[bytes, Field(min_length=32, max_length=32)]


class _Read(message.ReadRequest):
    _GROUP_ID = ASSAY_GROUP


class _Write(message.WriteRequest):
    _GROUP_ID = ASSAY_GROUP


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class InfoRequest(_Read):
    """What are you?"""

    _COMMAND_ID = Command.INFO


class InfoAnswer(_Answer):
    """`hash` was recomputed by the bootloader at this boot."""

    proto: Uint
    stage: Literal["boot", "app"]
    board: str
    rev: Uint
    chip: ChipId
    name: str
    version: str
    serial: str | None = None
    state: Literal["confirmed", "testing"] | None = None
    hash: Hash | None = None


class KeyRequest(_Write):
    """Make the key if there is none, and prove possession over `challenge` (32 bytes)."""

    _COMMAND_ID = Command.KEY

    challenge: bytes


class KeyAnswer(_Answer):
    """`pop`: Ed25519 over `"assay-pop-v1\\0" || chip || challenge || pubkey`."""

    pubkey: Hash
    pop: Annotated[bytes, Field(min_length=64, max_length=64)]
    chip: ChipId


class CertificateWriteRequest(_Write):
    """Keep this serial number and certificate (DER)."""

    _COMMAND_ID = Command.CERTIFICATE

    serial: str
    cert: bytes


class CertificateReadRequest(_Read):
    """The serial number and certificate that are kept."""

    _COMMAND_ID = Command.CERTIFICATE


class CertificateAnswer(_Answer):
    """Serial number and certificate (DER)."""

    serial: str
    cert: bytes


class MeasureRequest(_Read):
    """The hash of slot 0 (primary), 1 (secondary) or 2 (bootloader), over flash, now."""

    _COMMAND_ID = Command.MEASURE

    slot: int


class MeasureAnswer(_Answer):
    """`size` in bytes from the header to the end of the TLVs."""

    slot: Uint
    hash: Hash
    size: Uint
    how: str


class EvidenceRequest(_Write):
    """Sign evidence over `nonce` (8 to 64 bytes)."""

    _COMMAND_ID = Command.EVIDENCE

    nonce: bytes


class EvidenceAnswer(_Answer):
    """A tagged COSE_Sign1."""

    evidence: bytes


class HealthRequest(_Read):
    """The self-test's result."""

    _COMMAND_ID = Command.HEALTH


class HealthAnswer(_Answer):
    """`code` and `reason` of the check that failed."""

    state: Literal["running", "pass", "fail"]
    code: Uint
    reason: str


class NotesRequest(_Read):
    """Notes from number `from` on."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, serialize_by_alias=True)

    _COMMAND_ID = Command.NOTES

    from_seq: int = Field(alias="from")


class NoteRow(_Answer):
    """One note; `hash` is the first 8 bytes of an image hash."""

    seq: Uint
    kind: Uint
    code: Uint
    hash: Annotated[bytes, Field(max_length=8)]
    reason: str


class NotesAnswer(_Answer):
    """As many notes as fit, and the number to go on with."""

    notes: list[NoteRow]
    next: Uint


class StatsRequest(_Read):
    """Counters."""

    _COMMAND_ID = Command.STATS


class StatsAnswer(_Answer):
    """Milliseconds since reset, boots since power-on, bytes of free stack, damaged frames."""

    uptime_ms: Uint
    boots: Uint
    stack_free: Uint
    frames_bad: Uint


class Done(_Answer):
    """An answer that says nothing but yes."""
