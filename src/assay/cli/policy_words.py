# SPDX-License-Identifier: Apache-2.0
"""What verbs say about policy: the option that skips it, who decided, and what a dry run would come to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from assay.errors import ExitStatus

if TYPE_CHECKING:
    from assay.model.policy import Decision, PolicyNote
    from assay.pipeline.policy_gate import Judged

skip_policy = click.option(
    "--unsafe-skip-policy",
    metavar="REASON",
    default=None,
    help="Go on where a policy refuses. REASON is recorded, and `assay trace` shows it for ever.",
)
"""The option of every verb that an adopted policy decides about."""

NOBODY = "no policy decided (none is adopted for this)"


def policy_words(note: PolicyNote) -> str:
    """Who decided, in a line."""
    if not note.decisions:
        return NOBODY
    decisions = ", ".join(digest[:16] for digest in note.decisions)
    return f"SKIPPED ({note.skipped}), decisions {decisions}" if note.skipped else f"allowed by decisions {decisions}"


def decision_lines(decision: Decision, indent: str = "  ") -> list[str]:
    """Each check and what came out of it."""
    lines = []
    for check in decision.checks:
        lines.append(f"{indent}{check.outcome.value:<14} {check.id} (version {check.version})")
        lines += [f"{indent}  {check.reason}"] if check.reason else []
        lines += [f"{indent}  next: {check.remedy}"] if check.remedy else []
    return lines


def decision_head(decision: Decision) -> str:
    """Pack, point, release and what it came to."""
    verdict = "allows" if decision.allowed else "refuses"
    return (
        f"policy '{decision.pack.name}' {decision.pack.version} ({decision.pack.sha256[:16]}) {verdict}"
        f" to {decision.point} {decision.subject.release} for {decision.subject.board}"
    )


def judged_lines(judged: Sequence[Judged]) -> list[str]:
    """What the adopted policies would say."""
    lines = [] if judged else [NOBODY]
    for one in judged:
        lines += [decision_head(one.decision), *decision_lines(one.decision)]
    return lines


def judged_data(judged: Sequence[Judged]) -> list[dict[str, Any]]:
    """The decisions, for `--json`."""
    return [one.decision.model_dump(mode="json", by_alias=True) for one in judged]


def judged_status(judged: Sequence[Judged]) -> ExitStatus:
    """REFUSED when the verb itself would be refused."""
    return ExitStatus.PASS if all(one.decision.allowed for one in judged) else ExitStatus.REFUSED
