# SPDX-License-Identifier: Apache-2.0
"""The pytest plugin on a fake bench: which unit answers, what it runs, and what was heard before the test."""

from __future__ import annotations

import pytest
from plugin_bench import Bench, bench

from assay.model.outcome import Outcome

__all__ = ["bench"]


@pytest.mark.parametrize(
    ("lie", "words"),
    [
        ("image = fake_bench.OTHER_IMAGE", "was started from image 2222222222222222"),
        ("image = None", "was started from image (none)"),
        ("image = b''", "was started from image (none)"),
        ("flash_image = fake_bench.OTHER_IMAGE", "has in its primary slot image 2222222222222222"),
        ("how = 'quoted'", "quotes the hash"),
        ("stage = fake_bench.Stage.BOOT", "the bootloader answers"),
    ],
)
def test_a_unit_that_runs_another_image_is_error_and_not_fail(bench: Bench, lie: str, words: str) -> None:
    bench.write(f"fake_bench.DEVICE.{lie}\ndef test_it(unit): assert False, 'never reached'\n")
    assert bench.run() == 1
    case = bench.case("test_it")
    assert (case.outcome, case.layer) == (Outcome.ERROR, "flasher")
    assert words in case.message
    assert "next: flash it" in bench.output or "quoted" in lie
    assert bench.verdict.outcome is Outcome.ERROR


def test_another_board_on_the_port_is_error(bench: Bench) -> None:
    bench.write("fake_bench.DEVICE.board = 'other'\ndef test_it(unit): pass\n")
    bench.run()
    assert (bench.case("test_it").outcome, bench.case("test_it").layer) == (Outcome.ERROR, "port")


def test_the_image_is_proved_again_after_a_power_cycle(bench: Bench) -> None:
    bench.write("""
def test_it(power):
    fake_bench.DEVICE.image_after_boot = fake_bench.OTHER_IMAGE
    power.cycle()
""")
    bench.run()
    case = bench.case("test_it")
    assert (case.outcome, case.layer) == (Outcome.ERROR, "flasher")


def test_another_unit_on_the_place_is_noticed(bench: Bench) -> None:
    bench.write("def test_it(smp): fake_bench.DEVICE.chip = bytes(16)\n")
    bench.run()
    assert "another unit answers" in bench.case("test_it").message
    assert bench.verdict.outcome is Outcome.ERROR


def test_a_unit_that_was_left_without_power_has_it_in_the_next_test(bench: Bench) -> None:
    bench.write("def test_a(power): power.off()\ndef test_b(smp): assert smp.echo('x') == 'x'\n")
    assert bench.run() == 0, bench.output


def test_console_lines_from_before_the_test_do_not_count(bench: Bench) -> None:
    """The line of the image that ran before would make this pass."""
    bench.write("def test_it(console): console.wait_for('ASSAY-APP 1', timeout_s=0.1)\n")
    bench.run()
    case = bench.case("test_it")
    assert (case.outcome, case.device_answers) == (Outcome.TIMEOUT, True)
    assert bench.verdict.outcome is Outcome.TIMEOUT
    assert bench.verdict.device_answers


def test_console_lines_from_before_a_power_cut_do_not_count(bench: Bench) -> None:
    bench.write("""
def test_it(console, power):
    power.cut()
    assert console.lines() == ()
    power.on()
    console.wait_for("a last word", timeout_s=0.1)
""")
    bench.run()
    assert bench.case("test_it").outcome is Outcome.TIMEOUT


def test_a_device_that_falls_silent_is_timeout_that_tells_nothing(bench: Bench) -> None:
    bench.write("""
def test_it(smp):
    fake_bench.DEVICE.silent = True
    smp.echo("x")
""")
    bench.run()
    case = bench.case("test_it")
    assert (case.outcome, case.layer, case.device_answers) == (Outcome.TIMEOUT, "link", False)
    assert not bench.verdict.device_answers


def test_a_power_switch_that_does_not_obey_is_error(bench: Bench) -> None:
    bench.write("""
def test_it(power):
    fake_bench.SWITCH.stuck = True
    power.cycle()
""")
    bench.run()
    assert (bench.case("test_it").outcome, bench.case("test_it").layer) == (Outcome.ERROR, "power")
