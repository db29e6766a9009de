# SPDX-License-Identifier: Apache-2.0
"""What a power driver has to do (`interfaces.power.Power`), with its switch connected: it is switched some ten times.

`--assay-driver-absent=ADDRESS` names a switch that is not there, to see the driver say so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from assay.conformance.driver_choice import DriverChoice, choice_of, told_as_ours
from assay.errors import UsageFault
from assay.interfaces.power import Power
from assay.pipeline.driver_doors import open_power

OFF_S = 0.2
Open = Callable[[], Power]


@pytest.fixture
def choice(request: pytest.FixtureRequest) -> DriverChoice:
    """The driver under test."""
    return choice_of(request.config)


@pytest.fixture
def open_switch(choice: DriverChoice) -> Open:
    """Opens the switch anew, as the next verb would."""
    return lambda: open_power(choice.function or choice.name, choice.address, choice.options)


@pytest.fixture
def switch(open_switch: Open) -> Iterator[Power]:
    """The switch; left off."""
    opened = open_switch()
    yield opened
    opened.off()


def test_on_is_on_also_twice(switch: Power) -> None:
    """`on` when it is on changes nothing and is no error."""
    for _ in range(2):
        switch.on()
        assert switch.is_on() is True


def test_off_is_off_also_twice(switch: Power) -> None:
    """`off` when it is off changes nothing and is no error."""
    switch.on()
    for _ in range(2):
        switch.off()
        assert switch.is_on() is False


def test_a_cut_is_off(switch: Power) -> None:
    """After `cut` there is no power."""
    switch.on()
    switch.cut()
    assert switch.is_on() is False


@pytest.mark.parametrize("before", ["on", "off"])
def test_a_cycle_ends_with_on(switch: Power, before: str) -> None:
    """`cycle` is off for the time that it is given, and then on, whatever was before."""
    getattr(switch, before)()
    began_s = time.monotonic()
    switch.cycle(OFF_S)
    assert time.monotonic() - began_s >= OFF_S
    assert switch.is_on() is True


def test_a_cycle_has_a_time_of_its_own(switch: Power) -> None:
    """`cycle()` needs no argument."""
    switch.cycle()
    assert switch.is_on() is True


def test_asking_switches_nothing(switch: Power) -> None:
    """`is_on` may be asked at any time."""
    for told, state in ((switch.on, True), (switch.off, False)):
        told()
        assert [switch.is_on() for _ in range(3)] == [state] * 3


def test_the_next_one_to_open_it_switches_on_too(switch: Power, open_switch: Open) -> None:
    """A verb that opens the switch while it is on tells it `on` again and loses no power by that."""
    switch.on()
    other = open_switch()
    other.on()
    assert other.is_on() is True


def test_an_option_that_it_does_not_have_is_told(choice: DriverChoice) -> None:
    """A mistyped option is status 2, and never ignored."""
    with pytest.raises(UsageFault):
        open_power(choice.function or choice.name, choice.address, {**choice.options, "no-such-option": 1})


def test_a_switch_that_is_not_there_is_an_error_of_ours(choice: DriverChoice) -> None:
    """No OSError, no exception of a library: InfrastructureError, or UsageFault for an address that cannot be; with
    something that a person can do.
    """
    if choice.absent is None:
        pytest.skip("name an address without a switch with --assay-driver-absent")
    with told_as_ours():
        open_power(choice.function or choice.name, choice.absent, choice.options).on()
