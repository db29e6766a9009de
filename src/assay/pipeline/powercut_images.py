# SPDX-License-Identifier: Apache-2.0
"""The images of a campaign: releases of the site's store, verified before they are used, or signed image files.

Guards: a release gets into a campaign by the release gate alone; a file is read by the strict reader of images, and the
report says that nobody vouched for it.
Leaves to others: whether the unit takes them: that is what its bootloader is for.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from assay.errors import StorageError, UsageFault, WrongBoard
from assay.formats.mcuboot_image import parse_image
from assay.model.powercut import CutPlan, NamedImage
from assay.stages.powercut.images import CampaignImage, Images

if TYPE_CHECKING:
    from assay.model.manifest import Board
    from assay.model.trust import TrustFile
    from assay.pipeline.site import Site


def campaign_images(site: Site, plan: CutPlan, folder: Path, board: Board, trust: TrustFile | None) -> Images:
    """The images that `plan`, which lies in `folder`, names. Raises UsageFault, Refused and its kin, StorageError."""
    apps = {word: _image(site, word, source, folder, board, trust, kind="app") for word, source in plan.images.items()}
    bootloader = _image(site, "bootloader", plan.bootloader, folder, board, trust, kind="bootloader")
    return Images(bootloader, apps, plan.goal)


def _image(
    site: Site, word: str, source: str, folder: Path, board: Board, trust: TrustFile | None, *, kind: str
) -> CampaignImage:
    if "@" in source:
        return _released(site, word, source, board, trust, kind)
    return _from_file(word, source, folder / source, board)


def _released(site: Site, word: str, source: str, board: Board, trust: TrustFile | None, kind: str) -> CampaignImage:
    from assay.pipeline.release_gate import verify_release
    from assay.pipeline.unit_records import parse_reference

    if trust is None:
        raise UsageFault(f"{source} is a release, and nothing says whom to trust", remedy="give --trust FILE")
    verified = verify_release(site.store, trust, *parse_reference(source), board)
    release = verified.release
    if release.kind != kind:
        raise UsageFault(f"{source} is a {release.kind}, not a {kind}", remedy="correct the plan")
    named = NamedImage(
        source=source,
        name=release.name,
        version=release.version,
        file_sha256=release.image.file_sha256,
        image_hash=release.image.image_hash,
        release=release.reference,
    )
    return CampaignImage(word, verified.data, named)


def _from_file(word: str, source: str, path: Path, board: Board) -> CampaignImage:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StorageError(
            f"cannot read the image {path}: {error.strerror}", remedy="correct the plan, or build and sign the image"
        ) from error
    image = parse_image(data)
    if image.board != board.name:
        raise WrongBoard(f"{path} is made for {image.board}, not for {board.name}", remedy="correct the plan")
    named = NamedImage(
        source=source,
        name=image.name,
        version=image.version,
        file_sha256=hashlib.sha256(data).hexdigest(),
        image_hash=image.claimed_hash.hex(),
    )
    return CampaignImage(word, data, named)
