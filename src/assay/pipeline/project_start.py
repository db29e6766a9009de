# SPDX-License-Identifier: Apache-2.0
"""A new project that builds, passes its tests and runs on an emulated board: what is in it, and putting it there.

Guards: the folder appears whole or not at all (the one that a person is in: file by file, or not at all when one cannot
be put there), and nothing that was there is touched; every manifest was read before.
Leaves to others: where the firmware comes from (`backends.project_kit`), running it (`assay run pipelines/try.toml`).
"""

from __future__ import annotations

import os
import shutil
from importlib import resources
from pathlib import Path

from assay import __version__
from assay.backends.durable_file import TEMPORARY, sync_folder
from assay.backends.project_kit import kit_files
from assay.errors import StorageError, UsageFault
from assay.model.identifiers import parse_name
from assay.model.module import Module
from assay.model.pipeline import Pipeline
from assay.model.product import Product
from assay.model.profile import Profile
from assay.model.value import Value
from assay.stages.manifest.read import read_manifest

BOARDS = ("ast1030-evb", "rv32-virt")
"""Boards that a project can begin on: emulated, and the firmware of the kit is for them."""

SERIAL_PREFIX_MAX = 24
"""Characters of the name in serial numbers; a prefix has at most 32."""

_DEMO_SUITE = "suites/demo-sensor/"
_SUITE_TESTS = ("test_health.py", "test_identity.py")
_MODULE = "firmware/app/module.toml"


def project_files(name: str, board: str) -> dict[str, tuple[bytes, bool]]:
    """The files of a project whose module is `name`, for `board`: bytes, and whether it may be run.

    Raises `UsageFault`, `ToolMissing`.
    """
    parse_name(name, "a module")
    if board not in BOARDS:
        raise UsageFault(f"a project cannot begin on {board!r}", remedy=f"name one of: {', '.join(BOARDS)}")
    files = {}
    for path, file in kit_files().items():
        if path.startswith("boards/") and path != f"boards/{board}.toml":
            continue
        if path.startswith(_DEMO_SUITE):
            if (test := path.removeprefix(_DEMO_SUITE)) in _SUITE_TESTS:
                files[f"suites/{name}/{test}"] = file
        elif path != _MODULE:
            files[path] = file
    return dict(sorted((files | _templates(name, board)).items()))


def _templates(name: str, board: str) -> dict[str, tuple[bytes, bool]]:
    manifests: dict[str, tuple[str, type[Value] | None]] = {
        _MODULE: ("module.toml", Module),
        "product.toml": ("product.toml", Product),
        f"provisioning/{name}.toml": ("profile.toml", Profile),
        "pipelines/try.toml": ("pipeline.toml", Pipeline),
        "README.md": ("README.md", None),
        ".gitignore": ("gitignore", None),
    }
    files = {}
    for path, (template, model) in manifests.items():
        data = _filled(template, name, board)
        if model is not None:
            read_manifest(data, path, model)
        files[path] = (data, False)
    return files


def _filled(template: str, name: str, board: str) -> bytes:
    text = resources.files("assay.pipeline").joinpath("project_template", template).read_text(encoding="utf-8")
    values = {"NAME": name, "BOARD": board, "ASSAY": __version__, "PREFIX": name[:SERIAL_PREFIX_MAX].upper()}
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    return text.encode()


def start_project(folder: Path, name: str, board: str) -> tuple[str, ...]:
    """Put a new project into `folder`, which is not there yet or empty; answers the paths of its files.

    Raises `UsageFault`, `ToolMissing`, `StorageError`.
    """
    files = project_files(name, board)
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise UsageFault(f"{folder} is there already", remedy="name a folder that is not there yet, or an empty one")
    whole = folder.absolute()
    beside = whole.parent / f"{TEMPORARY}{whole.name}-{os.getpid()}"
    try:
        for path, (data, may_run) in files.items():
            file = beside / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
            file.chmod(0o755 if may_run else 0o644)
        if whole == Path.cwd():
            _move_into(beside, whole)
        else:
            beside.rename(whole)  # replaces an empty folder, and no other
        sync_folder(whole.parent)
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error.strerror}", remedy="name another folder") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return tuple(files)


def _move_into(beside: Path, folder: Path) -> None:
    """Put what is in `beside` into an empty folder that a shell is in: replaced, it would be gone below its feet."""
    try:
        for entry in sorted(beside.iterdir()):
            entry.rename(folder / entry.name)
        sync_folder(folder)
    except OSError:
        for put in folder.iterdir():
            shutil.rmtree(put) if put.is_dir() else put.unlink()
        raise
