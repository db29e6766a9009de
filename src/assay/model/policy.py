# SPDX-License-Identifier: Apache-2.0
"""Policy packs, the tests beside them, and decisions (docs/reference/policy).

Guards: a pack is closed to unknown keys and its checks have one id each; a decision is allowed only when every check
that applies was decided and none of them denies. Leaves to others: what the expressions mean (`interfaces`), deciding
(`stages.policy`).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from assay.model.identifiers import FileSha256, ImageHash, Name, SerialNumber, VersionText
from assay.model.value import FieldFault, Value

EXPRESSION_LENGTH_MAX = 2000
"""Characters: more than that nobody reviews."""

CHECKS_MAX = 200
REASON_LENGTH_MAX = 500
"""Characters of the reason for an adoption or an override."""

Expression = Annotated[str, StringConstraints(min_length=1, max_length=EXPRESSION_LENGTH_MAX)]
Words = Annotated[str, StringConstraints(min_length=1, max_length=REASON_LENGTH_MAX)]


class Point(StrEnum):
    """Where a policy is asked: before a release gets into the store, and before a unit is written."""

    PUBLISH = "publish"
    PROVISION = "provision"
    FLASH = "flash"
    INSTALL = "install"


class Severity(StrEnum):
    """What it means when `deny_if` is true. A check that cannot be decided denies, whatever its severity."""

    DENY = "deny"
    WARN = "warn"


PointName = Annotated[Point, Field(strict=False)]
SeverityName = Annotated[Severity, Field(strict=False)]


class PolicyCheck(Value):
    """One check: where `when` is true (always, without it), `deny_if` must not be. Both are CEL and give a bool."""

    id: Name
    version: int = Field(ge=1)
    severity: SeverityName = Severity.DENY
    when: Expression | None = None
    deny_if: Expression
    message: Words
    remedy: Words


class PolicyPack(Value):
    """A policy pack (`NAME.toml`): the points that it is asked at, and its checks."""

    schema_: Literal["assay.policy/1"] = Field(alias="schema")
    name: Name
    version: VersionText
    at: tuple[PointName, ...] = Field(min_length=1)
    checks: tuple[PolicyCheck, ...] = Field(min_length=1, max_length=CHECKS_MAX)

    @model_validator(mode="after")
    def _ids_are_unique(self) -> Self:
        seen: set[str] = set()
        for place, check in enumerate(self.checks):
            if check.id in seen:
                raise FieldFault(f"the id '{check.id}' is taken by another check", "checks", place, "id")
            seen.add(check.id)
        if len(set(self.at)) != len(self.at):
            raise FieldFault("a point is named twice", "at")
        return self


class PackTest(Value):
    """Facts in, outcome and ids out. `set` and `unset` change the file's `facts` at dotted paths (`board.emulated`)."""

    name: Annotated[str, StringConstraints(min_length=1)]
    set_: dict[str, Any] = Field(default={}, alias="set")
    unset: tuple[str, ...] = ()
    expect: Literal["allow", "deny"]
    denied: tuple[Name, ...] = ()
    warned: tuple[Name, ...] = ()


class PackTests(Value):
    """The tests beside a pack (`NAME.tests.toml`). `facts` is what all of them begin with."""

    schema_: Literal["assay.policy-tests/1"] = Field(alias="schema")
    facts: dict[str, Any]
    tests: tuple[PackTest, ...] = Field(min_length=1)


class CheckOutcome(StrEnum):
    """What came out of one check."""

    PASSED = "passed"
    NOT_APPLICABLE = "not-applicable"
    WARNED = "warned"
    DENIED = "denied"
    UNDECIDED = "undecided"
    """The expression gave an error, or no bool: that denies."""


DENYING = frozenset({CheckOutcome.DENIED, CheckOutcome.UNDECIDED})


class CheckResult(Value):
    """One check of the pack, and what came out of it. `reason` in words; empty when it passed or did not apply."""

    id: Name
    version: int
    outcome: Annotated[CheckOutcome, Field(strict=False)]
    reason: str = ""
    remedy: str = ""


class PackReference(Value):
    """Which pack: `sha256` is that of the file's bytes."""

    name: Name
    version: VersionText
    sha256: FileSha256


class DecisionSubject(Value):
    """The release that was decided about."""

    release: str
    board: Name
    file_sha256: FileSha256
    image_hash: ImageHash


class Decision(Value):
    """What a pack said. The same pack over the same facts gives the same decision: it has no time in it.

    `facts_sha256` is the SHA-256 of the facts in RFC 8785 form; `engine` evaluated the expressions.
    """

    schema_: Literal["assay.decision/1"] = Field(default="assay.decision/1", alias="schema")
    point: PointName
    subject: DecisionSubject
    pack: PackReference
    facts_sha256: FileSha256
    engine: str
    allowed: bool
    checks: tuple[CheckResult, ...]

    @model_validator(mode="after")
    def _allowed_follows(self) -> Self:
        if self.allowed is not (bool(self.checks) and not any(check.outcome in DENYING for check in self.checks)):
            raise FieldFault("what is allowed does not follow from the checks", "allowed")
        return self

    @property
    def denials(self) -> tuple[CheckResult, ...]:
        """The checks that deny."""
        return tuple(check for check in self.checks if check.outcome in DENYING)

    @property
    def warnings(self) -> tuple[CheckResult, ...]:
        """The checks that warn."""
        return tuple(check for check in self.checks if check.outcome is CheckOutcome.WARNED)


class DecisionRecord(Value):
    """`urn:assay:predicate:decision:v1`: a decision that was asked for before something was done.

    The facts and the pack lie beside the record as attachments, so that it can be derived again. `skipped` is the
    reason of somebody who went on without minding it. `serial` and `chip` name the unit, as far as they were known.
    """

    made: str
    assay: str
    decision: Decision
    skipped: Words | None = None
    serial: SerialNumber | None = None
    chip: str | None = None
    checkpoint: str


class Adoption(Value):
    """`urn:assay:predicate:policy:v1`: from now on this pack decides (None: nothing of that name decides any more).

    `before` is what decided until then. The pack's bytes lie beside the record. `restart`: whatever the log has of
    adoptions before this one counts no more, of this name or another. `untested`: why the pack has no tests.
    """

    made: str
    assay: str
    name: Name
    pack: PackReference | None = None
    at: tuple[PointName, ...] = ()
    before: PackReference | None = None
    restart: Literal[True] | None = None
    untested: Words | None = None
    reason: Words
    checkpoint: str


class PolicyNote(Value):
    """What a run's record says of policy: the decisions (SHA-256 of their statements) that it was done under, or none.

    No decision: no pack was adopted for that point. `skipped`: somebody's reason for going on without minding them.
    """

    decisions: tuple[FileSha256, ...] = ()
    skipped: Words | None = None
