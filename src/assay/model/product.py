# SPDX-License-Identifier: Apache-2.0
"""A product (`product.toml`): a set of modules; and its lock, which names one release for each of them."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from assay.model.contract import Requirement
from assay.model.identifiers import FileSha256, ImageHash, ModuleKind, Name, VersionText
from assay.model.plain_text import Prose
from assay.model.value import FieldFault, Value

MODULES_MAX = 100


class ProductModule(Value):
    """A module of a product. Without `board` it goes on the board that the product is resolved for."""

    name: Name
    version: Requirement | None = Field(default=None, description="as in [[dependencies]]; without it, any")
    board: Name | None = Field(default=None, description="the board that it always goes on")
    capabilities: tuple[Name, ...] = Field(default=(), description="what it has to be able to do")


class Product(Value):
    """Modules that are sold together. Those further up choose their newest release first."""

    schema_: Literal["assay.product/1"] = Field(alias="schema")
    name: Name
    description: Prose = ""
    modules: tuple[ProductModule, ...] = Field(min_length=1, max_length=MODULES_MAX)

    @model_validator(mode="after")
    def _each_module_once(self) -> Self:
        seen = set()
        for index, module in enumerate(self.modules):
            if (module.name, module.board) in seen:
                raise FieldFault(f"{module.name} stands here twice", "modules", index)
            seen.add((module.name, module.board))
        return self

    def needs_a_board(self) -> bool:
        """Whether a module goes on the board that is named when the product is resolved."""
        return any(module.board is None for module in self.modules)


class LockedBoard(Value):
    """The hardware that a lock is for; `sha256` is of the board's file."""

    name: Name
    revision: int
    sha256: FileSha256


class LockedRelease(Value):
    """The release of one module, by the digest of its file."""

    name: Name
    kind: ModuleKind
    version: VersionText
    board: Name
    file_sha256: FileSha256
    image_hash: ImageHash
    deprecated: str | None = None

    @property
    def reference(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"


class ProductLock(Value):
    """Which releases make up a product on some hardware: the same inputs give the same bytes."""

    schema_: Literal["assay.product-lock/1"] = Field(default="assay.product-lock/1", alias="schema")
    product: Name
    product_sha256: FileSha256
    boards: tuple[LockedBoard, ...]
    releases: tuple[LockedRelease, ...]
