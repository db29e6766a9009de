# SPDX-License-Identifier: Apache-2.0
"""What the policies would say about a published release: asked, and neither recorded nor acted on.

Leaves to others: deciding (`policy_gate`), the release (`release_gate`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from assay.errors import UsageFault
from assay.model.policy import Point
from assay.model.policy_facts import UnitFacts
from assay.model.trust import TrustFile
from assay.pipeline.manifest_files import board_file, load_board, project_root
from assay.pipeline.policy_facts import facts_of
from assay.pipeline.policy_files import load_pack, policy_engine, read_bytes
from assay.pipeline.policy_gate import Judged, Question, judge
from assay.pipeline.release_gate import verify_release
from assay.pipeline.unit_records import parse_reference
from assay.stages.policy.decide import decide

if TYPE_CHECKING:
    from assay.pipeline.site import Site


def ask(
    site: Site, point: Point, reference: str, board: str, trust: TrustFile, pack: Path | None, unit: Path | None
) -> tuple[Judged, ...]:
    """The decisions about `reference` on `board`: of the adopted packs, or of `pack` alone. Raises `Refused` and its
    kin when the release does not verify, `UsageFault`, `ManifestFault`.
    """
    model = load_board(board_file(project_root(Path.cwd()), board))
    name, version = parse_reference(reference)
    image = verify_release(site.store, trust, name, version, model)
    there = _unit(unit) if unit is not None else None
    if pack is None:
        return judge(site, Question(point, image, model, trust, there))
    engine = policy_engine()
    loaded = load_pack(pack, engine)
    facts = facts_of(site, trust, point, image, model, unit=there)
    return (Judged(decide(loaded.pack, loaded.sha256, facts, engine), facts, loaded, there),)


def _unit(path: Path) -> UnitFacts:
    try:
        return UnitFacts.model_validate_json(read_bytes(path))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UsageFault(
            f"{path} holds no facts about a unit: {where}: {first['msg']}", remedy="assay schema policy-facts"
        ) from error
