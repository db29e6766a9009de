# SPDX-License-Identifier: Apache-2.0
"""Patches between real images of other people: MCUboot images of Zephyr, from smpclient's source package.

`requirements/foreign-firmware.txt` names the package, `nox -s tests` fetches it; where it is not, tests skip, and say
so. What a patch takes of its image stands in docs/reference/delta.md, and is compared with it here.
"""

from __future__ import annotations

import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from test_delta_peer import Case, by_detools, by_the_bootloader

from assay.backends.builders.detools_patches import DetoolsPatches

pytest.importorskip("detools", reason="pip install 'assay[delta]'")

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".nox" / "foreign-firmware"
PAGE = ROOT / "docs" / "reference" / "delta.md"
NRF, RT = "examples/duts/nrf52840dk_nrf52840", "examples/duts/mimxrt1060_evkb"
SERVER, RECOVERY = "tests/fixtures/smp-server/zephyr", "mps2_an385_serial_recovery"


@dataclass(frozen=True)
class Pair:
    """Two images, and how many percent of the new one the smallest patch may take."""

    old: str
    new: str
    most: float


PAIRS = {
    "`nrf52840dk`, BLE, version a to b": Pair(f"{NRF}/ble/a_smp_dut.bin", f"{NRF}/ble/b_smp_dut.bin", 5),
    "`mimxrt1060_evkb`, USB, version a to b": Pair(f"{RT}/usb/a_smp_dut_8192_1_8192.bin", f"{RT}/usb/b_smp_dut.bin", 5),
    "`nrf52840dk`, USB, version a to b, other buffers": Pair(
        f"{NRF}/usb/a_smp_dut_1024_1_1024.bin", f"{NRF}/usb/b_smp_dut.bin", 5
    ),
    "`mps2_an385`, buffers of 1,024 to 400 bytes": Pair(
        f"{SERVER}_4.4.0_smp_server_0eae053d_{RECOVERY}_buf1024.signed.bin",
        f"{SERVER}_4.4.0_smp_server_0eae053d_{RECOVERY}_buf400.signed.bin",
        5,
    ),
    "`mps2_an385`, raw framing built in": Pair(
        f"{SERVER}_f33aa2bc4a43_smp_server_27c54835_{RECOVERY}.signed.bin",
        f"{SERVER}_f33aa2bc4a43_smp_server_27c54835_{RECOVERY}_raw.signed.bin",
        10,
    ),
    "`adafruit_feather_nrf52840` to `nrf52840dk`, BLE": Pair(
        "examples/duts/adafruit_feather_nrf52840/ble/a_smp_dut.bin", f"{NRF}/ble/a_smp_dut.bin", 10
    ),
    "`mps2_an385`, Zephyr 4.4.0 to its main afterwards (f33aa2bc)": Pair(
        f"{SERVER}_4.4.0_smp_server_0eae053d_{RECOVERY}_buf1024.signed.bin",
        f"{SERVER}_f33aa2bc4a43_smp_server_27c54835_{RECOVERY}.signed.bin",
        20,
    ),
}


def images(pair: Pair) -> tuple[bytes, bytes]:
    """Old and new."""
    packages = sorted(FOLDER.glob("smpclient-*.tar.gz"))
    if not packages:
        pytest.skip(f"no {FOLDER.relative_to(ROOT)}: nox -s tests fetches other people's firmware there")
    with tarfile.open(packages[-1]) as package:
        top = packages[-1].name.removesuffix(".tar.gz")
        old, new = (package.extractfile(f"{top}/{name}") for name in (pair.old, pair.new))
        assert old is not None and new is not None
        return old.read(), new.read()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("what", PAIRS)
def test_a_patch_between_images_of_somebody_else(what: str, tmp_path: Path, host_program: Path) -> None:
    """The bootloader's decoder and detools make the new image of it, and it takes what the page says."""
    old, new = images(PAIRS[what])
    tool = DetoolsPatches()
    cases = [Case(old, tool.make(old, new, compression), new) for compression in tool.compressions]
    assert by_the_bootloader(cases, tmp_path, host_program) == [("ok", new)] * len(cases)
    assert [by_detools(case) for case in cases] == [new] * len(cases)
    percents = [100 * len(case.patch) / len(new) for case in cases]
    assert min(percents) < PAIRS[what].most
    measured = (f"{len(new):,}", *(f"{percent:.2f}" for percent in (*percents, min(percents))))
    (row,) = (line for line in PAGE.read_text().splitlines() if line.startswith(f"| {what} |"))
    assert row == f"| {what} | {' | '.join(measured)} |"
