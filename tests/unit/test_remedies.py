# SPDX-License-Identifier: Apache-2.0
"""What a person is told to do next, where the first guess (a full disk) would be wrong."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from assay.cli.main import main
from assay.errors import NotRecorded, StorageError
from assay.pipeline.export import _write
from assay.pipeline.site import Site


def run(*words: str) -> Result:
    return CliRunner().invoke(main, words)


def test_a_journal_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "journal.sqlite").write_bytes(b"not a database, " * 100)
    with pytest.raises(NotRecorded) as caught, Site(tmp_path).journals.open_run("update", "x"):
        pass
    assert "the file is damaged" in caught.value.remedy and "disk" not in caught.value.remedy


def test_a_page_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError) as caught:
        _write(tmp_path / "file" / "page.html", b"")
    assert "name a file in a folder" in caught.value.remedy


def test_a_trust_file_that_was_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASSAY_TRUST", raising=False)
    done = subprocess.run([sys.executable, "-m", "assay", "trace", "X"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "Missing option '--trust'. Give it, or set ASSAY_TRUST" in done.stderr


def test_keys_that_were_lost_are_not_made_anew(tmp_path: Path) -> None:
    site = tmp_path / "site"
    assert run("keys", "init", "--site", str(site)).exit_code == 0
    shutil.rmtree(site / "keys")
    result = run("keys", "init", "--site", str(site))
    assert result.exit_code == 3 and "restore the folder of keys" in result.stderr
    assert not (site / "keys" / "keys.toml").exists()


def test_a_damaged_twin_does_not_hide_the_others(tmp_path: Path) -> None:
    folder = tmp_path / "twins" / "broken"
    folder.mkdir(parents=True)
    (folder / "twin.json").write_text("{")
    result = run("twin", "list", "--site", str(tmp_path))
    assert result.exit_code == 0 and "broken  DAMAGED: " in result.stdout
    data = json.loads(run("twin", "list", "--site", str(tmp_path), "--json").stdout)
    assert data["twins"][0]["name"] == "broken" and data["twins"][0]["fault"]
