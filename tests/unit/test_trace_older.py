# SPDX-License-Identifier: Apache-2.0
"""An update that somebody let go to an older version says so in every trace, with the reason."""

from __future__ import annotations

import json
import lzma

import pytest
from tiny_build import ROOT

from assay.formats import trace_archive
from assay.model.predicates import Update
from assay.model.statement import PredicateType
from assay.model.trace import Mark
from assay.pipeline.trace_life import Life
from assay.pipeline.trace_link import Link
from assay.pipeline.trace_record import claim_of
from assay.pipeline.trace_update import tell_update
from assay.pipeline.trust_file import load_trust

FORMATS = ROOT / "tests" / "data" / "formats"


@pytest.mark.parametrize("reason", [None, "1.1.0 drains the battery"])
def test_the_reason_is_shown(reason: str | None) -> None:
    dossier = trace_archive.decode(lzma.decompress((FORMATS / "assay.export.1.assay.xz").read_bytes()))
    claims = [claim_of(record.bundle) for record in dossier.records]
    said = next(each.predicate for each in claims if each and each.predicateType == PredicateType.UPDATE)
    update = Update.model_validate_json(json.dumps(said | ({"older_allowed": reason} if reason else {})))
    link = Link("history/1-update", "#1 Update")
    trust = load_trust(FORMATS / "assay.trust.1.toml")
    tell_update(link, update, Life(dossier.serial, trust, dossier.files, frozenset()))
    node = link.node()
    assert (Mark.OLDER in node.marks) is (reason is not None)
    assert any(reason in each.value for each in node.details) if reason else True
