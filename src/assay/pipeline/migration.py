# SPDX-License-Identifier: Apache-2.0
"""Bring manifests to the newest version of their format: a plan first, then each file whole or not at all.

Guards: nothing is written unless every file can be; a file that was migrated means what it meant (both are read and
compared), and keeps its comments and its order; what assay wrote and signed is never touched.
Leaves to others: the steps between versions (`model.upgrades`), reading (`stages.manifest`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import tomlkit
from tomlkit.exceptions import TOMLKitError

from assay.backends.durable_file import exclusive, write_durably
from assay.errors import ManifestFault, StorageError, UsageFault
from assay.formats.toml_document import MANIFEST_BYTES_MAX, TomlDocument
from assay.model.board import Board
from assay.model.flasher_settings import PlainBoard
from assay.model.foreign_board import ForeignBoard
from assay.model.upgrades import Upgrade, schema_of, steps_to, upgrade
from assay.model.value import Value
from assay.stages.manifest.read import read_documents, read_manifest
from assay.stages.manifest.schema_export import MANIFESTS

SKIPPED = ("build", "dist", "node_modules", "data")
"""Folders that hold no manifests of a project (test data is kept as it is); nor do those that begin with a dot."""
FILES_MAX = 10_000


@dataclass(frozen=True)
class Migration:
    """What becomes of one file: its version, the newest, why each step, and its text in the newest version."""

    path: Path
    found: str
    newest: str
    steps: tuple[Upgrade, ...]
    text: str

    @property
    def is_needed(self) -> bool:
        """Whether the file is of an older version."""
        return bool(self.steps)


def plan_migration(paths: Sequence[Path]) -> tuple[Migration, ...]:
    """What is to be done with the manifests at or below `paths`. Raises `ManifestFault` for one that cannot be."""
    found = []
    for path in _files(paths):
        named = path in paths
        raw = _read(path)
        if named or _is_ours(raw):
            found.append(_plan(path, raw))
    return tuple(found)


def migrate(plan: Sequence[Migration]) -> tuple[Path, ...]:
    """Write what `plan` says, file by file; the next run completes one that was cut short. Raises `StorageError`."""
    done: list[Path] = []
    for each in plan:
        if not each.is_needed:
            continue
        try:
            with exclusive(each.path.parent):
                mode = each.path.stat().st_mode & 0o7777
                write_durably(each.path, each.text.encode(), mode=mode)
                each.path.chmod(mode)
        except OSError as error:
            text = f"{each.path} cannot be written: {error.strerror}; {len(done)} files were migrated before it"
            raise StorageError(text, remedy="make it writable, and migrate again: what is done stays done") from error
        done.append(each.path)
    return tuple(done)


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from _below(path)
        elif path.exists():
            yield path
        else:
            raise UsageFault(f"there is no {path}", remedy="name a manifest, or a folder of a project")


def _below(folder: Path) -> Iterator[Path]:
    count = 0
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in SKIPPED)
        for name in sorted(names):
            path = Path(here) / name
            if path.suffix == ".toml" and path.is_file() and not path.is_symlink():
                count += 1
                if count > FILES_MAX:
                    raise UsageFault(f"more than {FILES_MAX} TOML files lie below {folder}", remedy="name the project")
                yield path


def _read(path: Path) -> bytes:
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > MANIFEST_BYTES_MAX:
            raise ManifestFault(str(path), None, "no manifest: a link, no file, or too large", remedy="name the file")
        return path.read_bytes()
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}", remedy="make it readable") from error


def _is_ours(raw: bytes) -> bool:
    """Whether a file that nobody named is a manifest at all: others have TOML files too, some of them no TOML."""
    try:
        schema = TomlDocument(raw, "").data.get("schema")
    except ManifestFault:
        return False
    return isinstance(schema, str) and schema.startswith("assay.")


def _plan(path: Path, raw: bytes) -> Migration:
    document = TomlDocument(raw, str(path))
    found = document.data.get("schema")
    model = _model_of(document)
    newest = schema_of(model)
    steps = steps_to(str(found), newest)
    if not steps:  # the newest, or none that we know: the reader has the words
        if steps is None:
            _value(document, path, model)
        return Migration(path, str(found), newest, (), document.text)
    text = _rewritten(raw, path, steps)
    before, after = _value(document, path, model), _value(TomlDocument(text.encode(), str(path)), path, model)
    if before != after:
        raise ManifestFault(str(path), None, "would mean something else after its migration", remedy="report it")
    return Migration(path, str(found), newest, steps, text)


def _rewritten(raw: bytes, path: Path, steps: Sequence[Upgrade]) -> str:
    try:
        document = tomlkit.parse(raw.decode())
        upgrade(document, steps)
        return tomlkit.dumps(document)
    except TOMLKitError as error:
        raise ManifestFault(str(path), None, f"cannot be rewritten: {error}", remedy="correct the file") from error


def _model_of(document: TomlDocument) -> type[Value]:
    name = str(document.data.get("schema")).rpartition("/")[0]
    models = {schema_of(model).rpartition("/")[0]: model for model in MANIFESTS.values()}
    if name not in models:
        known = ", ".join(sorted(models))
        raise ManifestFault(
            document.file, document.line_of(["schema"]), f"no manifest; known are {known}", remedy="name a manifest"
        )
    if models[name] is Board and document.data.keys() & {"firmware", "inherits"}:
        return PlainBoard if document.data.get("firmware") == "any" else ForeignBoard
    return models[name]


def _value(document: TomlDocument, path: Path, model: type[Value]) -> Value:
    """What the file means. A board that inherits means nothing without the one that it inherits from."""
    if "inherits" in document.data and model is not Board:
        from assay.pipeline.manifest_files import with_ancestors

        family = with_ancestors(document, path)
        firmware = next((each.data["firmware"] for each in family if "firmware" in each.data), None)
        return read_documents(family, PlainBoard if firmware == "any" else ForeignBoard)
    return read_manifest(document.text.encode(), document.file, model)
