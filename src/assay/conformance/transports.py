# SPDX-License-Identifier: Apache-2.0
"""What a transport has to do (`interfaces.transport.Transport`). The far end sends back every byte that it gets.

`--assay-driver-absent=ADDRESS` names a far end that is not there, to see the driver say so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from assay.conformance.driver_choice import DriverChoice, choice_of, told_as_ours
from assay.errors import LinkError
from assay.interfaces.transport import Transport
from assay.pipeline.driver_doors import transport_driver

BAUD = 115200
SILENCE_S = 0.2
PATIENCE_S = 10.0
EVERY_BYTE = bytes(range(256))
MUCH = EVERY_BYTE * 32


@pytest.fixture
def choice(request: pytest.FixtureRequest) -> DriverChoice:
    """The driver under test."""
    return choice_of(request.config)


@pytest.fixture
def open_link(choice: DriverChoice) -> Callable[[str], Transport]:
    """Opens a link to an address."""
    driver = choice.function or transport_driver(choice.name)
    return lambda address: driver(address, BAUD)


@pytest.fixture
def link(choice: DriverChoice, open_link: Callable[[str], Transport]) -> Iterator[Transport]:
    """An open link to the echo."""
    opened = open_link(choice.address)
    yield opened
    opened.close()


def read_back(link: Transport, length: int) -> bytes:
    """`length` bytes, or what came within `PATIENCE_S`."""
    received, end_s = b"", time.monotonic() + PATIENCE_S
    while len(received) < length and time.monotonic() < end_s:
        received += link.read(length - len(received), 1.0)
    return received


def test_it_knows_its_address(link: Transport, choice: DriverChoice) -> None:
    """As it was given, since messages name it."""
    assert link.address == choice.address


def test_every_byte_arrives_as_it_is(link: Transport) -> None:
    """No byte is special: no flow control, no translation of line ends."""
    link.write(EVERY_BYTE)
    assert read_back(link, len(EVERY_BYTE)) == EVERY_BYTE


def test_much_arrives_in_order(link: Transport) -> None:
    """8 KiB in one write."""
    link.write(MUCH)
    assert read_back(link, len(MUCH)) == MUCH


def test_silence_is_no_error(link: Transport) -> None:
    """A read gives nothing after its time, and not before."""
    began_s = time.monotonic()
    assert link.read(1, SILENCE_S) == b""
    assert time.monotonic() - began_s >= SILENCE_S * 0.9


def test_a_read_gives_at_most_what_was_asked(link: Transport) -> None:
    """And keeps the rest."""
    link.write(b"abcdef")
    first = link.read(2, PATIENCE_S)
    assert 1 <= len(first) <= 2
    assert first + read_back(link, 6 - len(first)) == b"abcdef"


def test_a_read_does_not_wait_for_more(link: Transport) -> None:
    """One byte that is there is given at once, however many were asked for."""
    link.write(b"x")
    began_s = time.monotonic()
    assert link.read(100, PATIENCE_S) == b"x"
    assert time.monotonic() - began_s < PATIENCE_S / 2


def test_dropped_input_is_gone(link: Transport) -> None:
    """What was received before is not read after."""
    link.write(b"old")
    end_s = time.monotonic() + PATIENCE_S
    seen = link.read(1, PATIENCE_S)
    while time.monotonic() < end_s and seen != b"o":
        seen = link.read(1, 1.0)
    time.sleep(SILENCE_S)  # until the rest is here
    link.drop_input()
    link.write(b"new")
    assert read_back(link, 3) == b"new"


def test_it_closes_twice(link: Transport) -> None:
    """A second close does nothing."""
    link.close()
    link.close()


@pytest.mark.parametrize("use", ["read", "write", "drop_input"])
def test_a_closed_link_is_broken(link: Transport, use: str) -> None:
    """LinkError, never an error of the library below."""
    link.close()
    arguments: dict[str, tuple[object, ...]] = {"read": (1, 0.1), "write": (b"x",), "drop_input": ()}
    with pytest.raises(LinkError):
        getattr(link, use)(*arguments[use])


def test_it_can_be_opened_again(link: Transport, choice: DriverChoice, open_link: Callable[[str], Transport]) -> None:
    """After a close the address is free."""
    link.close()
    again = open_link(choice.address)
    try:
        again.write(b"again")
        assert read_back(again, 5) == b"again"
    finally:
        again.close()


def test_a_far_end_that_is_not_there_is_told(choice: DriverChoice, open_link: Callable[[str], Transport]) -> None:
    """LinkError, with something that a person can do."""
    if choice.absent is None:
        pytest.skip("name an address without a far end with --assay-driver-absent")
    with told_as_ours(LinkError):
        open_link(choice.absent)
