# SPDX-License-Identifier: Apache-2.0
"""Manifests as files: where the project's root is, which board file a name means, and reading them.

Guards: a file that cannot be read, a board that is not there, a name that would leave `boards/`: each is one sentence.
Leaves to others: what a manifest may say (`stages.manifest`).
"""

from __future__ import annotations

import hashlib
import re
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from assay.backends.named_file import read_named
from assay.errors import ManifestFault, UsageFault
from assay.formats.toml_document import MANIFEST_BYTES_MAX, KeyPath, TomlDocument
from assay.model.bench import Bench
from assay.model.board import Board
from assay.model.flasher_settings import PlainBoard
from assay.model.foreign_board import ForeignBoard
from assay.model.identifiers import NAME_PATTERN, Name
from assay.model.module import Module
from assay.model.pipeline import Pipeline
from assay.model.profile import Profile
from assay.model.value import Value
from assay.model.wire import WireFile
from assay.stages.manifest.read import read_documents, read_manifest

BOARDS = "boards"
"""The folder that marks a project's root."""

INHERITS = "inherits"
"""The key of a board that is a revision of another one."""

M = TypeVar("M", bound=Value)


def load(path: Path, model: type[M]) -> M:
    """The manifest at `path`. Raises `ManifestFault`, also when the file is not there."""
    return load_with_digest(path, model)[0]


def load_with_digest(path: Path, model: type[M]) -> tuple[M, str]:
    """The manifest at `path`, and the SHA-256 of the very bytes that it was read from. Raises `ManifestFault`."""
    raw = _bytes_of(path)
    return read_manifest(raw, str(path), model), hashlib.sha256(raw).hexdigest()


def load_module(path: Path) -> Module:
    """A `module.toml`; a folder means the `module.toml` in it."""
    return load(path / "module.toml" if path.is_dir() else path, Module)


def load_board(path: Path) -> Board:
    """A `boards/*.toml` of a board that the firmware here is built for; its name is the name of the file, since boards
    are found by it.
    """
    board = load_any_board(path)
    if not isinstance(board, Board):
        raise not_ours(board)
    return board


AnyBoard = Board | ForeignBoard | PlainBoard


def load_any_board(path: Path) -> AnyBoard:
    """A `boards/*.toml`, with what it inherits."""
    document = TomlDocument(_bytes_of(path), str(path))
    _check_says_whose(document)
    board = _somebody_elses(document, path) if _FOREIGN & document.data.keys() else load(path, Board)
    if board.name != path.stem:
        raise ManifestFault(str(path), None, f"the board is called {board.name!r}", remedy=f"call it {path.stem!r}")
    return board


_FOREIGN = {"firmware", INHERITS}
_SOMEBODY_ELSES = ("smp", "mcuboot", "recovery")
"""Tables of boards that run MCUboot and an SMP server of somebody else."""


def _check_says_whose(document: TomlDocument) -> None:
    """Without `firmware` the file would be read as a board of ours, and all of it be wrong."""
    theirs = next((key for key in _SOMEBODY_ELSES if key in document.data), None)
    if theirs is not None and not _FOREIGN & document.data.keys():
        raise ManifestFault(
            document.file,
            document.line_of([theirs]),
            f"[{theirs}] is of somebody else's firmware, and the file does not say firmware",
            remedy='add firmware = "mcuboot" below the schema (docs: reference/foreign-boards)',
        )


def _somebody_elses(document: TomlDocument, path: Path) -> ForeignBoard | PlainBoard:
    documents = with_ancestors(document, path)
    firmware = next((each.data["firmware"] for each in documents if "firmware" in each.data), None)
    return read_documents(documents, PlainBoard) if firmware == "any" else read_documents(documents, ForeignBoard)


def not_ours(board: ForeignBoard | PlainBoard) -> UsageFault:
    """For whoever needs a board that the firmware here is built for."""
    return UsageFault(
        f"{board.name} is somebody else's board: it has no identity, no evidence and no release of this project",
        remedy="what works with it: assay flash --image FILE (docs: how-to/a-board-of-somebody-else)",
    )


def with_ancestors(document: TomlDocument, path: Path) -> list[TomlDocument]:
    """`document` (of the file at `path`), the one that it inherits from, and so on. Raises `ManifestFault`."""
    documents, seen = [document], {path.name}
    while isinstance(parent := documents[-1].data.get(INHERITS), str):
        newest = documents[-1]
        line = newest.line_of([INHERITS])
        file = path.parent / f"{parent}.toml"
        if not re.fullmatch(NAME_PATTERN, parent) or not file.is_file():
            raise ManifestFault(newest.file, line, f"there is no board {parent!r} beside it to inherit from")
        if file.name in seen:
            raise ManifestFault(newest.file, line, f"{parent} inherits from this board: that goes round in a circle")
        seen.add(file.name)
        documents.append(TomlDocument(_bytes_of(file), str(file)))
    return documents


def _bytes_of(path: Path) -> bytes:
    try:
        return read_named(path, MANIFEST_BYTES_MAX + 1)  # one too many is refused, and a device without end is not read
    except FileNotFoundError as error:
        raise ManifestFault(str(path), None, "there is no such file", remedy="check the path") from error
    except OSError as error:
        raise ManifestFault(str(path), None, f"cannot be read: {error.strerror}", remedy="check the file") from error


def fault_at(path: Path, key: KeyPath, fault: UsageFault) -> ManifestFault:
    """`fault` with the file, or the one that it inherits from, and the line where `key` stands: read once more, since
    a manifest that was read keeps no lines.
    """
    try:
        documents = with_ancestors(TomlDocument(_bytes_of(path), str(path)), path)
    except ManifestFault as changed:  # meanwhile
        return changed
    holds = next((each for each in documents if each.holds(key)), documents[0])
    return ManifestFault(holds.file, holds.line_of(key), fault.message, remedy=fault.remedy)


def load_profile(path: Path) -> tuple[Profile, str]:
    """A `provisioning/*.toml`, and its SHA-256, which the unit's record names."""
    return load_with_digest(path, Profile)


def load_pipeline(path: Path) -> Pipeline:
    """A `pipelines/*.toml`."""
    return load(path, Pipeline)


def load_wire(path: Path) -> WireFile:
    """A wire's TOML (`assay.wire/1`)."""
    return load(path, WireFile)


def load_bench(path: Path) -> Bench:
    """A `bench.toml`."""
    return load(path, Bench)


def project_root(start: Path) -> Path:
    """The nearest folder upwards from `start` that holds `boards/`. Raises `UsageFault`."""
    start = start.absolute()
    for folder in (start, *start.parents):
        if (folder / BOARDS).is_dir():
            return folder
    raise UsageFault(f"{start} lies in no project", remedy=f"go to a folder below one that holds {BOARDS}/")


def board_names(root: Path) -> list[str]:
    """The boards of the project at `root`."""
    return sorted(path.stem for path in (root / BOARDS).glob("*.toml"))


def board_file(root: Path, name: str) -> Path:
    """The file of the board called `name` in the project at `root`. Raises `UsageFault` that lists the boards."""
    known = board_names(root)
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError as error:
        raise UsageFault(f"{name!r} is not a board's name", remedy=f"known boards: {', '.join(known)}") from error
    if name not in known:
        close = get_close_matches(name, known, n=1)
        meant = f"did you mean {close[0]!r}? " if close else ""
        raise UsageFault(
            f"there is no {BOARDS}/{name}.toml", remedy=f"{meant}known boards: {', '.join(known) or 'none'}"
        )
    return root / BOARDS / f"{name}.toml"
