# SPDX-License-Identifier: Apache-2.0
"""A factory profile, as people write it (`provisioning/*.toml`).

Guards: a limit is of something that the factory measures, in its unit. Leaves to others: reading TOML, with file and
line (`stages.manifest`), the steps and the measurements (`stages.provisioning`).
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from assay.model.identifiers import Name
from assay.model.value import FieldFault, Value


class SerialScheme(Value):
    """How serial numbers are made: `prefix` and a counter of `digits` digits."""

    prefix: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$")]
    digits: int = Field(ge=1, le=16)


class CertificateProfile(Value):
    """The device certificate (IEEE 802.1AR-2018 section 8, IDevID)."""

    organization: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    hardware_type_oid: Annotated[str, StringConstraints(pattern=r"^[0-2](\.(0|[1-9][0-9]*))+$")]


FACTORY_UNITS = {"boot-time": "ms", "upload-rate": "kB/s", "stack-free": "By", "frames-bad": "1", "echo-time": "ms"}
"""What the factory can measure, and the unit of each (UCUM codes)."""


class Limit(Value):
    """A measurement of the factory, with limits: `unit` is a UCUM code."""

    name: Name
    unit: str
    low: float | None = Field(default=None, allow_inf_nan=False)
    high: float | None = Field(default=None, allow_inf_nan=False)

    @model_validator(mode="after")
    def _low_is_below_high(self) -> Self:
        if self.low is not None and self.high is not None and self.low > self.high:
            raise FieldFault(f"low ({self.low:g}) is above high ({self.high:g})", "low")
        return self

    @model_validator(mode="after")
    def _is_measured(self) -> Self:
        """A limit that nothing measures, or in another unit, would never be checked."""
        unit = FACTORY_UNITS.get(self.name)
        if unit is None:
            known = ", ".join(sorted(FACTORY_UNITS))
            raise FieldFault(f"the factory does not measure {self.name!r}; expected one of: {known}", "name")
        if self.unit != unit:
            raise FieldFault(f"{self.name} is measured in {unit!r}, not in {self.unit!r}", "unit")
        return self


class ProfileStep(Value):
    """One step of the factory; what cannot be undone says so and says why."""

    name: Literal["write-bootloader", "write-app", "make-identity", "check"]
    irreversible: bool = False
    reason: str = ""


class Profile(Value):
    """A factory profile (`provisioning/*.toml`)."""

    schema_: Literal["assay.profile/1"] = Field(alias="schema")
    name: Name
    description: str = ""
    boards: tuple[Name, ...] = Field(min_length=1)
    allow_emulated: bool = False
    bootloader: Name
    app: Name
    serial: SerialScheme
    certificate: CertificateProfile
    steps: tuple[ProfileStep, ...] = Field(min_length=1)
    limits: tuple[Limit, ...] = ()
