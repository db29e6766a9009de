# SPDX-License-Identifier: Apache-2.0
"""A Linux module from a blank medium to its history: good and bad updates, and a kernel that stands still."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest
from linux_site import BOARD, KEPT, ROOT, assay, good, release
from linux_unit import TWIN, WholeUpdate, power_ons, runs, unit_host, update

from assay.drivers.ssh.host import SshHost
from assay.errors import DeviceTimeout, LinkError
from assay.formats import rauc_bundle
from assay.formats.rauc_bundle import BundleFacts
from assay.interfaces.device import DeviceRefusal
from assay.model.trust import Role
from assay.pipeline.places import open_place
from assay.pipeline.rauc_signing import certificate
from assay.pipeline.site import Site

WATCHDOG_RESET = 0x20
"""WDIOF_CARDRESET of linux/watchdog.h."""
BOOT_STATUS = "/sys/class/watchdog/watchdog0/bootstatus"
KERNEL_DIES = "echo 0 > /proc/sys/kernel/panic; echo 1 > /proc/sys/kernel/sysrq; echo c > /proc/sysrq-trigger"
UP_TIMEOUT_S = 600
FREEZES = "1.5.0"


def boot_status(host: SshHost) -> int:
    """What the watchdog says of the last start."""
    return int(host.run(["cat", BOOT_STATUS]).stdout)


@pytest.mark.sampled
def test_provisioned_units_prove_themselves(unit: str, trust: Path) -> None:
    assert unit.startswith("LINUX-")
    assert runs(trust) == ("1.0.0", "confirmed")


@pytest.mark.sampled
def test_a_good_update_stays(whole_update: WholeUpdate, trust: Path) -> None:
    """What the unit has acknowledged is on its medium: the power went right after that."""
    print(f"{whole_update.seconds:.1f} s, {whole_update.flushes} flushes since power on")
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


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        pytest.param("1.2.0", "selftest-failed (code 3)", marks=pytest.mark.sampled),
        ("1.3.0", "reverted"),
        ("1.4.0", "reverted"),
        ("1.5.0", "reverted"),
    ],
)
def test_a_bad_update_goes_back_by_itself(unit: str, trust: Path, version: str, reason: str) -> None:
    """What fails its self-test, panics, hangs before anybody can log in, and a kernel that stands still."""
    before, powered = runs(trust), power_ons()
    answer = update(version, trust)
    assert answer.status == 1, answer
    assert reason in answer.words + str(answer.data)
    assert runs(trust) == before
    assert power_ons() == powered
    with unit_host() as host:
        assert boot_status(host) == (WATCHDOG_RESET if version == FREEZES else 0)


def test_a_kernel_that_stands_still_is_started_again_by_the_watchdog(unit: str, trust: Path) -> None:
    """In a system that was kept: it is fed until the kernel dies, and nobody touches the power."""
    good("twin", "power", "cycle", TWIN)  # whoever reset it before
    before, powered = runs(trust), power_ons()
    with unit_host() as host:
        assert boot_status(host) == 0
        with pytest.raises((DeviceTimeout, LinkError)):
            host.run(["sh", "-c", KERNEL_DIES], timeout_s=5)
        host.wait_up(UP_TIMEOUT_S)
        assert boot_status(host) == WATCHDOG_RESET
    assert runs(trust) == before
    assert power_ons() == powered


def test_an_older_version_is_flashed_at_a_bench(unit: str, trust: Path) -> None:
    if runs(trust)[0] == "1.0.0":
        assert update("1.1.0", trust).status == 0
    assert assay("update", release("1.0.0"), "--place", TWIN, "--trust", str(trust)).status == 4
    good("flash", release("1.0.0"), "--place", TWIN, "--trust", str(trust))
    assert runs(trust) == ("1.0.0", "confirmed")
