# SPDX-License-Identifier: Apache-2.0
"""QEMU's traces as operations; the lines are what QEMU 7.2.22 wrote."""

from __future__ import annotations

import pytest

from assay.drivers.twin.flash_trace import FlashTrace
from assay.errors import InfrastructureError
from assay.simulation.nor_flash import Erase, Operation, Program

SPI = """\
m25p80_command_decoded [0x5579] new command:0x20
m25p80_flash_erase [0x5579] offset = 0xe1000, len = 4096
m25p80_command_decoded [0x5579] new command:0x2
m25p80_page_program [0x5579] page program cur_addr=0x100 data=0x1f
m25p80_page_program [0x5579] page program cur_addr=0x101 data=0xff
m25p80_command_decoded [0x5579] new command:0x5
123@1732500000.000001:m25p80_page_program [0x5579] page program cur_addr=0x102 data=0x0
m25p80_programming_zero_to_one [0x5579] programming zero to one! addr=0x1  0x0 -> 0x1
"""
CFI = """\
pflash_write_block_erase virt.flash1: block erase offset:0x180000 bytes:0x40000
pflash_write_block_start virt.flash1: block write start: bytes:0x1
pflash_data_write_block virt.flash1: data offset:0x0200 size:4 value:0x30047073 counter:0x0000000000000001
pflash_data_write_block virt.flash1: data offset:0x0204 size:4 value:0xc8117 counter:0x0000000000000000
pflash_write_block_flush virt.flash1: block write flush
pflash_write_block_start virt.flash1: block write start: bytes:0x0
pflash_data_write_block virt.flash1: data offset:0x0208 size:4 value:0x0 counter:0x0000000000000000
pflash_write_block_abort virt.flash1: block write abort
"""


def read(text: str, interface: str, step: int) -> FlashTrace:
    trace = FlashTrace(interface)
    for at in range(0, len(text), step):
        trace.feed(text[at : at + step])
    trace.end()
    return trace


@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_spi_pages_end_with_the_next_command(step: int) -> None:
    trace = read(SPI, "mtd", step)
    expected: list[Operation] = [Erase(0xE1000, 4096), Program(0x100, b"\x1f\xff"), Program(0x102, b"\0")]
    assert trace.operations == expected
    assert len(trace.hits) == 1


@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_cfi_words_are_programmed_by_the_flush_and_not_by_the_abort(step: int) -> None:
    expected: list[Operation] = [Erase(0x180000, 0x40000), Program(0x200, bytes.fromhex("7370043017810c00"))]
    assert read(CFI, "pflash", step).operations == expected


@pytest.mark.parametrize(
    "line", ["pflash_write_block_erase nothing that we know\n", "\n", "m25p80_flash_erase [0x1]\n"]
)
def test_a_line_that_is_not_understood_is_no_gap(line: str) -> None:
    with pytest.raises(InfrastructureError, match="QEMU's trace"):
        read(line, "mtd" if "m25p80" in line else "pflash", 10_000)
