# SPDX-License-Identifier: Apache-2.0
"""Names that cross file systems, certificates and logs: serial numbers, versions, digests.

Guards: a value of these types is safe as a file name, as an X.520 attribute and in a log entry.
"""

from __future__ import annotations

import re
from functools import total_ordering
from typing import Annotated, Literal

from pydantic import AfterValidator, StringConstraints

from assay.errors import UsageFault

SERIAL_LENGTH_MAX = 64
"""Characters; X.520 serialNumber has an upper bound of 64 (RFC 5280 appendix A.1, ub-serial-number)."""

_SERIAL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_VERSION = re.compile(r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(?:\+(0|[1-9][0-9]*))?")
_MCUBOOT_VERSION_MAX = (255, 255, 65535, 4294967295)

SHA256_PATTERN = r"^[0-9a-f]{64}$"

FileSha256 = Annotated[str, StringConstraints(pattern=SHA256_PATTERN)]
"""SHA-256 of a whole file, lower-case hex."""

ImageHash = Annotated[str, StringConstraints(pattern=SHA256_PATTERN)]
"""MCUboot image hash (TLV 0x10: header, payload, protected TLVs), lower-case hex. Never the digest of the file."""

NAME_PATTERN = r"^[a-z0-9][a-z0-9-]{0,62}$"

NAME_FORM = "1 to 63 lower-case letters (a to z), digits and '-', the first no '-'"
"""`NAME_PATTERN` for people."""

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
"""Name of a module, board, place, profile, pipeline or trust file."""

ModuleKind = Literal["app", "bootloader", "rom", "radio"]
"""What a module is on its board."""


def parse_name(text: str, what: str) -> str:
    """`text` as the name of `what` (a trust file); `UsageFault` says what a name has to be."""
    if not re.fullmatch(NAME_PATTERN, text) or text.endswith("\n"):
        raise UsageFault(
            f"{text[:80]!r} cannot be the name of {what}",
            remedy=f"use {NAME_FORM}",
        )
    return text


def parse_serial(text: str) -> str:
    """`text` as a serial number; `UsageFault` says what is wrong with it."""
    remedy = f"use 1 to {SERIAL_LENGTH_MAX} letters, digits, '.', '_' or '-', first and last a letter or a digit"
    if not text:
        raise UsageFault("the serial number is empty", remedy=remedy)
    if len(text) > SERIAL_LENGTH_MAX:
        raise UsageFault(f"the serial number has {len(text)} characters ({text[:16]!r}...)", remedy=remedy)
    if not _SERIAL.fullmatch(text) or ".." in text:
        raise UsageFault(f"{text!r} is not a serial number", remedy=remedy)
    return text


def _valid_serial(text: str) -> str:
    try:
        return parse_serial(text)
    except UsageFault as fault:
        raise ValueError(str(fault)) from fault


SerialNumber = Annotated[str, AfterValidator(_valid_serial)]


@total_ordering
class Version:
    """`major.minor.revision` with an optional `+build`, in the ranges of MCUboot's image header (8, 8, 16, 32 bits)."""

    __slots__ = ("numbers",)

    def __init__(self, text: str) -> None:
        match = _VERSION.fullmatch(text)
        if match is None:
            raise UsageFault(f"{text!r} is not a version", remedy="write it as 1.2.3 or 1.2.3+4")
        numbers = tuple(int(group or 0) for group in match.groups())
        if any(number > limit for number, limit in zip(numbers, _MCUBOOT_VERSION_MAX, strict=True)):
            raise UsageFault(
                f"version {text} does not fit an MCUboot header", remedy="stay within 255.255.65535+4294967295"
            )
        self.numbers = numbers

    def __str__(self) -> str:
        major, minor, revision, build = self.numbers
        return f"{major}.{minor}.{revision}" + (f"+{build}" if build else "")

    def __repr__(self) -> str:
        return f"Version({str(self)!r})"

    def __hash__(self) -> int:
        return hash(self.numbers)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and self.numbers == other.numbers

    def __lt__(self, other: Version) -> bool:
        return self.numbers < other.numbers


def _valid_version(text: str) -> str:
    try:
        return str(Version(text))
    except UsageFault as fault:
        raise ValueError(str(fault)) from fault


VersionText = Annotated[str, AfterValidator(_valid_version)]
"""A version in its one spelling; compare with `Version(text)`."""
