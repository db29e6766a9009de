# SPDX-License-Identifier: Apache-2.0
"""What is inside releases, on which units they are, and what is said of vulnerabilities in them.

The answer to "who holds this component" is made of these values; where they come from is `pipeline.parts_index`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from assay.model.value import Value

VexState = Literal[
    "resolved", "resolved_with_pedigree", "exploitable", "in_triage", "false_positive", "not_affected"
]  # fmt: skip
"""CycloneDX 1.6, `impactAnalysisState`."""

VexJustification = Literal[
    "code_not_present", "code_not_reachable", "requires_configuration", "requires_dependency", "requires_environment",
    "protected_by_compiler", "protected_at_runtime", "protected_at_perimeter", "protected_by_mitigating_control",
]  # fmt: skip
VexResponse = Literal["can_not_fix", "will_not_fix", "update", "rollback", "workaround_available"]


@dataclass(frozen=True)
class Part:
    """One component of a bill of materials; `ref` is its `bom-ref` there."""

    name: str
    version: str = ""
    purl: str = ""
    kind: str = ""
    ref: str = ""

    @property
    def words(self) -> str:
        """For people."""
        return self.purl or (f"{self.name}@{self.version}" if self.version else self.name)


class VexNote(Value):
    """What the maker of a release says of a vulnerability in one of its parts. `updated`: RFC 3339."""

    vulnerability: str
    part: str
    state: VexState
    justification: str | None = None
    responses: tuple[str, ...] = ()
    detail: str = ""
    updated: str = ""


@dataclass(frozen=True)
class Holding:
    """A unit (see `AffectedUnit`) holds an image in a slot (`app`, `bootloader`, `radio`), since the log entry `since`.
    Not `certain`: the unit may hold this image or another one, since an update did not say how it ended.
    """

    serial: str
    slot: str
    image_hash: str
    since: int
    certain: bool = True


class AffectedRelease(Value):
    """A release that holds what was asked for: the parts, what is said of them, and on how many units it is.

    `withdrawn` is the reason, where it was withdrawn.
    """

    reference: str
    board: str
    kind: str
    file_sha256: str
    image_hash: str
    parts: tuple[str, ...]
    vex: tuple[VexNote, ...]
    withdrawn: str | None
    units: int


class AffectedUnit(Value):
    """A unit that holds such a release. `serial`: its serial number, or for a board without one `probe:` or `place:`
    with the probe or the place that it was written through.
    """

    serial: str
    slot: str
    release: str
    image_hash: str
    certain: bool
    since: int
