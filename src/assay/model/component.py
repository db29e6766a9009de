# SPDX-License-Identifier: Apache-2.0
"""Somebody else's software in a module's image, as `module.toml` names it (`[[components]]`).

A library among the sources, a blob that is linked in: nobody can tell by looking at files, so people say it. It goes
into the bill of materials and is what `assay affected` finds.
Leaves to others: the bill (`formats.cyclonedx_bom`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from assay.model.licence import SpdxLicence
from assay.model.plain_text import LineText
from assay.model.value import FieldFault, Value

if TYPE_CHECKING:
    from packageurl import PackageURL


class ModuleComponent(Value):
    """`version` as its makers write it; without one it is every version to `assay affected`. `purl`: a package URL
    (ECMA-427) with the same version or none. `license`: an SPDX expression."""

    name: LineText
    version: LineText | None = None
    purl: LineText | None = Field(default=None, description="a package URL, with the same version or without one")
    license: SpdxLicence | None = None

    @model_validator(mode="after")
    def _purl_is_one(self) -> Self:
        if self.purl is None:
            return self
        try:
            version = self._parsed(self.purl).version
        except ValueError:
            raise FieldFault(f"{self.purl!r} is no package URL (pkg:github/Mbed-TLS/mbedtls)", "purl") from None
        if version not in (None, self.version):
            raise FieldFault(f"{self.purl!r} is of version {version}: say version = {version!r}", "purl")
        return self

    @property
    def package_url(self) -> str:
        """The purl in its canonical form, with the version; empty if it has none."""
        if self.purl is None:
            return ""
        return self._parsed(self.purl)._replace(version=self.version).to_string()

    @property
    def key(self) -> str:
        """What tells it from the others of a module."""
        return self.package_url or "@".join(text for text in (self.name, self.version) if text)

    @staticmethod
    def _parsed(purl: str) -> PackageURL:
        from packageurl import PackageURL

        return PackageURL.from_string(purl)
