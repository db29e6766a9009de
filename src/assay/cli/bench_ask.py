# SPDX-License-Identifier: Apache-2.0
"""`assay bench ask`: what is on a place, asked over SMP, or by a flasher; nothing is written."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from assay.cli.place_names import complete_place
from assay.cli.session import Answer, Session, verb

if TYPE_CHECKING:
    from assay.interfaces.flasher import Identity
    from assay.interfaces.smp_server import ServerSlot
    from assay.model.flasher_settings import FlasherSettings
    from assay.pipeline.foreign_ask import Told

HASH_DIGITS = 16
FLAGS = ("active", "confirmed", "pending", "permanent", "bootable")


@click.command()
@click.argument("place", shell_complete=complete_place)
@click.option("--bench", type=click.Path(path_type=Path, dir_okay=False), help="The bench file [default: bench.toml].")
@click.option("--wait", "wait_s", type=float, default=0.0, help="Seconds to wait for a place that is taken.")
@click.option("--flasher", default=None, metavar="NAME", help="Ask by this flasher of the board: probe, chip, kind.")
@verb
def ask(session: Session, place: str, bench: Path | None, wait_s: float, flasher: str | None) -> Answer:
    """Say what answers on PLACE, and which images it holds. For a board of ours: what it says that it is."""
    from assay.pipeline import flasher_run
    from assay.pipeline.place_check import check_place

    check_place(place, flasher=flasher, bench=bench, say=session.say)
    if flasher_run.goes_by_flasher(session.site, place, flasher, bench):
        return _by_flasher(
            place, *flasher_run.ask(session.site, place, flasher, wait_s=wait_s, bench=bench, say=session.say)
        )
    from assay.model.foreign_board import ForeignBoard
    from assay.pipeline.places import find_place

    if not isinstance(find_place(session.site, place, bench=bench).board, ForeignBoard):
        return _ours(session, place, bench, wait_s)
    from assay.pipeline import foreign_ask

    return _theirs(place, foreign_ask.ask(session.site, place, wait_s=wait_s, bench=bench, say=session.say))


def _ours(session: Session, name: str, bench: Path | None, wait_s: float) -> Answer:
    from assay.pipeline.places import describe, open_place, what_answers

    with open_place(session.site, name, verb="bench ask", wait_s=wait_s, bench=bench, say=session.say) as place:
        found = what_answers(place)
    return Answer(f"{name}: {describe(found)}", {"place": name, "board": found.board, "chip": found.chip.hex()})


def _by_flasher(place: str, settings: FlasherSettings, found: Identity) -> Answer:
    from assay.pipeline.flasher_run import describe

    lines = [f"{place}: {describe(found)}", *(f"  {name}: {words}" for name, words in found.facts)]
    data = {
        "place": place,
        "flasher": settings.called,
        "probe": found.probe,
        "chip": found.chip,
        "kind": found.kind,
        "facts": dict(found.facts),
    }
    return Answer("\n".join(lines), data)


def _theirs(place: str, told: Told) -> Answer:
    lines = [f"{place}: the {told.stage} of a {told.board.name}{f': {told.says}' if told.says else ''}"]
    lines.append(f"  buffers: {told.buffers.buf_count} of {told.buffers.buf_size} bytes")
    if told.echo_s is not None:
        lines.append(f"  echo: {told.echo_s * 1000:.0f} ms")
    if told.slots is None:
        lines.append("  images: its server knows none, nothing can be flashed through it")
    lines += [f"  {_line(slot)}" for slot in told.slots or ()]
    data = {
        "place": place,
        "board": told.board.name,
        "stage": told.stage,
        "says": told.says,
        "bootloader_mode": told.mode,
        "buf_size": told.buffers.buf_size,
        "buf_count": told.buffers.buf_count,
        "echo_s": told.echo_s,
        "slots": None if told.slots is None else [_json(slot) for slot in told.slots],
    }
    return Answer("\n".join(lines), data)


def _line(slot: ServerSlot) -> str:
    flags = ", ".join(flag for flag in FLAGS if getattr(slot, flag)) or "no flags"
    digest = slot.image_hash.hex()[:HASH_DIGITS] if slot.image_hash else "no hash told"
    return f"image {slot.image}, slot {slot.slot}: {slot.version or 'no version'} ({flags}), {digest}"


def _json(slot: ServerSlot) -> dict[str, Any]:
    row = asdict(slot)
    return {**row, "image_hash": slot.image_hash.hex() if slot.image_hash else None}
