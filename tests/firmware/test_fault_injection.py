# SPDX-License-Identifier: Apache-2.0
"""A sample of the fault campaign on each board, and proof that it finds something where there is something to find."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from signed_build import FIRMWARE, Workshop

CAMPAIGN = FIRMWARE / "tests" / "fault_injection.py"
DECIDES = "^(main|boot_|load|start|judge|image_|parse|take|bytes_|port_jump|ed25519_verify|counter_read|sha256|hash)"


def run(workshop: Workshop, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The campaign as a person would start it."""
    command = [sys.executable, str(CAMPAIGN), "--board", workshop.board, "--cache", str(workshop.cache), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.timeout(600)
def test_one_wrong_instruction_starts_no_bad_image(workshop: Workshop) -> None:
    """One bad image, skipped instructions and flipped bits; some hundred boots on an idle machine."""
    seed = {"ast1030-evb": "1", "rv32-virt": "4"}[workshop.board]  # a bad image in the one slot, and in the other
    done = run(
        workshop, "--scenes", "1", "--seed", seed, "--seconds", "6", "--way", "skip", "--way", "flip", "--only", DECIDES
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = re.findall(r"^(?:skip|flip) +(\d+) +(\d+) +\d+ +(\d+)", done.stdout, re.MULTILINE)
    assert len(rows) == 2
    assert all(int(bad) == 0 and int(good) + int(recovery) >= 5 for bad, good, recovery in rows), done.stdout


@pytest.mark.timeout(600)
def test_the_campaign_finds_a_bootloader_that_decides_once(workshop: Workshop) -> None:
    """Without the second decision one skipped branch in main() starts anything."""
    scene = ("--scene", "bad-signature primary", "--way", "skip", "--only", "^main$", "--seconds", "120")
    done = run(workshop, "--weak", *scene)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^FATAL skip: bad-signature in primary: main ", done.stdout, re.MULTILINE)
