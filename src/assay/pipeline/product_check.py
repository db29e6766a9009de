# SPDX-License-Identifier: Apache-2.0
"""Whether a lock of a product still holds, whoever wrote it: everything is looked at again.

Guards: a lock holds if it has a release for each module of the product and no other, by the digests of their files,
each verified, not withdrawn, for the very boards that were locked, and all of them fit together.
Leaves to others: making one (`pipeline.product_resolve`), and whether a release that fits became deprecated since.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from assay.errors import Refused, UsageFault
from assay.interfaces.store import Store
from assay.model.artifact import Release
from assay.model.board import Board
from assay.model.compatibility import offer_of, satisfies
from assay.model.product import LockedRelease, Product, ProductLock, ProductModule
from assay.model.trust import TrustFile
from assay.pipeline.manifest_files import board_file, load_board, project_root
from assay.pipeline.product_candidates import why_not
from assay.pipeline.release_gate import verify_release
from assay.pipeline.withdrawals import withdrawals
from assay.stages.composition.resolve import Candidate, misfits


def check_lock(
    lock: ProductLock, product: Product, sha256: str, start: Path, store: Store, trust: TrustFile
) -> tuple[str, ...]:
    """What no longer holds of `lock` for `product`, whose file has the digest `sha256`, in words; nothing when all
    holds. The boards are those of the project around `start`. Raises `UsageFault` for a board that it does not have.
    """
    faults: list[str] = []
    if lock.product_sha256 != sha256:
        faults.append(f"{lock.product} is another product than the one that was locked")
    boards = _boards(lock, start, faults)
    found: dict[LockedRelease, Release] = {}
    taken_back = withdrawals(store)
    for locked in lock.releases:
        where = f"{locked.reference} for {locked.board}"
        if locked.board not in boards:
            faults.append(f"{where} is for a board that the lock does not name")
            continue
        try:
            found[locked] = release = store.find(locked.name, locked.version, locked.board)
            if (why := why_not(release, boards[locked.board], taken_back)) is not None:
                faults.append(f"{where}: {why}")
                continue
            verify_release(store, trust, locked.name, locked.version, boards[locked.board])
        except (UsageFault, Refused) as error:
            faults.append(f"{where}: {error.message}")
            continue
        if not _is_same(locked, release):
            faults.append(f"{where} has another image than the one that was locked")
    faults += _of_modules(lock, product, found)
    faults += misfits([Candidate(release) for release in found.values()], boards)
    return tuple(faults)


def _boards(lock: ProductLock, start: Path, faults: list[str]) -> dict[str, Board]:
    """The boards of a lock in its revisions; a file that is another one than the one that was locked is a fault."""
    root, boards = project_root(start), {}
    for each in lock.boards:
        file = board_file(root, each.name)
        boards[each.name] = load_board(file).model_copy(update={"revision": each.revision})
        if hashlib.sha256(file.read_bytes()).hexdigest() != each.sha256:
            faults.append(f"the board file of {each.name} is another one than the one that was locked")
    return boards


def _is_same(locked: LockedRelease, release: Release) -> bool:
    image = release.image
    stands = (locked.kind, locked.file_sha256, locked.image_hash)
    return stands == (release.kind, image.file_sha256, image.image_hash)


def _of_modules(lock: ProductLock, product: Product, found: Mapping[LockedRelease, Release]) -> Iterator[str]:
    """What a lock has too little, too much, or in another version than the product asks for."""
    left = list(lock.releases)
    anywhere = set()
    for module in sorted(product.modules, key=lambda module: module.board is None):
        locked = next((e for e in left if e.name == module.name and module.board in (None, e.board)), None)
        if locked is None:
            where = f" on {module.board}" if module.board is not None else ""
            yield f"{module.name}{where} is in the product, and not in the lock"
            continue
        left.remove(locked)
        anywhere |= {locked.board} if module.board is None else set()
        if (wanted := _not_served(module, found.get(locked))) is not None:
            yield f"{locked.reference} for {locked.board} is not what the product asks for: {wanted}"
    for locked in left:
        yield f"{locked.reference} for {locked.board} is not in the product, or is in the lock twice"
    if len(anywhere) > 1:
        yield f"modules that name no board are on several: {', '.join(sorted(anywhere))}"


def _not_served(module: ProductModule, release: Release | None) -> str | None:
    """What `module` asks for and `release` is not, in words. One that is not there is told elsewhere."""
    if release is None:
        return None
    if module.version is not None and not satisfies(release.version, module.version):
        return module.version
    missing = sorted(set(module.capabilities) - set(offer_of(release).capabilities))
    return f"{', '.join(missing)}" if missing else None
