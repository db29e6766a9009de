# SPDX-License-Identifier: Apache-2.0
"""What servers of other people answer, of all versions: Zephyr's, Mynewt's, NuttX's, MCUboot's recovery.

Guards: what is needed has its type; what is not known, or missing in an older server, is left alone. The `smp`
package's own messages refuse both, so they are for our requests only.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from smp import header, message


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class SlotRow(_Answer):
    """A row of the image state. A server with one image does not number it."""

    slot: int = Field(ge=0, le=255)
    image: int = Field(default=0, ge=0, le=255)
    version: str = ""
    hash: bytes | None = None
    bootable: bool = False
    pending: bool = False
    confirmed: bool = False
    active: bool = False
    permanent: bool = False


class SlotRows(_Answer):
    """The image state (group 1, command 0)."""

    images: list[SlotRow] = []


class Echoed(_Answer):
    """The answer to an echo."""

    r: str


class ApplicationInfo(_Answer):
    """The answer to OS application info (group 0, command 7)."""

    output: str


class ModeAnswer(_Answer):
    """The answer to bootloader information, query `mode` (group 0, command 8)."""

    mode: int


class Anything(_Answer):
    """An answer that only says yes."""


class Reset(message.WriteRequest):
    """OS reset; `boot_mode` 1 asks Zephyr for the bootloader, and is not sent otherwise: old servers know no fields."""

    _GROUP_ID = header.GroupId.OS_MANAGEMENT
    _COMMAND_ID = header.CommandId.OSManagement.RESET

    boot_mode: int | None = None


def as_hash(value: Any) -> bytes | None:
    """A hash as bytes; None for an empty one, which is what a slot without an image has in some servers."""
    return bytes(value) if value else None
