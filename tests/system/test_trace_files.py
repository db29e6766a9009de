# SPDX-License-Identifier: Apache-2.0
"""Files that `assay trace` and `assay verify` write: in the place of their own kind, and of nothing else."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from traced_site import run

from assay.cli.verify import command as verify_command


@pytest.mark.parametrize("option", ["--html", "--export"])
def test_a_file_of_its_own_kind_is_written_again(finished: Path, tmp_path: Path, option: str) -> None:
    path = tmp_path / "out"
    path.touch()  # as mktemp leaves it
    for _ in range(2):
        assert run(finished, option, str(path)).exit_code == 0
        assert path.stat().st_size > 1000
    path.write_bytes(path.read_bytes().replace(b"DEMO-000001", b"DEMO-999999", 1))  # a page or export of something else
    assert run(finished, "--html", str(path)).exit_code == (0 if option == "--html" else 2)


@pytest.mark.parametrize("option", ["--html", "--export"])
@pytest.mark.parametrize("there", ["page", "text", "tar", "export", "report", "folder"])
def test_anything_else_is_left_alone(finished: Path, tmp_path: Path, option: str, there: str) -> None:
    path = tmp_path / "precious"
    if there == "page":
        path.write_text("<!DOCTYPE html>\n<html><title>Unit of measure</title></html>")
    elif there == "text":
        path.write_text("only copy")
    elif there == "tar":
        (tmp_path / "index.json").write_text("{}")
        with tarfile.open(path, "w") as archive:
            archive.add(tmp_path / "index.json", "index.json")
    elif there == "folder":
        path.mkdir()
    else:
        assert run(finished, "--export" if there == "export" else "--html", str(path)).exit_code == 0
    if (option, there) in (("--html", "report"), ("--export", "export")):
        return
    before = path.read_bytes() if path.is_file() else None
    other = tmp_path / "other"
    both = ["--export", str(other)] if option == "--html" else ["--html", str(other)]
    told = run(finished, option, str(path), *both)
    assert told.exit_code == 2, told.output
    assert str(path) in told.stderr
    assert not other.exists(), "nothing is done half"
    assert (path.read_bytes() if path.is_file() else None) == before


def test_the_page_of_an_export_does_not_replace_it(finished: Path, tmp_path: Path) -> None:
    export = tmp_path / "unit.assay"
    assert run(finished, "--export", str(export)).exit_code == 0
    kept = shutil.copy(export, tmp_path / "kept")
    told = CliRunner().invoke(
        verify_command, [str(export), "--trust", str(finished / "trust.toml"), "--html", str(export)]
    )
    assert told.exit_code == 2, told.output
    assert export.read_bytes() == Path(kept).read_bytes()
