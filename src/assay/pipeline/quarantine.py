# SPDX-License-Identifier: Apache-2.0
"""Places that tests keep away from: by a person's word, or because their runs contradict each other.

Guards: everything comes from the site's records, which no cache can lose: a quarantine is a signed record, so is its
end, and what is counted are the records of the runs. Leaves to others: what runs come to (`stages.hil.unit_history`).
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from assay.errors import InQuarantine
from assay.formats import sigstore_bundle
from assay.formats.statement_verifier import read_statement
from assay.model.outcome import Outcome
from assay.model.predicates import Quarantine
from assay.model.record import LogEntry, RecordType
from assay.model.statement import PredicateType, Subject
from assay.model.trust import Role
from assay.model.verdict import TEST_RUN
from assay.pipeline.journal import user_name
from assay.pipeline.recovery import run_digest
from assay.pipeline.run_journal import timestamp
from assay.pipeline.unit_records import statement_of
from assay.stages.hil.unit_history import History, RunSeen, history_of

if TYPE_CHECKING:
    from assay.pipeline.site import Site

RECORDS_MAX = 1000
"""Records of runs that are read, from the newest back: the last 20 runs of each of 50 places."""


@dataclass
class _Story:
    """What the records say of one place, newest first as they are read."""

    runs: list[RunSeen] = field(default_factory=list)
    word: Quarantine | None = None


@dataclass(frozen=True)
class PlaceState:
    """A place: whether tests keep away from it, why, and what its runs come to."""

    place: str
    why: str
    by: str
    since: str
    history: History

    @property
    def quarantined(self) -> bool:
        """True when tests keep away."""
        return bool(self.why)


def states(site: Site) -> dict[str, PlaceState]:
    """All places that the records tell of, by name. Raises NotVerified for a record that was changed, StorageError."""
    found = {place: _state(place, story) for place, story in _read(site).items()}
    away = {state.history.serial: place for place, state in found.items() if state.quarantined}
    for place, state in found.items():
        other = away.get(state.history.serial) if state.history.serial else None
        if other is not None and not state.quarantined:  # the unit was moved, and what was wrong went with it
            why = f"its unit {state.history.serial} is in quarantine at {other}: {found[other].why}"
            found[place] = replace(state, why=why, by=found[other].by, since=found[other].since)
    return dict(sorted(found.items()))


def check(site: Site, place: str) -> None:
    """Raises InQuarantine when tests keep away from `place`."""
    state = states(site).get(place)
    if state is not None and state.quarantined:
        raise InQuarantine(
            f"place {place} is in quarantine since {state.since} ({state.by}): {state.why}",
            remedy=f"mend it, then: assay bench quarantine {place} --lift; to use it as it is: --quarantined "
            "(pytest: --assay-quarantined)",
        )


def decide(site: Site, place: str, action: str, reason: str) -> PlaceState:
    """Record that `place` comes into quarantine, or out of it (`lift`). Raises NotRecorded."""
    before = states(site).get(place)
    word = Quarantine(
        place=place,
        serial=before.history.serial if before else None,
        action="lift" if action == "lift" else "begin",
        reason=reason,
        by=f"{user_name()} on {socket.gethostname()}",
        at=timestamp(site.clock),
        checkpoint=site.recorder.checkpoint().decode(),
    )
    subject = Subject(name=f"place/{place}", digest={"sha256": run_digest(place)})
    site.recorder.record(statement_of(PredicateType.QUARANTINE, word, subject), RecordType.QUARANTINE, Role.BENCH, None)
    return states(site)[place]


def _state(place: str, story: _Story) -> PlaceState:
    history, word = history_of(story.runs[::-1]), story.word
    if word is not None and word.action == "begin":
        return PlaceState(place, word.reason, word.by, word.at, history)
    return PlaceState(
        place, history.doubt, "assay, from the records" if history.doubt else "", history.last or "", history
    )


def _read(site: Site) -> dict[str, _Story]:
    """Newest first: what a place did before it came out of quarantine is not counted again."""
    if not (site.folder / "log" / "checkpoint").exists():
        return {}
    stories: dict[str, _Story] = {}
    budget = RECORDS_MAX
    for _, entry in reversed(list(site.records.entries())):
        if entry.type is RecordType.QUARANTINE:
            word = Quarantine.model_validate(_predicate(site, entry), strict=False)
            story = stories.setdefault(word.place, _Story())
            story.word = story.word or word
        elif entry.type in (RecordType.TEST, RecordType.FOREIGN_TEST, RecordType.RUN) and budget:
            budget -= 1
            _add_run(stories, _predicate(site, entry))
    return stories


def _add_run(stories: dict[str, _Story], predicate: dict[str, Any]) -> None:
    alone = predicate.get("verb") == "test" or "suite_sha256" in predicate  # without a result, or a foreign board's
    bench = predicate.get(TEST_RUN) or (predicate if alone else None)
    if not isinstance(bench, dict) or "run" not in bench:
        return  # a campaign of power cuts, or a run of another verb
    header = bench["run"]
    story = stories.setdefault(str(header["place"]), _Story())
    if story.word is not None and story.word.action == "lift":
        return
    units = bench.get("units") or [{}]
    story.runs.append(
        RunSeen(
            outcome=Outcome(header["outcome"]),
            what=f"{bench.get('suite_sha256', '')} {_hashes(bench)}",
            layer=bench.get("layer"),
            warned=len(predicate.get("warnedTests") or bench.get("warned", ())),
            serial=bench.get("serial") or units[0].get("serial"),
            at=str(header["finished"]),
        )
    )


def _hashes(bench: dict[str, Any]) -> str:
    """Of the image, or of the images of somebody else's board; a run without a result has neither."""
    several = bench.get("images") if "suite_sha256" in bench else None
    return " ".join(str(image.get("image_hash", "")) for image in (bench.get("image"), *(several or ())) if image)


def _predicate(site: Site, entry: LogEntry) -> dict[str, Any]:
    return read_statement(sigstore_bundle.decode(site.records.record(entry.record)).envelope.payload).predicate
