# SPDX-License-Identifier: Apache-2.0
"""`assay trace --export` and `assay verify`: a history in one file, elsewhere, with nothing but a trust file."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from made_site import OTHER, SERIAL, MadeSite, finished_site

from assay.cli.trace import command as trace_command
from assay.cli.verify import command as verify_command
from assay.formats import canonical_tar, trace_archive
from assay.model.trace import Dossier
from assay.pipeline.trace_collect import SiteReading

FLIPS = 150 * int(os.environ.get("ASSAY_FLIPS", "1"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a site, a trust file and an export."""
    folder = tmp_path_factory.mktemp("whole")
    finished_site(folder / ".assay").write_trust(folder / "trust.toml", allow_development=True, allow_emulated=True)
    assert export(folder, folder / "unit.assay").exit_code == 0
    return folder


@pytest.fixture
def empty(whole: Path, tmp_path: Path) -> Path:
    """A folder with the export and the trust file, and nothing else."""
    for name in ("unit.assay", "trust.toml"):
        shutil.copy(whole / name, tmp_path)
    return tmp_path


def export(folder: Path, out: Path, *arguments: str) -> Result:
    options = ["--site", str(folder / ".assay"), "--trust", str(folder / "trust.toml"), "--export", str(out)]
    return CliRunner().invoke(trace_command, [SERIAL, *options, *arguments])


def verify(folder: Path, *arguments: str, file: str = "unit.assay") -> Result:
    return CliRunner().invoke(verify_command, [str(folder / file), "--trust", str(folder / "trust.toml"), *arguments])


def broken(folder: Path) -> dict[str, str]:
    result = verify(folder, "--json")
    assert result.exit_code == 4, result.output
    return {item["link"]: "; ".join(item["faults"]) for item in json.loads(result.stdout)["broken"]}


def rewrite(folder: Path, **changes: object) -> Dossier:
    """Put another dossier, well written, into the export's place."""
    path = folder / "unit.assay"
    dossier = replace(trace_archive.decode(path.read_bytes()), **changes)  # type: ignore[arg-type]
    path.write_bytes(trace_archive.encode(dossier))
    return dossier


def test_it_shows_the_tree_that_the_site_shows(whole: Path, empty: Path) -> None:
    at_home = CliRunner().invoke(
        trace_command,
        [SERIAL, "--site", str(whole / ".assay"), "--trust", str(whole / "trust.toml"), "--unit-only", "--json"],
    )
    elsewhere = verify(empty, "--json")
    assert elsewhere.exit_code == 0, elsewhere.output
    home, away = json.loads(at_home.stdout)["trace"], json.loads(elsewhere.stdout)["trace"]
    assert away["root"] == home["root"]
    assert (home["source"], away["source"]) == ("site", "export")


def test_in_an_empty_folder_without_a_network(empty: Path) -> None:
    """A process of its own, from there, in a network namespace with nothing in it, where one can be made."""
    arguments = [sys.executable, "-m", "assay", "verify", "unit.assay", "--trust", "trust.toml"]
    unshare = ["unshare", "--net", "--map-root-user"]
    if shutil.which("unshare") and subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode == 0:
        arguments = [*unshare, *arguments]
    environment = {"PATH": os.environ["PATH"], "HOME": str(empty), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(arguments, cwd=empty, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "VERIFIED: " in done.stdout and "#19 Evidence" in done.stdout
    assert sorted(path.name for path in empty.iterdir()) == ["trust.toml", "unit.assay"]


def test_the_same_history_gives_the_same_bytes(whole: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(whole, copy)
    for path in (copy / ".assay").rglob("*"):
        os.utime(path, (0, 0))
    assert export(copy, tmp_path / "again.assay").exit_code == 0
    assert (tmp_path / "again.assay").read_bytes() == (whole / "unit.assay").read_bytes()


def test_there_is_no_trust_and_no_key_in_it(whole: Path) -> None:
    data = (whole / "unit.assay").read_bytes()
    assert b"BEGIN" not in data and b"PRIVATE" not in data and b"allow_development" not in data
    with tarfile.open(whole / "unit.assay", "r:") as tar:
        assert {name.split("/")[0] for name in tar.getnames()} == {"index.json", "log", "records", "files"}


def test_any_changed_byte(empty: Path) -> None:
    path = empty / "unit.assay"
    data, dice = path.read_bytes(), random.Random(7)
    headers = [offset for offset in range(0, len(data), 512) if data[offset + 257 : offset + 262] == b"ustar"]
    places = [dice.choice(headers) + dice.randrange(512) for _ in range(FLIPS // 3)]
    places += [dice.randrange(len(data)) for _ in range(FLIPS)] + [len(data) - 1]
    for place in places:
        damaged = bytearray(data)
        damaged[place] ^= 1 << dice.randrange(8)
        path.write_bytes(bytes(damaged))
        result = verify(empty, "--json")
        assert result.exit_code in (2, 4), f"byte {place}: {result.output}"
        # Status 2 only where the damage hides what kind of file it is at all.
        assert result.exit_code == 4 or 257 <= place < 262, f"byte {place}: {result.output}"


@pytest.mark.parametrize("end", [b"x", bytes(512), bytes(1024)])
def test_bytes_behind_the_end(empty: Path, end: bytes) -> None:
    path = empty / "unit.assay"
    path.write_bytes(path.read_bytes() + end)
    assert verify(empty).exit_code == 4


def test_a_record_that_was_left_out(empty: Path) -> None:
    """The bad update: all that is left verifies, but the log's entries say that there is another one."""
    records = trace_archive.decode((empty / "unit.assay").read_bytes()).records
    rewrite(empty, records=tuple(record for record in records if record.index != 18))
    found = broken(empty)
    assert "entry 18 is about DEMO-000001, and its record is not here" in found["log"]


def test_a_record_of_another_unit_in_it(whole: Path, empty: Path) -> None:
    theirs = SiteReading(whole / ".assay").dossier(OTHER).records
    records = trace_archive.decode((empty / "unit.assay").read_bytes()).records
    added = next(record for record in theirs if record.index == 14)
    rewrite(empty, records=tuple(sorted((*records, added), key=lambda record: record.index or 0)))
    assert "records/00000014-provisioning" in broken(empty)


def test_a_record_spelled_otherwise(empty: Path) -> None:
    """What is signed is the same, but the log has the digest of the file."""
    records = trace_archive.decode((empty / "unit.assay").read_bytes()).records
    first = replace(records[0], bundle=json.dumps(json.loads(records[0].bundle or b""), indent=1).encode())
    rewrite(empty, records=(first, *records[1:]))
    assert "the record's file was changed" in broken(empty)["releases/demo-boot@1.0.0/build"]


def test_a_record_twice(empty: Path) -> None:
    path = empty / "unit.assay"
    members = canonical_tar.decode(path.read_bytes())
    index = json.loads(members["index.json"])
    index["records"].append(index["records"][-1])
    members["index.json"] = json.dumps(index, separators=(",", ":"), sort_keys=True).encode()
    path.write_bytes(canonical_tar.encode(members))
    assert verify(empty).exit_code == 4


def test_records_in_another_order(empty: Path) -> None:
    records = trace_archive.decode((empty / "unit.assay").read_bytes()).records
    rewrite(empty, records=tuple(reversed(records)))
    assert verify(empty).exit_code == 4


def test_a_file_that_no_record_names(empty: Path) -> None:
    data = b"hello"
    digest = hashlib.sha256(data).hexdigest()
    files = trace_archive.decode((empty / "unit.assay").read_bytes()).files
    rewrite(empty, files={**files, digest: data})
    assert f"no record of the unit leads to the file {digest}" in broken(empty)["files"]


def test_a_proof_that_nothing_needs(empty: Path) -> None:
    consistency = trace_archive.decode((empty / "unit.assay").read_bytes()).consistency
    rewrite(empty, consistency={**consistency, 3: ()})
    assert "that no record needs" in broken(empty)["files"]


def test_another_serial_number_on_it(empty: Path) -> None:
    rewrite(empty, serial="DEMO-000009")
    assert verify(empty).exit_code == 4


def test_an_older_checkpoint(whole: Path, empty: Path, tmp_path: Path) -> None:
    """A checkpoint that the log really had, from a record: the entries do not fit it."""
    from assay.pipeline.trace_record import payload_of

    records = trace_archive.decode((empty / "unit.assay").read_bytes()).records
    older = json.loads(payload_of(records[-1].bundle) or b"")["predicate"]["run"]["checkpoint"]
    rewrite(empty, checkpoint=older.encode())
    assert "do not give the root" in broken(empty)["log"]


def test_other_units_can_be_hidden(whole: Path, tmp_path: Path) -> None:
    shutil.copy(whole / "trust.toml", tmp_path)
    assert export(whole, tmp_path / "unit.assay", "--hide-others").exit_code == 0
    assert OTHER.encode() in (whole / "unit.assay").read_bytes()
    assert OTHER.encode() not in (tmp_path / "unit.assay").read_bytes()
    shown = verify(tmp_path)
    assert shown.exit_code == 0
    assert "that no record was left out is not shown" in " ".join(shown.stdout.split())


def test_a_broken_history_is_not_exported(whole: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(whole, copy)
    path = next((copy / ".assay/attachments").iterdir())
    path.write_bytes(path.read_bytes() + b" ")
    out = tmp_path / "new.assay"
    result = export(copy, out)
    assert result.exit_code == 4 and "not exported" in result.stdout and not out.exists()


@pytest.mark.parametrize("out", ["folder", "folder/file/below"])
def test_a_place_where_no_file_can_be(whole: Path, tmp_path: Path, out: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_text("x")
    result = export(whole, tmp_path / out)
    assert result.exit_code in (2, 3) and "Traceback" not in result.output


def test_a_trust_file_that_allows_less(whole: Path, empty: Path) -> None:
    MadeSite(whole / ".assay").write_trust(empty / "trust.toml")
    result = verify(empty)
    assert result.exit_code == 4 and "UNSAFE-DEVELOPMENT" in result.stdout


def test_a_page_of_an_export(empty: Path) -> None:
    assert verify(empty, "--html", str(empty / "page.html")).exit_code == 0
    assert "links verified" in (empty / "page.html").read_text()


def test_a_file_that_is_not_there(empty: Path) -> None:
    assert verify(empty, file="nothing").exit_code == 2


@pytest.mark.parametrize("data", [b"", b"hello", b"PK\x03\x04", bytes(4096)])
def test_a_file_of_another_kind(empty: Path, data: bytes) -> None:
    (empty / "other").write_bytes(data)
    result = verify(empty, file="other")
    assert result.exit_code == 4 and "neither an export" in result.stderr
