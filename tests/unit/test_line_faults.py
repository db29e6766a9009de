# SPDX-License-Identifier: Apache-2.0
"""What a bad cable does: the same bytes meet the same faults, in whatever pieces they come."""

from __future__ import annotations

import itertools
import json
import random
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.drivers.twin.line_faults import LineFaults, Piece
from assay.drivers.twin.serial_line import SerialLine
from assay.drivers.twin.wire_profile import KINDS, LineProfile, WireProfile, profile_of
from assay.errors import ManifestFault, UsageFault
from assay.pipeline.manifest_files import load_wire

BAD = LineProfile(damaged=0.01, lost=0.01, repeated=0.01, stall=0.005, disconnect=0.002)


def happened(faults: LineFaults, pieces: list[bytes]) -> list[tuple[bytes, str | None]]:
    """What comes out, cut only where something happens."""
    out: list[tuple[bytes, str | None]] = []
    rest = b""
    for data in pieces:
        for piece in faults.apply(data):
            rest += piece.data
            if piece.then:
                out.append((rest, piece.then))
                rest = b""
    return [*out, (rest, None)]


@given(st.lists(st.integers(1, 200), max_size=60), st.integers(0, 2**63 - 1))
def test_pieces_make_no_difference(sizes: list[int], seed: int) -> None:
    data = random.Random(7).randbytes(sum(sizes))
    cuts = [sum(sizes[:count]) for count in range(len(sizes) + 1)]
    pieces = [data[begin:end] for begin, end in itertools.pairwise(cuts)]
    whole, parts = LineFaults(BAD, seed, "to_host"), LineFaults(BAD, seed, "to_host")
    assert happened(whole, [data]) == happened(parts, pieces)
    assert whole.counts == parts.counts and whole.at == parts.at == len(data)


def test_another_seed_or_direction_is_another_cable() -> None:
    data = bytes(10_000)
    outs = {
        bytes(str(happened(LineFaults(BAD, seed, way), [data])), "ascii")
        for seed in (1, 2)
        for way in ("to_host", "to_device")
    }
    assert len(outs) == 4


def test_one_kind_can_be_taken_away_without_moving_the_others() -> None:
    data = bytes(20_000)
    both = LineFaults(LineProfile(damaged=0.001, stall=0.001), 3, "to_host")
    alone = LineFaults(LineProfile(stall=0.001), 3, "to_host")
    stalls = [len(piece.data) for piece in both.apply(data)]
    assert stalls == [len(piece.data) for piece in alone.apply(data)] and len(stalls) > 10


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [1e-4, 0.01, 0.5])
def test_the_share_is_that_which_was_asked_for(kind: str, share: float) -> None:
    size = int(1000 / share)
    faults = LineFaults(LineProfile(**{kind: share}), 1, "to_host")
    faults.apply(bytes(size))
    assert faults.counts[kind] == pytest.approx(share * size, rel=0.12)


def test_a_clean_line_changes_nothing() -> None:
    faults = LineFaults(LineProfile(), 1, "to_host")
    assert faults.apply(b"abc") == [Piece(b"abc")] and not faults.counts and LineProfile().clean and not BAD.clean


def test_faults_at_named_bytes() -> None:
    listed = ((2, "lost"), (4, "damaged"), (6, "repeated"), (8, "stall"), (9, "disconnect"), (0, "repeated"))
    faults = LineFaults(LineProfile(listed=listed), 1, "to_host")
    first, stalled, gone = faults.apply(b"0123456789")
    assert (stalled.then, gone.then, first.then) == ("disconnect", None, "stall")
    assert first.data[:4] == b"0013" and first.data[4] != ord("4") and first.data[5:] == b"5667"
    assert (stalled.data, gone.data) == (b"8", b"9")
    assert faults.counts == dict.fromkeys(KINDS, 1) | {"repeated": 2}


def test_latency_and_pauses() -> None:
    line = SerialLine(9600, latency_s=0.5)
    byte_s = 10 / 9600
    line.put(b"ab", 10.0)
    assert line.due(10.5 + 1.5 * byte_s) == b"a" and line.due(10.5 + 2.5 * byte_s) == b"ab"
    line.pause(2.0, 10.0)
    line.put(b"c", 10.0)
    assert line.wait_s(10.0, 0.001) == pytest.approx(0.5 + 0.0, abs=3 * byte_s)
    line.taken(len(line.due(11.0)))
    assert line.due(12.4) == b"" and line.wait_s(11.0, 0.001) == pytest.approx(1.5, abs=4 * byte_s)
    assert line.due(12.6) == b"c"


def test_latency_without_a_rate() -> None:
    line = SerialLine(None, latency_s=0.1)
    line.put(b"a", 1.0)
    line.put(b"b", 1.05)
    assert line.due(1.09) == b"" and line.due(1.12) == b"a" and line.due(1.2) == b"ab"


WIRE = """
schema = "assay.wire/1"
seed = 7
baud = 115200
latency_ms = 2.5

[to_device]
damaged = 1e-4
stall = 1e-5
stall_ms = 300.0

[[fault]]
direction = "to_host"
at = 1000
kind = "disconnect"
"""


def test_a_wire_as_a_file(tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(WIRE)
    profile = profile_of(load_wire(file))
    assert (profile.seed, profile.baud, profile.latency_s) == (7, 115200, 0.0025)
    assert (profile.to_device.damaged, profile.to_device.stall_s) == (1e-4, 0.3)
    assert profile.to_host.listed == ((1000, "disconnect"),)
    assert WireProfile.from_json(json.loads(json.dumps(profile.as_json()))) == profile


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("damagd = 0.1", "did you mean 'damaged'"),
        ("lost = 2.0", "0.5"),
        ("stall_ms = -1.0", "greater than 0"),
        ('lost = "a"', "number"),
    ],
)
def test_a_wire_that_is_wrong_names_the_line(tmp_path: Path, line: str, word: str) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(f'schema = "assay.wire/1"\n[to_host]\n{line}\n')
    with pytest.raises(ManifestFault, match=word) as caught:
        load_wire(file)
    assert ":3" in str(caught.value) or caught.value.line == 3


def test_what_no_wire_can_be() -> None:
    assert tomllib.loads(WIRE)["seed"] == 7
    for bad in (
        {"latency_s": -1}, {"latency_s": "x"}, {"seed": "x"}, {"to_host": {"lost": 2}}, {"to_host": {"lost": "x"}},
        {"to_host": 3}, {"to_device": {"listed": [[1]]}}, {"to_device": {"listed": [[1, "flood"]]}},
        {"to_device": {"listed": [[-1, "lost"]]}}, {"to_host": {"stall_s": 1e9}}, {"to_host": {"lost": None}},
    ):  # fmt: skip
        with pytest.raises(UsageFault):
            WireProfile.from_json(bad)
