# SPDX-License-Identifier: Apache-2.0
"""`assay sbom`: bills of boards, what differs, and CycloneDX's own valid and invalid files."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from published_release import Published
from tiny_build import ROOT

from assay.cli.sbom import command
from assay.errors import NotVerified
from assay.formats.cyclonedx_device import DeviceFirmware, device_json
from assay.formats.cyclonedx_parts import parts_of
from assay.pipeline.bill_schema import schema_faults
from assay.pipeline.manifest_files import load_board

FOLDER = ROOT / ".nox" / "cyclonedx-files"
"""Where `nox -s tests` fetches the source of cyclonedx-python-lib to: it has the standard's own test files."""
LEAST = {"1.2": (20, 19), "1.3": (25, 22), "1.4": (28, 22), "1.5": (35, 22), "1.6": (44, 25), "1.7": (60, 29)}
"""How many valid and invalid files there are of each version, at least."""


def test_the_bill_of_a_board_is_valid_and_names_its_firmware(published: Published) -> None:
    board = load_board(ROOT / "boards" / "ast1030-evb.toml")
    firmware = DeviceFirmware("tiny", "1.0.0", "app", "a" * 64, "6b0c1f5e-0d5b-5c39-9d0c-2f4f5d1b7a10/1")
    data = device_json(board, [firmware])
    assert data == device_json(board, [firmware])
    assert schema_faults(data) == ("1.6", [])
    document = json.loads(data)
    assert document["metadata"]["component"]["type"] == "device"
    assert {part["name"]: part["type"] for part in document["components"]}.items() >= {
        ("tiny", "firmware"), ("uart", "device"), ("spi-nor", "device")}  # fmt: skip
    assert schema_faults(device_json(load_board(ROOT / "boards" / "rv32-virt.toml"), [])) == ("1.6", [])


def run(site: Path, *arguments: str, status: int = 0) -> dict[str, object]:
    result = CliRunner().invoke(command, [*arguments, "--json", "--site", str(site)])
    assert result.exit_code == status, result.output
    found: dict[str, object] = json.loads(result.stdout)
    return found


def test_the_verbs(published: Published, tmp_path: Path) -> None:
    site, out = published.site.folder, tmp_path / "board.cdx.json"
    run(site, "device", "ast1030-evb", "--release", "tiny@1.0.0", "--out", str(out))
    assert run(site, "validate", str(out))["valid"] is True
    assert run(site, "validate", "tiny@1.0.0")["version"] == "1.6"
    document = json.loads(out.read_text())
    document["components"][0]["type"] = "nonsense"
    (tmp_path / "bad.json").write_text(json.dumps(document))
    assert run(site, "validate", str(tmp_path / "bad.json"), status=1)["faults"]
    document["components"][0] |= {"type": "device", "version": "9"}
    document["components"].append({"type": "library", "name": "new", "version": "1"})
    (tmp_path / "next.json").write_text(json.dumps(document))
    found = run(site, "diff", str(out), str(tmp_path / "next.json"))
    assert found["added"] == ["new@1"]
    assert found["removed"] == []
    assert [(row["old"], row["new"]) for row in found["changed"]] == [("no version", "9")]  # type: ignore[attr-defined]
    assert run(site, "diff", "tiny@1.0.0", "tiny@1.0.0")["changed"] == []
    letter = tmp_path / "letter"
    letter.write_text("dear all")
    run(site, "device", "ast1030-evb", "--out", str(letter), status=2)
    run(site, "validate", str(letter), status=4)
    run(site, "diff", "tiny@9.9.9", "tiny@1.0.0", status=2)


def official(version: str) -> dict[str, bytes]:
    archives = sorted(FOLDER.glob("cyclonedx*.tar.gz"))
    if not archives:
        return {}
    with tarfile.open(archives[0]) as tar:
        return {
            Path(member.name).name: tar.extractfile(member).read()  # type: ignore[union-attr]
            for member in tar
            if f"/schemaTestData/{version}/" in member.name and member.name.endswith(".json")
        }


@pytest.mark.parametrize("version", sorted(LEAST))
def test_cyclonedx_own_files(version: str) -> None:
    """The standard's valid files are valid here and are read; its invalid ones are not valid."""
    files = official(version)
    if not files:
        lacking = f"CycloneDX's files are not in {FOLDER} (nox -s tests fetches them)"
        (pytest.fail if "CI" in os.environ else pytest.skip)(lacking)
    told = dict(_wrong(files))
    assert told == {}
    valid, invalid = (sum(name.startswith(kind) for name in files) for kind in ("valid-", "invalid-"))
    assert (valid >= LEAST[version][0], invalid >= LEAST[version][1]) == (True, True), (valid, invalid)


def _wrong(files: dict[str, bytes]) -> Iterator[tuple[str, str]]:
    for name, data in sorted(files.items()):
        try:
            faults = schema_faults(data)[1]
        except NotVerified as error:
            faults = [error.message]
        if name.startswith("valid-"):
            if faults:
                yield name, faults[0]
            else:
                parts_of(json.loads(data))
        elif not faults:
            yield name, "is invalid, and no fault was found"
