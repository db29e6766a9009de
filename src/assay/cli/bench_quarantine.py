# SPDX-License-Identifier: Apache-2.0
"""`assay bench quarantine`: which places tests keep away from, why, and what their runs come to."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from assay.cli.place_names import complete_place
from assay.cli.session import Answer, Session, verb
from assay.errors import UsageFault

if TYPE_CHECKING:
    from assay.pipeline.quarantine import PlaceState


@click.command()
@click.argument("place", required=False, shell_complete=complete_place)
@click.option("--reason", default="", metavar="TEXT", help="Why; tests that look for a place are told.")
@click.option("--lift", is_flag=True, help="Take it back into use; what it did before is not counted again.")
@verb
def quarantine(session: Session, place: str | None, reason: str, lift: bool) -> Answer:
    """Keep tests away from PLACE, or with --lift no longer; without PLACE, list all places that the records tell of.

    A place whose runs flip between PASS and FAIL, or end in errors of the bench three times in a row, comes into
    quarantine by itself: see the counts.
    """
    from assay.pipeline.quarantine import decide, states

    if place is None:
        if lift or reason:
            raise UsageFault("which place?", remedy="assay bench quarantine PLACE")
        found = list(states(session.site).values())
        lines = [_line(state) for state in found] or ["no run of a suite is in the records of this site"]
        return Answer("\n".join(lines), {"places": [_data(state) for state in found]})
    _check_name(session, place)
    if not lift and not reason:
        raise UsageFault("a quarantine needs a reason", remedy="say why: --reason TEXT")
    state = decide(session.site, place, "lift" if lift else "begin", reason)
    return Answer(_line(state), _data(state))


def _check_name(session: Session, place: str) -> None:
    """A place that neither bench nor records know is a slip. Raises UsageFault with what there is."""
    from assay.pipeline.places import find_place
    from assay.pipeline.quarantine import states

    if place not in states(session.site):
        find_place(session.site, place)


def _data(state: PlaceState) -> dict[str, object]:
    return {**asdict(state), "quarantined": state.quarantined}


def _line(state: PlaceState) -> str:
    """A line for people, and under it why."""
    seen = state.history
    errors = ", ".join(f"{count} {layer}" for layer, count in sorted(seen.errors.items()))
    counts = f"{seen.runs} runs: {seen.passed} PASS, {seen.failed} FAIL, {sum(seen.errors.values())} ERROR"
    counts += f" ({errors})" if errors else ""
    counts += f"; {seen.flips} flips" + (f"; {seen.warned} passed when tried again" if seen.warned else "")
    word = "QUARANTINE" if state.quarantined else "in use"
    line = f"{state.place:<16} {word:<11} {counts}" + (f"; unit {seen.serial}" if seen.serial else "")
    return line + (f"\n  since {state.since}, by {state.by}: {state.why}" if state.quarantined else "")
