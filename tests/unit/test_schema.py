# SPDX-License-Identifier: Apache-2.0
"""The exported JSON Schemas agree with the models that read the files."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest
from click.testing import CliRunner

from assay.cli.schema import NAMES, command
from assay.stages.manifest.schema_export import MANIFESTS, schema_text

ROOT = Path(__file__).parents[2]
FILES = {
    "board": sorted((ROOT / "boards").glob("*.toml")),
    "module": sorted([*(ROOT / "firmware").glob("*/module.toml"), ROOT / "firmware" / "app" / "raised.toml"]),
    "pipeline": sorted((ROOT / "pipelines").glob("*.toml")),
    "product": [ROOT / "product.toml"],
    "profile": sorted((ROOT / "provisioning").glob("*.toml")),
}


def test_the_verb_knows_every_manifest() -> None:
    assert set(NAMES) == set(MANIFESTS)


@pytest.mark.parametrize(
    ("name", "path"),
    [(name, path) for name, paths in FILES.items() for path in paths],
    ids=lambda part: str(part)[-40:],
)
def test_our_own_files_satisfy_their_schema(name: str, path: Path) -> None:
    jsonschema.Draft202012Validator(json.loads(schema_text(name))).validate(tomllib.loads(path.read_text()))


@pytest.mark.parametrize("name", NAMES)
def test_each_schema_is_valid_and_closed(name: str) -> None:
    schema = json.loads(schema_text(name))
    jsonschema.Draft202012Validator.check_schema(schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate({"schema": f"assay.{name}/1", "unknown": 1})


def test_units_reach_the_editor() -> None:
    assert json.loads(schema_text("board"))["$defs"]["Area"]["properties"]["size"]["description"] == "bytes"


def test_the_verb_writes_files_and_one_json_document(tmp_path: Path) -> None:
    answer = CliRunner().invoke(command, ["--out", str(tmp_path / "schemas"), "--json"])
    assert answer.exit_code == 0
    files = [Path(file) for file in json.loads(answer.stdout)["files"]]
    assert [file.name for file in files] == [f"{name}.schema.json" for name in NAMES]
    assert files[0].read_text() == schema_text("bench")
    one = CliRunner().invoke(command, ["board"])
    assert one.stdout == schema_text("board")


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    answer = CliRunner().invoke(command, ["--out", str(tmp_path / "file" / "deeper")])
    assert (answer.exit_code, "name another folder" in answer.stderr) == (3, True)


@pytest.mark.parametrize("name", NAMES)
def test_the_schemas_in_the_repository_are_those_of_the_models(name: str) -> None:
    path = ROOT / "schemas" / f"{name}.schema.json"
    assert path.read_text() == schema_text(name), "run: assay schema --out schemas"
