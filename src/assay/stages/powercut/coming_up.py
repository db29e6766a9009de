# SPDX-License-Identifier: Apache-2.0
"""What a unit says when it comes up, and whether that is what it has to be after a cut.

Guards: an app counts as one of the plan's images only when the hash that the bootloader measured at this boot, the name
and the version in its line are all of that image. Silence is an answer, too.
Leaves to others: reading lines (`interfaces.device`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from assay.errors import DeviceTimeout
from assay.interfaces.device import Console, Device, DeviceRefusal, Stage
from assay.stages.powercut.images import CampaignImage, Images

_APP = r"ASSAY-APP 1 name=(?P<name>\S+) version=(?P<version>\S+) board=\S+ hash=(?P<hash>[0-9a-f]{64}) "
_APP += r"state=(?P<state>\w+) selftest=(?P<selftest>\w+)"
_WAITED = "ASSAY-(APP 1 name=|BOOT 1 recovery |ROM 1 board=)"
_LINE = re.compile(_APP + r"|ASSAY-BOOT 1 recovery .*reason=(?P<recovery>\S+)|ASSAY-ROM 1 board=.*reason=(?P<rom>\S+)")
SILENT = "silent"
STRANGER = "stranger"


@dataclass(frozen=True)
class CameUp:
    """`word` is an image's word, `recovery`, `rom`, `silent` or `stranger`; `detail` what else the unit said of it.

    `settled` is True when it goes on to serve: an app under test that fails its self-test goes back by itself.
    """

    word: str
    detail: str = ""
    settled: bool = True

    def __str__(self) -> str:
        return f"{self.word} ({self.detail})" if self.detail else self.word


def read_line(line: str, images: Images) -> CameUp | None:
    """What a console line says of a unit that comes up; None when it says nothing of that."""
    match = _LINE.search(line)
    if match is None:
        return None
    for word in ("recovery", "rom"):
        if match[word]:
            return CameUp(word, match[word])
    image = _image_of(match["hash"], match["name"], match["version"], images)
    selftest, state = match["selftest"], match["state"]
    settled = selftest == "pass" or (selftest == "fail" and state == "confirmed")
    if image is None:
        return CameUp(STRANGER, f"{match['name']} {match['version']} hash {match['hash'][:16]}", settled)
    return CameUp(image.word, f"{state}, self-test failed" if selftest == "fail" else state, settled)


def wait_up(console: Console, images: Images, timeout_s: float, *, settled: bool = False) -> CameUp:
    """The first thing that the unit says it is; with `settled` the first that lasts. Raises LinkError."""
    while True:
        try:
            line = console.wait_for_line(_WAITED, timeout_s)
        except DeviceTimeout as error:
            return CameUp(SILENT, error.message)
        found = read_line(line, images)
        if found is not None and (found.settled or not settled):
            return found


def asked(device: Device, images: Images) -> CameUp | None:
    """What a unit that serves says it is; None when it does not answer, or will not go on serving as it is.

    Raises LinkError for a broken link.
    """
    try:
        info = device.info()
        health = device.health() if info.stage is Stage.APP else None
    except (DeviceTimeout, DeviceRefusal):
        return None
    if health is None:
        return CameUp("recovery", "asked")
    if health.state == "running" or (health.state == "fail" and info.state != "confirmed"):
        return None
    image_hash = info.image_hash.hex() if info.image_hash else ""
    image = _image_of(image_hash, info.name, info.version, images)
    if image is None:
        return CameUp(STRANGER, f"{info.name} {info.version} hash {image_hash[:16]}")
    return CameUp(image.word, f"{info.state}, self-test failed" if health.state == "fail" else str(info.state))


def fault_of(found: CameUp, may_run: tuple[str, ...]) -> str | None:
    """What is wrong with `found` after a cut; None when it is as it has to be."""
    if found.word in may_run:
        return None
    if found.word == SILENT:
        return f"the unit does not come up: {found.detail}"
    if found.word == STRANGER:
        return f"the unit runs what is none of the plan's images: {found.detail}"
    return f"the unit comes up as {found}, and has to come up as {' or '.join(may_run)}"


def _image_of(image_hash: str, name: str, version: str, images: Images) -> CampaignImage | None:
    for image in images.apps.values():
        named = image.named
        if (image_hash, name, version) == (named.image_hash, named.name, named.version):
            return image
    return None
