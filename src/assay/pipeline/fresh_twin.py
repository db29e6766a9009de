# SPDX-License-Identifier: Apache-2.0
"""A twin that is made for one run: a blank chip, provisioned with a bootloader and an app, gone when the run ends.

Guards: only verified images are written to it; it dies with this process; what a process that was killed left behind is
removed by the next one.
Leaves to others: twins that stay (`assay twin`), and units with an identity (`assay provision`): this one has none.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.errors import UsageFault

if TYPE_CHECKING:
    from assay.interfaces.step_book import StepBook
    from assay.model.artifact import Release, VerifiedImage
    from assay.model.board import Board
    from assay.model.trust import TrustFile
    from assay.pipeline.site import Site

PREFIX = "fresh-"
BANNER_TIMEOUT_S = 10.0
"""Seconds for a blank chip's ROM to say so: the emulated boards need 0.1 s, once a second after that."""


@contextlib.contextmanager
def fresh_twin(site: Site, board: Board, app: VerifiedImage, trust: TrustFile, worker: str) -> Iterator[str]:
    """The name of a running twin with the highest published bootloader and `app`.

    Raises UsageFault when no bootloader is published for the board, Refused when the app needs something else, and what
    writing raises.
    """
    from assay.drivers.twin.lifecycle import start_twin
    from assay.model.compatibility import check_needs, offer_of, offers_of_board
    from assay.pipeline.linux_places import make_twin
    from assay.pipeline.rom_image import rom_for

    bootloader = _bootloader(site, board, trust)
    on_board = offers_of_board(board)
    check_needs(bootloader.release, on_board)
    check_needs(app.release, (*on_board, offer_of(bootloader.release)))
    _sweep(site)
    name = f"{PREFIX}{os.getpid()}-{worker}"
    folder = make_twin(site, name, board)
    try:
        twin = start_twin(folder, rom_for(site, board.name), owner_pid=os.getpid())
        try:
            _write(site, name, bootloader, app)
            yield name
        finally:
            twin.stop()
    finally:
        shutil.rmtree(folder.path, ignore_errors=True)


def _write(site: Site, name: str, bootloader: VerifiedImage, app: VerifiedImage) -> None:
    from assay.pipeline.places import open_place
    from assay.stages.provisioning.firmware import write_app, write_bootloader

    book = _unwritten_book()
    with open_place(site, name, verb="test") as place:
        write_bootloader(place, place.loader.wait_banner(BANNER_TIMEOUT_S), bootloader, book)
        write_app(place, app, book, site.clock)


def _bootloader(site: Site, board: Board, trust: TrustFile) -> VerifiedImage:
    from assay.model.identifiers import Version
    from assay.pipeline.release_gate import verify_release
    from assay.pipeline.withdrawals import withdrawal_of

    def fits(release: Release) -> bool:
        if release.kind != "bootloader" or release.board != board.name or release.min_revision > board.revision:
            return False
        return withdrawal_of(site.store, release) is None

    found = [release for release in site.store.releases() if fits(release)]
    if not found:
        raise UsageFault(
            f"no bootloader is published for {board.name}",
            remedy="build, sign and publish one: assay build, sign, publish",
        )
    newest = max(found, key=lambda release: Version(release.version))
    return verify_release(site.store, trust, newest.name, newest.version, board)


def _sweep(site: Site) -> None:
    """Remove the fresh twins of processes that are gone; their wires ended with them."""
    from assay.drivers.twin.control import TwinControl
    from assay.drivers.twin.twin_folder import TwinFolder, twin_names

    for name in twin_names(site.twins_dir):
        pid = name.removeprefix(PREFIX).partition("-")[0]
        if name.startswith(PREFIX) and pid.isdecimal() and not Path(f"/proc/{pid}").exists():
            folder = TwinFolder(site.twins_dir / name)
            if not TwinControl(folder).alive():
                shutil.rmtree(folder.path, ignore_errors=True)


class _NoJournal:
    """A fresh twin is never taken up again: nothing of its making has to last."""

    run_id = "fresh-twin"
    resumed = False

    def result(self, step: str) -> dict[str, Any] | None:
        """Nothing is done yet."""
        del step
        return None

    def begin(self, step: str) -> int:
        """Always the first attempt."""
        del step
        return 1

    def done(self, step: str, result: dict[str, Any]) -> None:
        """Nothing to keep."""
        del step, result

    def move(self, step: str, count: int) -> None:
        """Nobody asks how much."""
        del step, count

    def moved(self, step: str) -> int:
        """Nothing was counted."""
        del step
        return 0


def _unwritten_book() -> StepBook:
    from assay.interfaces.step_book import StepBook

    return StepBook(_NoJournal(), lambda _line: None, lambda _what: lambda _done, _total: None)
