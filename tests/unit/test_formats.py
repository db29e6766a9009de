# SPDX-License-Identifier: Apache-2.0
"""Every format has a version; files of every version that there was are read; no model changes without saying so."""

from __future__ import annotations

import json
import lzma
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from format_shapes import FOLDER, kept, main, present, why_not
from pydantic import Field

from assay.backends.repository.floor import Floor
from assay.errors import ManifestFault, NotVerified
from assay.formats import strict_json
from assay.formats.statement_verifier import read_statement
from assay.formats.toml_document import TomlDocument
from assay.model.artifact import Artifact
from assay.model.board import Board
from assay.model.module import Module
from assay.model.statement import PredicateType
from assay.model.upgrades import UPGRADES, schema_of, steps_to, too_new, upgrade
from assay.model.value import Value
from assay.pipeline import format_table
from assay.pipeline.artifact_folder import read_artifact
from assay.pipeline.format_table import Format, formats, shape_of
from assay.pipeline.manifest_files import load_board, load_module
from assay.pipeline.offline_verify import verify_export
from assay.pipeline.release_gate import verify_release
from assay.pipeline.trace_record import read_predicate
from assay.pipeline.trust_file import load_trust
from assay.stages.manifest.read import read_manifest

ROOT = Path(__file__).parents[2]
EVERY = formats()
WANTED = [(each, version) for each in EVERY for version in each.versions]


def file_of(each: Format, version: int) -> Path:
    stem = each.name.replace("urn:assay:predicate:", "predicate.")
    return next(iter(sorted(FOLDER.glob(f"{stem}.{version}*"))), FOLDER / f"{stem}.{version}.missing")


def read_file(each: Format, path: Path) -> None:
    """As the reader of the format reads it."""
    if each.kind == "manifest" and path.suffix == ".toml":
        model = each.models[("foreign" in path.name) + 2 * ("plain" in path.name)]
        assert read_manifest(path.read_bytes(), str(path), model)
    elif each.kind == "statement":
        statement = read_statement(path.read_bytes())
        assert statement.predicateType == f"{each.name}:v{path.name.split('.')[-2]}"
        assert not each.models or read_predicate(each.models[0], statement.predicate)
    elif each.name == "assay.tuf-floor":
        assert Floor(path).read()
    elif path.suffix == ".json":
        document = strict_json.loads_object(path.read_bytes(), str(path))
        assert document["schema"] == f"{each.name}/{path.name.split('.')[-2]}"
        if each.models:
            assert each.models[0].model_validate_json(json.dumps(document))


@pytest.mark.parametrize(("each", "version"), WANTED, ids=lambda part: getattr(part, "name", str(part)))
def test_a_file_of_every_version_is_kept_and_read(each: Format, version: int) -> None:
    path = file_of(each, version)
    assert path.exists(), f"keep a file of {each.name}, version {version}, as {path.stem}"
    read_file(each, path)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("assay.board.1*.toml")), ids=lambda path: path.name)
def test_boards_of_every_kind_are_read(path: Path) -> None:
    read_file(next(each for each in EVERY if each.name == "assay.board"), path)


def test_what_was_signed_before_verifies_byte_for_byte() -> None:
    """A release whose artifact is of the first version: the gate derives its provenance again and compares it."""
    from assay.backends.stores.oci_layout import OciLayoutStore

    trust = load_trust(FOLDER / "assay.release.1.trust.toml")
    board = load_board(ROOT / "boards" / "ast1030-evb.toml")
    image = verify_release(OciLayoutStore(FOLDER / "assay.release.1"), trust, "tiny", "1.0.0", board)
    assert image.release.artifact.schema_ == "assay.artifact/1"
    assert image.release.artifact.contract is None


def test_a_history_that_was_exported_before_verifies() -> None:
    raw = lzma.decompress((FOLDER / "assay.export.1.assay.xz").read_bytes())
    trace = verify_export(raw, load_trust(FOLDER / "assay.trust.1.toml"), "0" * 64)
    assert (trace.serial, trace.root.broken, trace.root.links) == ("DEMO-000001", (), 29)


def test_a_document_of_a_newer_version_is_not_half_understood(tmp_path: Path) -> None:
    document = json.loads((FOLDER / "assay.artifact.2.json").read_text())
    (tmp_path / "artifact.json").write_text(json.dumps(document | {"schema": "assay.artifact/3"}))
    with pytest.raises(NotVerified, match="is no artifact: schema"):
        read_artifact(tmp_path)


def test_every_schema_in_the_sources_is_in_the_table() -> None:
    found = {
        name
        for path in (ROOT / "src").rglob("*.py")
        for name in re.findall(r'"(assay\.[a-z-]+)/[0-9]+"', path.read_text())
    }
    assert found - {each.name for each in EVERY} == set()
    own = {kind.value.rpartition(":")[0] for kind in PredicateType if kind.value.startswith("urn:assay:")}
    assert own - {each.name for each in EVERY} == set()


@pytest.mark.parametrize(("name", "digest"), sorted(present().items()))
def test_no_model_changes_without_its_version(name: str, digest: str) -> None:
    assert why_not(name, digest, kept()) is None


class Small(Value):
    """A model for the tests of the shapes."""

    schema_: str = Field(default="assay.small/1", alias="schema")
    size: int = 0


def test_another_shape_is_noticed_and_other_words_are_not() -> None:
    class Documented(Small):
        """In other words."""

        size: int = Field(default=0, description="bytes")

    class Wider(Small):
        more: str = ""

    class Looser(Small):
        size: int | None = 0  # type: ignore[assignment]

    def shape(model: type[Value]) -> Any:
        return shape_of((model,))

    assert shape(Documented) == shape(Small)
    assert shape(Wider) != shape(Small) != shape(Looser)


def test_a_part_that_is_a_format_of_its_own_does_not_count_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    release = next(each for each in EVERY if each.name == "assay.release")
    assert '"format"' in json.dumps(shape_of(release.models))
    assert "buildsCompared" not in json.dumps(shape_of(release.models))
    assert "payload_size" not in json.dumps(shape_of(release.models))
    assert "payload_size" in json.dumps(shape_of((Artifact,)))


def test_a_frozen_version_cannot_be_accepted_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import format_shapes

    agreed = kept()
    name = "assay.module/2"
    agreed[name] = {"frozen": True, "shape_sha256": "0" * 64}
    (tmp_path / "versions.json").write_text(json.dumps(agreed))
    monkeypatch.setattr(format_shapes, "KEPT", tmp_path / "versions.json")
    assert main(["--accept", name]) == 1
    assert "give it a new version" in str(why_not(name, present()[name], kept()))
    agreed[name]["frozen"] = False
    (tmp_path / "versions.json").write_text(json.dumps(agreed))
    assert main(["--accept", name]) == 0
    assert why_not(name, present()[name], kept()) is None


@pytest.mark.parametrize("old", sorted(UPGRADES))
def test_every_step_leads_to_a_version_that_is_read(old: str) -> None:
    newest = {f"{each.name}/{each.newest}" for each in EVERY if each.kind == "manifest"}
    assert any(steps_to(old, each) for each in newest)


def test_an_older_file_with_a_newer_key_is_told_by_name(tmp_path: Path) -> None:
    text = (FOLDER / "assay.module.1.toml").read_text()
    old = tmp_path / "module.toml"
    old.write_text(text.replace("min_revision = 1\n", "min_revision = 1\nmax_revision = 3\n", 1))
    with pytest.raises(ManifestFault) as caught:
        load_module(old)
    assert "'max_revision' is a key of assay.module/2, and the file says assay.module/1" in caught.value.message
    assert (caught.value.line, caught.value.remedy) == (11, "run: assay migrate")
    old.write_text(text)
    module = load_module(old)
    assert (module.schema_, module.capabilities) == ("assay.module/2", ())


def test_every_key_that_a_step_adds_is_one_of_the_newest_model() -> None:
    modules = [tomllib.loads(path.read_text()) for path in FOLDER.glob("assay.module.2*.toml")]
    assert all(Module.model_validate_json(json.dumps(module, default=str)) for module in modules)
    steps = steps_to("assay.module/1", schema_of(Module))
    assert steps is not None
    for pattern in steps[0].added:
        only = steps[0].__class__(steps[0].gives, "", (pattern,))
        assert any(too_new(module, (only,)) for module in modules), f"{pattern}: in no file of version 2"


def test_a_document_is_not_touched_by_reading() -> None:
    document = TomlDocument((FOLDER / "assay.board.1.toml").read_bytes(), "b.toml")
    before = json.dumps(document.data)
    read_manifest((FOLDER / "assay.board.1.toml").read_bytes(), "b.toml", Board)
    data = json.loads(before)
    upgrade(data, steps_to("assay.board/1", "assay.board/2") or ())
    assert (json.dumps(document.data), data["schema"]) == (before, "assay.board/2")


def test_the_words_of_the_sources_are_the_ones_in_the_table() -> None:
    from assay.drivers.twin import twin_folder

    assert twin_folder.SCHEMA == format_table.TWIN_SCHEMA
    assert f'"{format_table.SUMMARY_SCHEMA}"' in (ROOT / "src" / "assay" / "cli" / "run.py").read_text()
