# SPDX-License-Identifier: Apache-2.0
"""From `product.toml` and a board to a lock: releases that fit together, each verified, by the digest of its file.

Guards: what stands in a lock was verified against the trust file; the same product, boards, store and day give the same
bytes.
Leaves to others: choosing (`stages.composition`), what may be chosen (`pipeline.product_candidates`), checking a lock
again before anybody relies on it (`pipeline.product_check`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from pydantic import ValidationError

from assay.backends.durable_file import write_durably
from assay.backends.named_file import read_named
from assay.errors import NotVerified, Refused, StorageError, UsageFault
from assay.formats import canonical_json, strict_json
from assay.interfaces.store import Store
from assay.model.artifact import Release
from assay.model.board import Board
from assay.model.product import LockedBoard, LockedRelease, Product, ProductLock
from assay.model.trust import TrustFile
from assay.pipeline.manifest_files import board_file, load_board, load_with_digest, project_root
from assay.pipeline.product_candidates import Considered, consider
from assay.pipeline.release_gate import verify_release
from assay.stages.composition.resolve import Candidate, LeftOut, resolve

LOCK_BYTES_MAX = 1024 * 1024
PRODUCT_FILE = "product.toml"


@dataclass(frozen=True)
class Hardware:
    """Boards by name with the digests of their files; `default` is where modules go that name none."""

    boards: dict[str, Board]
    digests: dict[str, str]
    default: str


@dataclass(frozen=True)
class Resolved:
    """A lock, what was chosen, and what was not considered."""

    lock: ProductLock
    chosen: tuple[Candidate, ...]
    left_out: tuple[LeftOut, ...]


def load_product(path: Path) -> tuple[Product, str]:
    """A `product.toml` (or the folder that has it), and its SHA-256. Raises `ManifestFault`."""
    return load_with_digest(path / PRODUCT_FILE if path.is_dir() else path, Product)


def hardware_for(product: Product, start: Path, board: str | None, revision: int | None) -> Hardware:
    """The boards of `product` in the project around `start`. Raises `UsageFault` when one is to be named."""
    root = project_root(start)
    if product.needs_a_board() and board is None:
        raise UsageFault(f"{product.name} has modules that name no board", remedy="name the board with --board")
    names = sorted({module.board or str(board) for module in product.modules} | ({board} if board else set()))
    files = {name: board_file(root, name) for name in names}
    boards = {name: load_board(file) for name, file in files.items()}
    if revision is not None and board is not None:
        boards[board] = boards[board].model_copy(update={"revision": revision})
    digests = {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in files.items()}
    return Hardware(boards, digests, board or "")


def resolve_product(
    product: Product, sha256: str, hardware: Hardware, store: Store, trust: TrustFile, day: date
) -> Resolved:
    """Releases of `store` for `product` on `hardware` as of `day` (UTC), each verified. Raises `Refused`."""
    considered = consider(store, trust, product, hardware.boards, hardware.default, day)
    while True:
        chosen = resolve(product, hardware.boards, hardware.default, considered.candidates, considered.left_out)
        smaller = _less_what_is_not_verified(considered, chosen, hardware, store, trust)
        if smaller is considered:
            return Resolved(_lock(product, sha256, hardware, chosen), chosen, considered.left_out)
        considered = smaller  # one candidate less each time, so this ends


def _less_what_is_not_verified(
    considered: Considered, chosen: Sequence[Candidate], hardware: Hardware, store: Store, trust: TrustFile
) -> Considered:
    for one in chosen:
        release = one.release
        try:
            verify_release(store, trust, release.name, release.version, hardware.boards[release.board])
        except Refused as refused:
            considered = considered.without(release, refused.message)
    return considered


def _lock(product: Product, sha256: str, hardware: Hardware, chosen: Sequence[Candidate]) -> ProductLock:
    used = {one.release.board for one in chosen}
    boards = tuple(
        LockedBoard(name=name, revision=board.revision, sha256=hardware.digests[name])
        for name, board in sorted(hardware.boards.items())
        if name in used
    )
    releases = tuple(_locked(one.release, one.deprecated) for one in chosen)
    return ProductLock(product=product.name, product_sha256=sha256, boards=boards, releases=releases)


def _locked(release: Release, why_deprecated: str | None) -> LockedRelease:
    return LockedRelease(
        name=release.name,
        kind=release.kind,
        version=release.version,
        board=release.board,
        file_sha256=release.image.file_sha256,
        image_hash=release.image.image_hash,
        deprecated=why_deprecated,
    )


def write_lock(path: Path, lock: ProductLock) -> bool:
    """`lock` becomes the file at `path`, durably; answers whether it is another one than before. What is there and has
    nothing of a lock stays as it is: `UsageFault`.
    """
    data = (json.dumps(canonical_json.plain(lock), indent=2, ensure_ascii=False) + "\n").encode()
    try:
        there = path.read_bytes() if path.is_file() else b""
        if there == data:
            return False
        if (path.exists() and not path.is_file()) or (there and lock.schema_.encode() not in there):
            raise UsageFault(f"{path} is no lock, and is not overwritten", remedy="name another file: --lock")
        write_durably(path, data)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}", remedy="name another file: --lock") from error
    return True


def read_lock(path: Path) -> ProductLock:
    """The lock at `path`. Raises `UsageFault` when it is not there, `NotVerified` when it is none."""
    try:
        document = strict_json.loads_object(read_named(path, LOCK_BYTES_MAX), str(path))
        return ProductLock.model_validate_json(json.dumps(document))
    except FileNotFoundError as error:
        raise UsageFault(f"there is no lock {path}", remedy="make it: assay product resolve") from error
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}", remedy="check the file") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise NotVerified(
            f"{path} is no lock: {where}: {first['msg']}", remedy="make it: assay product resolve"
        ) from error
