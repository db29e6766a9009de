# SPDX-License-Identifier: Apache-2.0
"""Everything that a build depends on, read before it begins: manifests, declared inputs, declared keys, tools.

Guards: a board that the module does not name, a key that is no public key, inputs that are not there: each is told
before anything is built. Leaves to others: building (`pipeline.module_build`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from assay.backends.builders.choice import AUTO
from assay.backends.builders.git_state import path_in_repository, source_state
from assay.backends.builders.source_tree import collect
from assay.backends.builders.toolchain import toolchain, tree_identity
from assay.errors import NotVerified, UsageFault
from assay.formats import public_key
from assay.interfaces.builder import Builder
from assay.model.artifact import ToolIdentity
from assay.model.board import Board
from assay.model.compatibility import what_lacks
from assay.model.identifiers import Version
from assay.model.module import Module
from assay.model.source_file import SourceFile
from assay.pipeline.manifest_files import board_file, load_board, load_module, project_root
from assay.stages.build.inputs import digest_of, lane_key
from assay.stages.build.result import BuildSubject
from assay.stages.build.systems import perhaps_of, tools_of


@dataclass(frozen=True)
class BuildRequest:
    """What the user asks for. `keys`: names to PEM texts of public keys that are built in; `trees`: names to folders of
    tools that no package brought; `check`: build anew, without anything that was kept, and compare with what was.
    """

    module_toml: Path
    board: str
    version: str | None = None
    defines: Mapping[str, str] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)
    builder: str = AUTO
    fresh: bool = False
    image: str | None = None
    trees: Mapping[str, Path] = field(default_factory=dict)
    check: bool = False


@dataclass(frozen=True)
class Recipe:
    """A request with everything that it depends on read. `pems`: declared public keys, each in its one spelling;
    `changed`: the inputs that are not what the commit holds.
    """

    subject: BuildSubject
    board_path: str
    files: tuple[SourceFile, ...]
    pems: dict[str, str]
    root: Path
    trees: dict[str, Path] = field(default_factory=dict)
    changed: tuple[str, ...] = ()


def module_file(request: BuildRequest) -> Path:
    """The `module.toml` that is asked for."""
    return (request.module_toml / "module.toml" if request.module_toml.is_dir() else request.module_toml).absolute()


@dataclass(frozen=True)
class Inputs:
    """The declared inputs of a build, and where they are: project root, manifest and board file below it."""

    module: Module
    board: Board
    root: Path
    manifest: str
    board_path: str
    files: tuple[SourceFile, ...]


def declared_inputs(request: BuildRequest, outside: tuple[Path, ...] = ()) -> Inputs:
    """Read the manifests and everything that they declare, but for the folders `outside`. Raises `UsageFault`."""
    path = module_file(request)
    module = load_module(path)
    root = project_root(path.parent)
    board_path = board_file(root, request.board)
    board = load_board(board_path)
    _check_board(module, board)
    named = [path.relative_to(root).as_posix(), board_path.relative_to(root).as_posix()]
    files = collect(root, [*module.build.sources, *named], outside)
    return Inputs(module, board, root, named[0], named[1], files)


def prepare(request: BuildRequest, cache: Path, builder: Builder, outside: tuple[Path, ...] = ()) -> Recipe:
    """Read everything that `request` depends on. `cache` keeps digests of the tools; the folders `outside` (of the
    site, of what is built) are no inputs. Raises `UsageFault`.
    """
    inputs = declared_inputs(request, outside)
    module, board, files, root = inputs.module, inputs.board, inputs.files, inputs.root
    version = str(Version(request.version)) if request.version else module.version
    pems = {name: _public_pem(name, text) for name, text in request.keys.items()}
    parameters = {
        "module": module.name,
        "kind": module.kind,
        "manifest": path_in_repository(root, inputs.manifest),
        "version": version,
        "board": board.name,
        "defines": dict(request.defines),
        "publicKeys": {name: {"pem": pem, "sha256": public_key.keyid_of(pem)} for name, pem in pems.items()},
    }
    source, changed = source_state(root, files, digest_of(files))
    trees = _trees(module, request.trees)
    tools = _tools(module, builder, trees, cache / "tools.json", request.check)
    subject = BuildSubject(module, board, version, source, tools, parameters)
    return Recipe(subject, inputs.board_path, files, pems, root, trees, changed)


def lane_of(recipe: Recipe, builder: Builder) -> str:
    """Names the compiler caches that the builds may use. It reads more than the inputs: not asked for what is kept."""
    subject = recipe.subject
    told_apart = {} if subject.module.build.cache_by_content else subject.parameters
    return lane_key(_tree_digest(recipe.root, recipe.files), subject.tools, builder.name, told_apart)


def _tools(
    module: Module, builder: Builder, trees: Mapping[str, Path], kept: Path, whole: bool
) -> tuple[ToolIdentity, ...]:
    """The builder's toolchain, or this machine's (every file of our compiler, if `whole`); and the trees."""
    brought = builder.tools()
    if brought is None:
        names, perhaps = tools_of(module.build), perhaps_of(module.build)
        brought = toolchain(kept, names, builder.path, perhaps, whole=whole)
    return (*brought, *(tree_identity(name, folder, kept) for name, folder in sorted(trees.items())))


def _trees(module: Module, given: Mapping[str, Path]) -> dict[str, Path]:
    missing = [name for name in module.build.trees if name not in given]
    if missing:
        remedy = f"add --tree {missing[0]}=FOLDER"
        raise UsageFault(
            f"{module.name} is built with the tree of tools {missing[0]}, which is not given", remedy=remedy
        )
    extra = sorted(set(given) - set(module.build.trees))
    if extra:
        known = ", ".join(module.build.trees) or "none"
        raise UsageFault(f"{module.name} uses no tree {extra[0]}", remedy=f"[build] trees names: {known}")
    return {name: folder.resolve() for name, folder in given.items()}


def _tree_digest(root: Path, files: tuple[SourceFile, ...]) -> str:
    """Digest over the top-level folders that the inputs come from.

    A build can leave something in a compiler cache for a later one. Named by this digest too, the cache is only used by
    builds of the very same state of all sources there, so nothing can come from sources that the commit does not show.
    """
    folders = {file.path.partition("/")[0] for file in files}
    try:
        there = collect(root, sorted(folders))
    except UsageFault:
        return digest_of(files)  # links or too much lie beside the inputs: share with nobody
    # Of what is there now the inputs are a part, or somebody wrote to it since they were read: share with nobody.
    return digest_of(there if set(files) <= set(there) else files)


def _check_board(module: Module, board: Board) -> None:
    need = next((need for need in module.boards if need.name == board.name), None)
    if need is None:
        known = ", ".join(need.name for need in module.boards)
        raise UsageFault(f"{module.name} does not run on {board.name}", remedy=f"build it for one of: {known}")
    if board.revision < need.min_revision:
        text = f"{module.name} needs revision {need.min_revision} of {board.name}, the board file says {board.revision}"
        raise UsageFault(text, remedy="build for a board of that revision")
    if need.max_revision is not None and board.revision > need.max_revision:
        until = f"{module.name} runs on {board.name} up to revision {need.max_revision}"
        text = f"{until}, the board file says {board.revision}"
        raise UsageFault(text, remedy="build for a board of that revision")
    if lacks := what_lacks(module.kind, module.resources, board):
        raise UsageFault(f"{module.name} needs {lacks}", remedy="build for another board, or correct [resources]")


def _public_pem(name: str, text: str) -> str:
    """`text` as PEM in its one spelling."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    if "PRIVATE" in text:
        raise UsageFault(f"the key declared as '{name}' is a private key", remedy="declare its public key")
    try:
        key, _ = public_key.parse_public_key(text)
    except NotVerified as error:
        raise UsageFault(f"the key declared as '{name}': {error.message}", remedy=error.remedy) from error
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")
