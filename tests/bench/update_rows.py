# SPDX-License-Identifier: Apache-2.0
"""Rows about updates: by a patch against the whole image on the same throttled wire, and power cuts a minute."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import measuring
from life_site import APP, PATCHED_VERSION, ROOT, LifeSite, environment, patched_site, whole_site
from measuring import row, seconds

from assay.drivers.mcumgr.device import open_device
from assay.pipeline.site import Site

BAUD = 115_200
PLACE = "a"
PLANS = ROOT / "campaigns"
EPISODE = "swap"
"""Tried whole: of second cuts and completed updates it has about as many for each first cut as a whole campaign."""
EPISODE_BEGINS = "[[episodes]]"
SAMPLE = 120
"""First cuts; completed updates and second cuts come on top: for each first cut four times as many as in a campaign."""


def patch_against_image() -> None:
    """Rows: bytes that travel, and seconds of the whole verb, for a patch and for the image that it gives."""
    with tempfile.TemporaryDirectory(prefix="assay-bench-delta-") as folder:
        site = patched_site(measuring.board, Path(folder) / "site")
        site.good("twin", "start", PLACE, "--baud", str(BAUD))
        try:
            _patch_against_image(site)
        finally:
            site.verb("twin", "stop", PLACE, "--force")


def _patch_against_image(site: LifeSite) -> None:
    (patch_s, patch), (full_s, full) = _update(site), _update(site, "--full")
    if (patch["way"], full["way"]) != ("patch", "full"):
        raise RuntimeError(f"{patch['way']} and {full['way']} were measured, not a patch and a whole image")
    what = f"1.0.0 to {PATCHED_VERSION} by a patch"
    sent = {name: told["bytes_sent"] for name, told in (("patch", patch), ("full", full))}
    row(f"{what}: bytes sent", str(sent["patch"]), f"{sent['full']} (whole image)", sent["full"] / sent["patch"])
    row(f"{what}: whole verb, {BAUD} baud", f"{patch_s:.1f} s", f"{full_s:.1f} s (whole image)", full_s / patch_s)

    patch_s, full_s = _upload_s(site, patch=True), _upload_s(site, patch=False)
    row(f"{what}: on the line, {BAUD} baud", f"{patch_s:.2f} s", f"{full_s:.2f} s (whole image)", full_s / patch_s)


def _upload_s(site: LifeSite, *, patch: bool) -> float:
    """Seconds of the upload alone, into an empty slot, of the patch or of the image that it gives."""
    store = Site(site.folder).store
    release = store.find(APP, PATCHED_VERSION, site.board)
    digest = release.patches[0].file_sha256 if patch else release.image.file_sha256
    device = open_device(str(site.folder / "twins" / PLACE / "tty"), BAUD)
    try:
        device.erase()
        return device.upload(store.get(digest), bytes.fromhex(digest)).duration_s
    finally:
        device.erase()
        device.close()


def _update(site: LifeSite, *more: str) -> tuple[float, dict[str, Any]]:
    """Seconds and answer of an update; afterwards the unit runs 1.0.0 again, and its other slot is empty."""
    told: list[dict[str, Any]] = []
    taken_s = seconds(lambda: told.append(site.good(*site.update_line(PATCHED_VERSION, PLACE, *more))))
    site.good(*site.update_line("1.0.0", PLACE, "--unsafe-allow-older-version", "back to where it was"))
    device = open_device(str(site.folder / "twins" / PLACE / "tty"), BAUD)
    try:
        device.erase()
    finally:
        device.close()
    return taken_s, told[0]


def cuts_a_minute() -> None:
    """Rows: power cuts tried in a minute; recording the episodes is not counted."""
    with tempfile.TemporaryDirectory(prefix="assay-bench-cuts-") as folder:
        site = whole_site(measuring.board, Path(folder) / "site")
        _cuts(site, f"all of {EPISODE}", _plan_of(EPISODE, site))
        _cuts(site, "a sample of all episodes", PLANS / f"{measuring.board}.toml", "--sample", str(SAMPLE))


def _plan_of(episode: str, site: LifeSite) -> Path:
    """The board's plan with that episode and no other, in a project that has boards and nothing to build."""
    head, *episodes = (PLANS / f"{measuring.board}.toml").read_text().split(EPISODE_BEGINS)
    (wanted,) = (text for text in episodes if f'\nname = "{episode}"\n' in text)
    rom = site.folder / "cache" / "rom" / site.board / "part.elf"
    (site.folder.parent / "boards").symlink_to(ROOT / "boards")
    plan = site.folder.parent / "plan.toml"
    plan.write_text(f'rom = "{rom}"\n{head}{EPISODE_BEGINS}{wanted}')
    return plan


def _cuts(site: LifeSite, what: str, plan: Path, *more: str) -> None:
    line = site.command("twin", "powercut", plan, "--trust", site.trust, *more)
    done = subprocess.run(line, capture_output=True, text=True, check=False, cwd=ROOT, env=environment())
    if done.returncode:
        raise RuntimeError(f"{what}: status {done.returncode}: {done.stdout}{done.stderr}")
    told = json.loads(done.stdout)
    booted = told["cuts"] + told["second_cuts"]
    named = f"power cuts a minute, {what}, {told['cuts']:,} first, {told['second_cuts']} second"
    row(named, f"{booted * 60 / told['elapsed_s']:.0f}", f"and {told['completed']} updates completed", None)
    row("the first cuts alone", f"{told['cuts'] * 60 / told['first_cuts_s']:.0f}", "", None)
