# SPDX-License-Identifier: Apache-2.0
"""Units of measurement: the UCUM code that people write, and the UN/CEFACT Recommendation 20 code that reports carry.

Guards: a unit is one of this list, so that `ms` and `msec` never meet in one database. It is extended when a
test needs more.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

from assay.errors import UsageFault


@dataclass(frozen=True)
class UnitOfMeasure:
    """A unit: `ucum` code, English name, UN/CEFACT code, and the suffix for people."""

    ucum: str
    name: str
    code: str
    suffix: str


_UNITS = (
    UnitOfMeasure("1", "one", "C62", "1"),
    UnitOfMeasure("%", "percent", "P1", "pct"),
    UnitOfMeasure("ns", "nanosecond", "C47", "ns"),
    UnitOfMeasure("us", "microsecond", "B98", "µs"),
    UnitOfMeasure("ms", "millisecond", "C26", "ms"),
    UnitOfMeasure("s", "second [unit of time]", "SEC", "s"),
    UnitOfMeasure("min", "minute [unit of time]", "MIN", "min"),
    UnitOfMeasure("Hz", "hertz", "HTZ", "Hz"),
    UnitOfMeasure("kHz", "kilohertz", "KHZ", "kHz"),
    UnitOfMeasure("MHz", "megahertz", "MHZ", "MHz"),
    UnitOfMeasure("GHz", "gigahertz", "A86", "GHz"),
    UnitOfMeasure("uV", "microvolt", "D82", "µV"),
    UnitOfMeasure("mV", "millivolt", "2Z", "mV"),
    UnitOfMeasure("V", "volt", "VLT", "V"),
    UnitOfMeasure("uA", "microampere", "B84", "µA"),
    UnitOfMeasure("mA", "milliampere", "4K", "mA"),
    UnitOfMeasure("A", "ampere", "AMP", "A"),
    UnitOfMeasure("mW", "milliwatt", "C31", "mW"),
    UnitOfMeasure("W", "watt", "WTT", "W"),
    UnitOfMeasure("Ohm", "ohm", "OHM", "\u2126"),
    UnitOfMeasure("kOhm", "kiloohm", "B49", "k\u2126"),
    UnitOfMeasure("MOhm", "megaohm", "B75", "M\u2126"),
    UnitOfMeasure("pF", "picofarad", "4T", "pF"),
    UnitOfMeasure("nF", "nanofarad", "C41", "nF"),
    UnitOfMeasure("uF", "microfarad", "4O", "µF"),
    UnitOfMeasure("Cel", "degree Celsius", "CEL", "°C"),
    UnitOfMeasure("K", "kelvin", "KEL", "K"),
    UnitOfMeasure("dB", "decibel", "2N", "dB"),
    UnitOfMeasure("dB[mW]", "Decibel-milliwatts", "DBM", "dBm"),
    UnitOfMeasure("Pa", "pascal", "PAL", "Pa"),
    UnitOfMeasure("kPa", "kilopascal", "KPA", "kPa"),
    UnitOfMeasure("mbar", "millibar", "MBR", "mbar"),
    UnitOfMeasure("mm", "millimetre", "MMT", "mm"),
    UnitOfMeasure("m", "metre", "MTR", "m"),
    UnitOfMeasure("g", "gram", "GRM", "g"),
    UnitOfMeasure("kg", "kilogram", "KGM", "kg"),
    UnitOfMeasure("lx", "lux", "LUX", "lx"),
    UnitOfMeasure("bit", "bit", "A99", "bit"),
    UnitOfMeasure("By", "byte", "AD", "byte"),
    UnitOfMeasure("kBy", "kilobyte", "2P", "kbyte"),
    UnitOfMeasure("KiBy", "kibibyte", "E64", "Kibyte"),
    UnitOfMeasure("bit/s", "bit per second", "B10", "bit/s"),
    UnitOfMeasure("By/s", "byte per second", "P93", "byte/s"),
    UnitOfMeasure("kBy/s", "kilobyte per second", "P94", "kbyte/s"),
    UnitOfMeasure("Bd", "baud", "J38", "Bd"),
)

UNITS: dict[str, UnitOfMeasure] = {unit.ucum: unit for unit in _UNITS}
"""By UCUM code."""


def unit_of_measure(ucum: str) -> UnitOfMeasure:
    """The unit with that UCUM code; `UsageFault` names those that look like it."""
    unit = UNITS.get(ucum)
    if unit is None:
        near = get_close_matches(ucum, UNITS, n=3, cutoff=0.3)
        remedy = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(UNITS)}"
        raise UsageFault(f"{ucum!r} is not a known UCUM unit", remedy=remedy)
    return unit
