# SPDX-License-Identifier: Apache-2.0
"""Policy packs and their tests as files: read strictly, their expressions checked, each fault with file and line.

Guards: what comes out compiles, names no fact that does not exist, and carries the digest of the very bytes that were
read. Leaves to others: whether it may decide (`policy_adoption`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from assay.backends.named_file import read_named
from assay.backends.policies.cel_engine import CelEngine
from assay.errors import ManifestFault
from assay.formats.toml_document import MANIFEST_BYTES_MAX, TomlDocument
from assay.interfaces.policy_engine import PolicyEngine
from assay.model.policy import PackReference, PackTests, PolicyPack
from assay.stages.manifest.read import read_manifest
from assay.stages.policy.pack_check import faults_of_pack

TESTS_SUFFIX = ".tests.toml"


@dataclass(frozen=True)
class LoadedPack:
    """A pack, and the bytes that it was read from."""

    pack: PolicyPack
    data: bytes
    sha256: str

    @property
    def reference(self) -> PackReference:
        """Name, version and digest."""
        return PackReference(name=self.pack.name, version=self.pack.version, sha256=self.sha256)


def policy_engine() -> PolicyEngine:
    """The engine that decides here."""
    return CelEngine()


def load_pack(path: Path, engine: PolicyEngine) -> LoadedPack:
    """The pack at `path`. Raises `ManifestFault` with file and line, `ToolMissing` without an engine."""
    return parse_pack(read_bytes(path), str(path), engine)


def parse_pack(data: bytes, file: str, engine: PolicyEngine) -> LoadedPack:
    """The pack in `data`; `file` is the name that faults show. Raises `ManifestFault`, `ToolMissing`."""
    pack = read_manifest(data, file, PolicyPack)
    if found := faults_of_pack(pack, engine):
        document = TomlDocument(data, file)
        placed = sorted((document.line_of(path) or 0, text) for path, text in found)
        line, first = placed[0]
        others = "".join(f"\n{file}:{other}: {text}" for other, text in placed[1:])
        raise ManifestFault(file, line or None, first + others)
    return LoadedPack(pack, data, hashlib.sha256(data).hexdigest())


def parse_adopted(data: bytes, file: str) -> LoadedPack:
    """A pack that was judged when it was adopted: what is wrong with its expressions by today's rules is left aside,
    and one that is no expression decides nothing. Raises `ManifestFault`.
    """
    return LoadedPack(read_manifest(data, file, PolicyPack), data, hashlib.sha256(data).hexdigest())


def load_tests(path: Path) -> PackTests:
    """The tests at `path`. Raises `ManifestFault`."""
    return read_manifest(read_bytes(path), str(path), PackTests)


def file_of_tests(pack: Path) -> Path:
    """Where the tests of the pack at `pack` are: `NAME.tests.toml` beside it."""
    return pack.with_name(pack.name.removesuffix(".toml") + TESTS_SUFFIX)


def read_bytes(path: Path) -> bytes:
    """The file's bytes. Raises `ManifestFault`."""
    try:
        return read_named(path, MANIFEST_BYTES_MAX + 1)  # one too many is refused
    except FileNotFoundError as error:
        raise ManifestFault(str(path), None, "there is no such file", remedy="check the path") from error
    except OSError as error:
        raise ManifestFault(str(path), None, f"cannot be read: {error.strerror}", remedy="check the file") from error
