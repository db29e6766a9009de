# SPDX-License-Identifier: Apache-2.0
"""A Linux module from a blank medium to its history: good and bad updates, power cuts, a link that is cut."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cut_relay import cut_relay
from linux_site import BOARD, KEPT, ROOT, assay, full, good, made_site, start

from assay.drivers.twin.linux_disk import PORT_FILE, chosen_port
from assay.pipeline.site import Site

TWIN = "module"
CUT_SEED, CUTS = 20261126, 4


@pytest.fixture(scope="module")
def trust() -> Path:
    if not (ROOT / "linux-base" / "root.tar").exists():
        pytest.fail("linux-base is not there: python firmware/linux/fetch_base.py")
    return made_site()


@pytest.fixture(scope="module")
def unit(trust: Path) -> Iterator[str]:
    """A provisioned unit on the twin; its serial number."""
    folder = KEPT / "site" / "twins" / TWIN
    if folder.exists():
        assay("twin", "stop", TWIN, "--force")
        shutil.rmtree(folder)
    good("twin", "start", TWIN, "--board", BOARD)
    try:
        bootloader, app = f"linux-boot@{full('1.0.0')}", f"demo-linux@{full('1.0.0')}"
        words = ("provision", "--place", TWIN, "--profile", "provisioning/linux.toml", "--trust", str(trust))
        made = good(*words, "--bootloader", bootloader, "--app", app)
        yield made["serial"]
    finally:
        assay("twin", "stop", TWIN, "--force")


def update(version: str, trust: Path, *more: str) -> Any:
    return assay("update", f"demo-linux@{full(version)}", "--place", TWIN, "--trust", str(trust), *more)


def runs(trust: Path) -> tuple[str, str]:
    """Version and state, by the unit's own evidence."""
    report = good("evidence", "--place", TWIN, "--trust", str(trust))
    assert report["how"] == "recomputed"
    return report["version"].partition("+")[0], "confirmed" if report["kept"] else report["state"]


def test_provisioned_units_prove_themselves(unit: str, trust: Path) -> None:
    assert unit.startswith("LINUX-")
    assert runs(trust) == ("1.0.0", "confirmed")


def test_a_good_update_stays(unit: str, trust: Path) -> None:
    answer = update("1.1.0", trust)
    assert answer.status == 0, answer
    assert runs(trust) == ("1.1.0", "confirmed")
    good("twin", "power", "cycle", TWIN)
    assert runs(trust) == ("1.1.0", "confirmed")


@pytest.mark.parametrize(("version", "reason"), [("1.2.0", "selftest-failed (code 3)"), ("1.3.0", "reverted")])
def test_a_bad_update_goes_back_by_itself(unit: str, trust: Path, version: str, reason: str) -> None:
    before = runs(trust)
    answer = update(version, trust)
    assert answer.status == 1, answer
    assert reason in answer.words + str(answer.data)
    assert runs(trust) == before


def test_an_older_version_is_flashed_at_a_bench(unit: str, trust: Path) -> None:
    assert update("1.0.0", trust).status == 4
    good("flash", f"demo-linux@{full('1.0.0')}", "--place", TWIN, "--trust", str(trust))
    assert runs(trust) == ("1.0.0", "confirmed")


def test_the_power_goes_at_any_moment_and_a_slot_boots(unit: str, trust: Path) -> None:
    """Somewhere in the upload, the installation or the start; the same command then goes on."""
    dice = random.Random(CUT_SEED)
    for _ in range(CUTS):
        before = runs(trust)
        wanted = "1.1.0" if before[0] == "1.0.0" else "1.0.0"
        words = ("update", f"demo-linux@{full(wanted)}", "--place", TWIN, "--trust", str(trust))
        words += ("--unsafe-allow-older-version",)
        process = start(*words)
        time.sleep(dice.uniform(1, 20))
        good("twin", "power", "cut", TWIN, "--force")
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=300)
        good("twin", "power", "on", TWIN, "--force")
        assert runs(trust)[0] in ("1.0.0", "1.1.0")
        answer = assay(*words)
        assert answer.status == 0, answer
        assert runs(trust) == (wanted, "confirmed")


def test_the_link_is_cut_in_the_middle_of_an_upload(unit: str, trust: Path) -> None:
    """Twice; the upload goes on where it was, in the same command."""
    wanted = "1.1.0" if runs(trust)[0] == "1.0.0" else "1.0.0"
    folder = KEPT / "site" / "twins" / TWIN
    port = chosen_port(folder)
    try:
        with cut_relay(port, (5_000_000, 15_000_000)) as relay:
            (folder / PORT_FILE).write_text(str(relay.port))
            answer = update(wanted, trust, "--unsafe-allow-older-version")
    finally:
        (folder / PORT_FILE).write_text(str(port))
    assert relay.cut == 2
    assert answer.status == 0, answer
    assert runs(trust) == (wanted, "confirmed")


def test_units_of_another_site_take_no_bundle_of_ours(trust: Path, tmp_path: Path, unit: str) -> None:
    """The keyring decides: the same twin, with the keyring of another site, refuses the bundle and runs on."""
    other = Site(tmp_path / "other")
    from assay.drivers.twin.linux_disk import make_outfit
    from assay.drivers.twin.twin_folder import TwinFolder
    from assay.formats.device_certificate import pem
    from assay.pipeline.manifest_files import load_board
    from assay.pipeline.rauc_signing import certificate

    folder = TwinFolder(KEPT / "site" / "twins" / TWIN)
    outfit = make_outfit(pem(certificate(other)))
    area = load_board(ROOT / "boards" / f"{BOARD}.toml").flash.areas["factory"]
    before = runs(trust)
    good("twin", "power", "off", TWIN)
    with folder.flash.open("r+b") as file:
        file.seek(area.offset)
        file.write(outfit.archive.ljust(area.size, b"\0"))
    for name, (mode, data) in outfit.files.items():
        (folder.path / name).write_bytes(data)
        (folder.path / name).chmod(mode)
    good("twin", "power", "on", TWIN)
    wanted = "1.1.0" if before[0] == "1.0.0" else "1.0.0"
    answer = update(wanted, trust, "--unsafe-allow-older-version")
    assert answer.status != 0
    assert "bad-signature" in answer.words + str(answer.data)
    assert runs(trust) == before


def test_the_history_verifies(unit: str, trust: Path) -> None:
    found = good("trace", unit, "--trust", str(trust))
    assert found["broken"] == []
    assert found["links"] > 10
