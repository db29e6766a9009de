# SPDX-License-Identifier: Apache-2.0
"""A flash tool as a program: what it is told, what is kept of its words, and its end."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from assay.drivers.flash.tool_program import LINE_BYTES_MAX, READ_BYTES, ToolProgram
from assay.errors import DeviceTimeout

MUCH = bytes(1 << 20)
"""More than a pipe holds."""


def shell(folder: Path) -> ToolProgram:
    return ToolProgram("sh", "apt-get install dash", folder)


def test_a_tool_reads_what_it_is_told(tmp_path: Path) -> None:
    said = shell(tmp_path).run(["-c", "wc -c"], doing="count", limit_s=30, stdin=MUCH)
    assert (said.status, said.lines[0].strip()) == (0, str(len(MUCH)))


def test_a_tool_that_ends_before_it_was_told_all_has_its_words_heard(tmp_path: Path) -> None:
    said = shell(tmp_path).run(["-c", "echo I cannot start; exit 7"], doing="start", limit_s=30, stdin=MUCH)
    assert (said.status, said.last_words) == (7, "I cannot start")


@pytest.mark.timeout(60)
def test_a_tool_that_never_reads_is_ended_by_its_limit(tmp_path: Path) -> None:
    began_s = time.monotonic()
    with pytest.raises(DeviceTimeout, match="did not end within 1 s while it was to listen"):
        shell(tmp_path).run(["-c", "sleep 300"], doing="listen", limit_s=1, stdin=MUCH)
    assert time.monotonic() - began_s < 30


def test_no_words_are_written_over_when_other_files_of_the_folder_go(tmp_path: Path) -> None:
    tool, others = shell(tmp_path), [tmp_path / "a.back", tmp_path / "b.back"]
    for word in ("one", "two", "three", "four"):
        tool.run(["-c", f"echo {word}"], doing="speak", limit_s=30)
        for other in others if word == "one" else ():
            other.touch()
        for other in others if word == "two" else ():
            other.unlink()
    kept = [file.read_text().splitlines()[1] for file in sorted(tmp_path.glob("*.txt"))]
    assert kept == ["one", "two", "three", "four"]


def test_a_line_without_an_end_costs_no_more_than_others(tmp_path: Path) -> None:
    """All of it would be looked through again with each piece that is read, and kept in memory."""
    lines: list[str] = []
    command = f"head -c {10 * LINE_BYTES_MAX} /dev/zero | tr '\\0' x"
    shell(tmp_path).run(["-c", command], doing="speak", limit_s=30, on_line=lines.append)
    assert sum(map(len, lines)) == 10 * LINE_BYTES_MAX
    assert max(map(len, lines)) <= LINE_BYTES_MAX + READ_BYTES
