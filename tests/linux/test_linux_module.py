# SPDX-License-Identifier: Apache-2.0
"""A Linux module from a blank medium to its history: good and bad updates, power cuts, a link that is cut."""

from __future__ import annotations

import hashlib
import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cut_relay import cut_relay
from linux_site import BOARD, GOOD, KEPT, ROOT, assay, bootloader, good, made_trust, release, start

from assay.drivers.twin.linux_disk import PORT_FILE, chosen_port
from assay.formats import rauc_bundle
from assay.formats.rauc_bundle import BundleFacts
from assay.interfaces.device import DeviceRefusal
from assay.model.trust import Role
from assay.pipeline.places import open_place
from assay.pipeline.rauc_signing import certificate
from assay.pipeline.site import Site

TWIN = "module"
AFTER_ITS_END = 1.05
"""Of the time that an update took: some cuts come when it is over."""


@pytest.fixture(scope="module")
def trust() -> Path:
    if not (ROOT / "linux-base" / "root.tar").exists():
        pytest.fail("linux-base is not there: python firmware/linux/fetch_base.py")
    return made_trust()


@pytest.fixture(scope="module")
def unit(trust: Path) -> Iterator[str]:
    """A provisioned unit on the twin; its serial number."""
    folder = KEPT / "site" / "twins" / TWIN
    if folder.exists():
        assay("twin", "stop", TWIN, "--force")
        shutil.rmtree(folder)
    good("twin", "start", TWIN, "--board", BOARD)
    try:
        words = ("provision", "--place", TWIN, "--profile", "provisioning/linux.toml", "--trust", str(trust))
        made = good(*words, "--bootloader", bootloader(), "--app", release("1.0.0"))
        yield made["serial"]
    finally:
        assay("twin", "stop", TWIN, "--force")


def update(version: str, trust: Path, *more: str) -> Any:
    return assay("update", release(version), "--place", TWIN, "--trust", str(trust), *more)


def runs(trust: Path) -> tuple[str, str]:
    """Version and state, by the unit's own evidence."""
    report = good("evidence", "--place", TWIN, "--trust", str(trust))
    assert report["how"] == "recomputed"
    return report["version"].partition("+")[0], "confirmed" if report["kept"] else report["state"]


def test_provisioned_units_prove_themselves(unit: str, trust: Path) -> None:
    assert unit.startswith("LINUX-")
    assert runs(trust) == ("1.0.0", "confirmed")


@pytest.fixture(scope="module")
def update_s(unit: str, trust: Path) -> float:
    """Seconds of a whole update, on this host today."""
    release("1.1.0")
    begun_s = time.monotonic()
    assert update("1.1.0", trust).status == 0
    return time.monotonic() - begun_s


def test_a_good_update_stays(unit: str, trust: Path, update_s: float) -> None:
    """What the unit has acknowledged is on its medium: the power goes right after that."""
    good("twin", "power", "cut", TWIN)
    good("twin", "power", "on", TWIN)
    assert runs(trust) == ("1.1.0", "confirmed")


def test_a_suite_runs_on_it(unit: str, trust: Path, tmp_path: Path) -> None:
    words = ("test", "suites/demo-linux", "--place", TWIN, "--trust", str(trust), "--serial", unit)
    done = good(*words, "--release", release(runs(trust)[0]), "--results", str(tmp_path / "results"))
    assert (done["outcome"], done["serial"], len(done["cases"])) == ("PASS", unit, 2)
    assert done["record_type"] == "test"


def bundle(site: Site, compatible: str = BOARD) -> bytes:
    """A small one, signed by the bundle key of `site`."""
    from assay.backends.builders.squashfs_program import squashfs_of

    image = random.Random(1).randbytes(1 << 20)
    facts = BundleFacts(compatible, "9.0.0", hashlib.sha256(image).hexdigest(), len(image))
    squashfs, key = squashfs_of(rauc_bundle.IMAGE_FILE, image), site.signers.public_key(Role.RAUC)
    return rauc_bundle.assemble(
        squashfs, facts, certificate(site), key, lambda data: site.signers.sign(Role.RAUC, data)
    )


def flipped(data: bytes, at: int) -> bytes:
    """One bit of `data` is another."""
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def test_what_is_no_bundle_for_this_unit_is_refused_in_words(unit: str, trust: Path, tmp_path: Path) -> None:
    """By the unit itself, over the same upload: no gate of ours is in between. It runs on as before."""
    ours, other, before = Site(KEPT / "site"), Site(tmp_path / "other"), runs(trust)
    whole = bundle(ours)
    cases = {
        "board-mismatch": bundle(ours, "another-board"),
        "bad-signature": bundle(other),
        "bad-hash": flipped(whole, 1 << 19),
        "bad-header": whole[: len(whole) // 2],
    }
    with open_place(ours, TWIN, verb="test", start=ROOT) as place:
        for word, data in cases.items():
            with pytest.raises(DeviceRefusal) as refused:
                place.device.upload(data, hashlib.sha256(data).digest())
            assert refused.value.word == word, (word, refused.value.message)
        (rest,) = [row for row in place.device.image_state() if row.slot == 0]
        assert rest.active
    assert runs(trust) == before


def new_version() -> str:
    """A good one that is in neither slot."""
    with open_place(Site(KEPT / "site"), TWIN, verb="test", start=ROOT) as place:
        there = {row.version.partition("+")[0] for row in place.device.image_state()}
    return next(version for version in GOOD if version not in there)


def test_the_link_is_cut_in_the_middle_of_an_upload(unit: str, trust: Path) -> None:
    """Twice; the upload goes on where it was, in the same command."""
    wanted = new_version()
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
    assert answer.data["bytes_sent"] < 30_000_000  # 25 MB, and what was under way twice
    assert runs(trust) == (wanted, "confirmed")


def test_the_power_goes_at_any_moment_and_a_slot_boots(
    unit: str, trust: Path, update_s: float, pytestconfig: pytest.Config
) -> None:
    """Somewhere in the upload, the installation, the restart or after it, and the disk forgets what was not flushed: a
    slot that verifies runs, and the same command then goes on to its end.
    """
    dice = random.Random(pytestconfig.getoption("--cut-seed"))
    log = KEPT / "site" / "twins" / TWIN / "wire.log"
    for number in range(pytestconfig.getoption("--cuts")):
        before, wanted = runs(trust), new_version()
        release(wanted)
        words = ("update", release(wanted), "--place", TWIN, "--trust", str(trust))
        words += ("--unsafe-allow-older-version",)
        process, after_s = start(*words), dice.uniform(0, AFTER_ITS_END * update_s)
        time.sleep(after_s)
        good("twin", "power", "cut", TWIN, "--force")
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=300)
        good("twin", "power", "on", TWIN, "--force")
        after = runs(trust)
        lost = [line for line in log.read_text().splitlines() if line.startswith("power cut: ")][-1]
        print(f"cut {number}: {after_s:.1f} s into the update {before[0]} -> {wanted}: runs {after}; {lost}")
        assert after[0] in (before[0], wanted)
        answer = assay(*words)
        assert answer.status == 0, answer
        assert runs(trust) == (wanted, "confirmed")


@pytest.mark.parametrize(
    ("version", "reason"), [("1.2.0", "selftest-failed (code 3)"), ("1.3.0", "reverted"), ("1.4.0", "reverted")]
)
def test_a_bad_update_goes_back_by_itself(unit: str, trust: Path, version: str, reason: str) -> None:
    before = runs(trust)
    answer = update(version, trust)
    assert answer.status == 1, answer
    assert reason in answer.words + str(answer.data)
    assert runs(trust) == before


def test_an_older_version_is_flashed_at_a_bench(unit: str, trust: Path) -> None:
    if runs(trust)[0] == "1.0.0":
        assert update("1.1.0", trust).status == 0
    assert update("1.0.0", trust).status == 4
    good("flash", release("1.0.0"), "--place", TWIN, "--trust", str(trust))
    assert runs(trust) == ("1.0.0", "confirmed")


def test_the_history_verifies(unit: str, trust: Path) -> None:
    found = good("trace", unit, "--trust", str(trust))
    assert found["broken"] == []
    assert found["links"] >= 6
