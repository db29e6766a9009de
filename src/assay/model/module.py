# SPDX-License-Identifier: Apache-2.0
"""A module's manifest, as people write it (`module.toml`).

Leaves to others: reading TOML, with file and line (`stages.manifest`).
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from assay.model.build_recipe import BuildRecipe
from assay.model.component import ModuleComponent
from assay.model.contract import Contract, Dependency, Deprecation, Interfaces, Resources
from assay.model.identifiers import ModuleKind, Name, VersionText
from assay.model.licence import SpdxLicence
from assay.model.plain_text import Prose
from assay.model.value import FieldFault, Value


class BoardNeed(Value):
    """A board that a module runs on: from a revision upwards, and perhaps up to one."""

    name: Name
    min_revision: int = Field(ge=0)
    max_revision: int | None = Field(default=None, ge=0, description="the last one that it runs on")

    @model_validator(mode="after")
    def _range_is_not_empty(self) -> Self:
        if self.max_revision is not None and self.max_revision < self.min_revision:
            text = f"max_revision ({self.max_revision}) is below min_revision ({self.min_revision})"
            raise FieldFault(text, "max_revision")
        return self


class UpdatePolicy(Value):
    """How the module is updated in the field."""

    policy: Literal["test-then-confirm", "none"]
    health_timeout_s: float = Field(default=10.0, gt=0, le=3600, allow_inf_nan=False, description="seconds")
    security_counter: int = Field(ge=0, le=0xFFFFFFFF)
    min_from_version: VersionText | None = Field(
        default=None, description="the oldest version that is updated to this one in the field"
    )


class Module(Value):
    """A hardware module's firmware (`module.toml`): its contract."""

    schema_: Literal["assay.module/2"] = Field(alias="schema")
    name: Name
    kind: ModuleKind
    version: VersionText
    license: SpdxLicence
    description: Prose = ""
    boards: tuple[BoardNeed, ...] = Field(min_length=1)
    build: BuildRecipe
    interfaces: Interfaces = Interfaces()
    capabilities: tuple[Name, ...] = Field(default=(), description="what it can do, by names that others may ask for")
    dependencies: tuple[Dependency, ...] = ()
    components: tuple[ModuleComponent, ...] = Field(
        default=(), description="somebody else's software in the image: libraries among the sources"
    )
    resources: Resources = Resources()
    deprecations: tuple[Deprecation, ...] = ()
    update: UpdatePolicy

    @model_validator(mode="after")
    def _each_component_is_named_once(self) -> Self:
        keys = [component.key for component in self.components]
        for at, key in enumerate(keys):
            if key in keys[:at]:
                raise FieldFault(f"{key} is there twice", "components", at)
        return self

    def contract(self, board: str) -> Contract:
        """What holds for the board called `board`, which the module names."""
        need = next(need for need in self.boards if need.name == board)
        return Contract(
            capabilities=self.capabilities,
            max_revision=need.max_revision,
            resources=self.resources,
            deprecations=self.deprecations,
        )
