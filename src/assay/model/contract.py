# SPDX-License-Identifier: Apache-2.0
"""What modules and boards offer each other and ask of each other: interfaces, dependencies, resources, deprecations.

Leaves to others: whether one finds what it needs (`model.compatibility`), what holds on a day (`model.deprecation`).
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from assay.model.identifiers import Name
from assay.model.plain_text import Prose
from assay.model.value import FieldFault, Value

Requirement = Annotated[str, StringConstraints(pattern=r"^(==|>=)[0-9]+\.[0-9]+\.[0-9]+$")]
"""`>=1.2.3` (same major) or `==1.2.3`."""

VersionRange = Annotated[str, StringConstraints(pattern=r"^(==|<=|<)[0-9]+\.[0-9]+\.[0-9]+$")]
"""`<1.2.3`, `<=1.2.3` or `==1.2.3`: older releases, over all majors; a build number is not looked at."""


class Interface(Value):
    """An interface, offered or needed, with its version."""

    name: Name
    version: Annotated[str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)*$")]


class Interfaces(Value):
    """What a module offers and what it needs."""

    provides: tuple[Interface, ...] = ()
    requires: tuple[Interface, ...] = ()


class Dependency(Value):
    """Another module that has to be there, in a version, and able to do something. Without `capabilities` it is None,
    so that what was signed before there were any keeps its bytes.
    """

    name: Name
    version: Requirement
    capabilities: tuple[Name, ...] | None = Field(default=None, description="what the module has to be able to do")


class Resources(Value):
    """What a module takes of its board. The image is held to `flash`, and the board to all of it."""

    flash: int | None = Field(default=None, gt=0, description="bytes that the image has at most")
    ram: int | None = Field(default=None, gt=0, description="bytes of the range in which it runs")
    peripherals: tuple[Name, ...] = Field(default=(), description="what the board's file has to list")


class Deprecation(Value):
    """Older releases of a module that should no longer be used from a day on, and may not from another."""

    versions: VersionRange
    since: date = Field(description="from this day on (UTC) another release is preferred")
    ends: date | None = Field(default=None, description="from this day on (UTC) they are not chosen at all")
    reason: Annotated[Prose, Field(min_length=1, max_length=400)]

    @model_validator(mode="after")
    def _ends_later(self) -> Self:
        if self.ends is not None and self.ends < self.since:
            raise FieldFault(f"ends ({self.ends}) is before since ({self.since})", "ends")
        return self


class Contract(Value):
    """What a module promises and asks beyond interfaces and dependencies, for one board; carried in its provenance."""

    capabilities: tuple[Name, ...] = ()
    max_revision: int | None = None
    resources: Resources = Resources()
    deprecations: tuple[Deprecation, ...] = ()
