# SPDX-License-Identifier: Apache-2.0
"""The unit says who it is and what it runs, in three ways that have to agree: SMP, console, and its own flash."""

from __future__ import annotations

import re

PRIMARY_SLOT = 0
VERSION_LINE = (
    r"ASSAY-APP 1 name=(?P<name>\S+) version=(?P<version>\S+) board=(?P<board>\S+) "
    r"hash=(?P<hash>[0-9a-f]{64}) state=(?P<state>\S+) selftest=(?P<selftest>\S+)"
)


def test_version_line_names_the_release(unit, console):
    console.send("version")
    line = re.search(VERSION_LINE, console.wait_for(r"ASSAY-APP 1 name="))
    assert line, "the version line has another form"
    assert (line["name"], line["version"]) == (unit.release.name, unit.release.version)
    assert line["board"] == unit.board.name
    assert line["hash"] == unit.release.image.image_hash


def test_image_hash_is_the_same_at_boot_and_in_flash(unit, smp):
    info, slot = smp.info(), smp.measure(PRIMARY_SLOT)
    assert info.image_hash.hex() == unit.release.image.image_hash
    assert slot.image_hash == info.image_hash
    assert (slot.how, slot.size) == ("recomputed", unit.release.image.size)
    assert info.state == "confirmed"
