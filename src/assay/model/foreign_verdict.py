# SPDX-License-Identifier: Apache-2.0
"""The predicate about a suite on somebody else's board: which images its server named, and what no such board can say.

It is no in-toto test result: a reader of those takes the unit for one that proved what it runs.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from assay.model.attempts import RetryRule
from assay.model.foreign_unit import ForeignTestedUnit
from assay.model.identifiers import FileSha256
from assay.model.predicates import ForeignImageReference, RunHeader
from assay.model.value import Value
from assay.model.verdict import CaseResult, SkippedCase


class ForeignTest(Value):
    """`urn:assay:predicate:foreign-test:v1`: a suite was run on somebody else's board, which has no identity.

    The hashes in `units` are quoted from the images' TLVs by the firmware that was tested; `cannot` is what no such
    board can tell. The rest is as in `urn:assay:test-run:v1`.
    """

    run: RunHeader
    result: Literal["PASSED", "WARNED", "FAILED"]
    images: tuple[ForeignImageReference, ...] = Field(min_length=1)
    mode: str
    how: Literal["quoted"]
    cannot: tuple[str, ...]
    suite: str
    suite_sha256: FileSha256
    units: tuple[ForeignTestedUnit, ...] = Field(min_length=1)
    sandbox: Literal["bubblewrap", "none"]
    sandbox_opened: tuple[str, ...] | None = None
    cases: tuple[CaseResult, ...]
    warned: tuple[str, ...] = ()
    skipped: tuple[SkippedCase, ...] = ()
    retries: dict[str, RetryRule] | None = None
    files: dict[str, FileSha256]
