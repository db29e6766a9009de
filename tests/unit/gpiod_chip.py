# SPDX-License-Identifier: Apache-2.0
"""A GPIO chip that is not there: what `gpiod` 2 and the kernel do with it, as far as our driver asks.

A mock of the library, which is real in test_power_lines, where no chip is. The line is a file, and taken by one
request at a time, as the kernel has it.
"""

from __future__ import annotations

from pathlib import Path

MODULE = """
import errno
from enum import Enum
from types import SimpleNamespace

class Value(Enum):
    INACTIVE = 0
    ACTIVE = 1

class Direction(Enum):
    AS_IS = 1
    OUTPUT = 3

line = SimpleNamespace(Value=Value, Direction=Direction)
taken = set()

class LineSettings:
    def __init__(self, active_low, direction, output_value=None):
        self.active_low, self.direction, self.output_value = active_low, direction, output_value

class Request:
    def __init__(self, chip, number, settings):
        self.chip, self.number, self.settings = chip, number, settings
        if settings.direction is Direction.OUTPUT:
            self.set_value(number, settings.output_value)
    def __enter__(self):
        return self
    def __exit__(self, *_):
        taken.discard((self.chip, self.number))
    def set_value(self, number, value):
        assert self.settings.direction is Direction.OUTPUT and number == self.number
        with open(self.chip, "w") as file:
            file.write(str(value.value ^ self.settings.active_low))
    def get_value(self, number):
        with open(self.chip) as file:
            return Value(int(file.read() or "0") ^ self.settings.active_low)

def request_lines(chip, consumer, config):
    ((number, settings),) = config.items()
    with open(chip):
        pass
    if (chip, number) in taken:
        raise OSError(errno.EBUSY, "Device or resource busy")
    taken.add((chip, number))
    return Request(chip, number, settings)
"""


def plugged_in(folder: Path) -> Path:
    """A folder for PYTHONPATH."""
    folder.mkdir()
    (folder / "gpiod.py").write_text(MODULE)
    return folder
