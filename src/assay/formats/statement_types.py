# SPDX-License-Identifier: Apache-2.0
"""Who may sign statements of a type."""

from __future__ import annotations

from assay.model.statement import PredicateType
from assay.model.trust import SIGNERS, Role


def signers_of(predicate_type: str) -> frozenset[Role]:
    """The roles that may sign statements of `predicate_type`; none for a type that assay does not know."""
    try:
        return SIGNERS[PredicateType(predicate_type)]
    except ValueError:
        return frozenset()
