# SPDX-License-Identifier: Apache-2.0
"""Intel HEX: bytes with addresses, as most tool chains write them.

Guards: every record's length and checksum, and an end record; two records that write the same address are refused.
"""

from __future__ import annotations

from typing import NoReturn

from assay.errors import NotVerified

FILE_BYTES_MAX = 256 * 1024 * 1024
_DATA, _END, _SEGMENT, _START_SEGMENT, _LINEAR, _START_LINEAR = range(6)
_LENGTHS = {_END: 0, _SEGMENT: 2, _START_SEGMENT: 4, _LINEAR: 2, _START_LINEAR: 4}


def read_intel_hex(raw: bytes) -> tuple[tuple[int, bytes], ...]:
    """(address, bytes) of each range without a gap, by address. Raises `NotVerified`."""
    base, ended = 0, False
    pieces: list[tuple[int, bytes]] = []
    for number, line in enumerate(raw.splitlines(), 1):
        if not line.strip():
            continue
        if ended:
            _refuse(number, "goes on behind its end record")
        offset, kind, data = _record(line.strip(), number)
        if kind == _DATA and data:
            pieces.append((base + offset, data))
        elif kind == _END:
            ended = True
        elif kind in (_SEGMENT, _LINEAR):
            base = int.from_bytes(data, "big") << (4 if kind == _SEGMENT else 16)
    if not ended or not pieces:
        _refuse(0, "has no end record" if pieces else "writes nothing")
    return _joined(pieces)


def _record(line: bytes, number: int) -> tuple[int, int, bytes]:
    try:
        raw = bytes.fromhex(line[1:].decode("ascii")) if line.startswith(b":") else b""
    except ValueError:
        raw = b""
    if len(raw) < 5 or len(raw) != raw[0] + 5 or sum(raw) & 0xFF:
        _refuse(number, "is no record with the right length and checksum")
    kind, data = raw[3], raw[4:-1]
    if kind != _DATA and _LENGTHS.get(kind) != len(data):
        _refuse(number, f"is a record of unknown type {kind}")
    return int.from_bytes(raw[1:3], "big"), kind, data


def _joined(pieces: list[tuple[int, bytes]]) -> tuple[tuple[int, bytes], ...]:
    joined: list[tuple[int, bytearray]] = []
    for address, data in sorted(pieces):
        end = joined[-1][0] + len(joined[-1][1]) if joined else -1
        if address < end:
            _refuse(0, f"writes to {address:#x} twice")
        if address == end:
            joined[-1][1].extend(data)
        else:
            joined.append((address, bytearray(data)))
    return tuple((address, bytes(data)) for address, data in joined)


def _refuse(number: int, why: str) -> NoReturn:
    where = f"line {number} " if number else "it "
    raise NotVerified(f"not a whole Intel HEX file: {where}{why}", remedy="get the file again, or build it again")
