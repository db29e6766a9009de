# SPDX-License-Identifier: Apache-2.0
"""The images of a campaign: releases of the site's store, verified before they are used, or signed image files.

Guards: a release gets into a campaign by the release gate alone; a file is read by the strict reader of images, and the
report says that nobody vouched for it.
Leaves to others: whether the unit takes them: that is what its bootloader is for.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from assay.errors import StorageError, UsageFault, WrongBoard
from assay.formats.mcuboot_image import parse_image
from assay.model.campaign import NamedImage
from assay.model.powercut import CutPlan, PatchSource
from assay.stages.powercut.images import CampaignImage, Images

if TYPE_CHECKING:
    from assay.model.artifact import Release, VerifiedImage
    from assay.model.board import Board
    from assay.model.trust import TrustFile
    from assay.pipeline.site import Site


def campaign_images(site: Site, plan: CutPlan, folder: Path, board: Board, trust: TrustFile | None) -> Images:
    """The images that `plan`, which lies in `folder`, names. Raises UsageFault, Refused and its kin, StorageError."""
    _check_areas(plan, board)
    shop = _Shop(site, folder, board, trust)
    apps = {word: shop.image(word, source, kind="app") for word, source in plan.images.items()}
    patches = {word: shop.patch(word, patch, plan) for word, patch in plan.patches.items()}
    radios = {word: shop.image(word, source, kind="radio") for word, source in plan.radios.items()}
    return Images(shop.image("bootloader", plan.bootloader, kind="bootloader"), apps, patches, radios)


def _check_areas(plan: CutPlan, board: Board) -> None:
    """Before anything is recorded, which takes minutes."""
    areas = board.flash.areas
    if plan.radios and "radio_primary" not in areas:
        raise UsageFault(f"board {board.name} has no radio", remedy="leave [radios] out of the plan")
    for episode in plan.episodes:
        for name in episode.writes:
            if name not in areas:
                text = f"episode {episode.name!r}: board {board.name} has no flash area {name!r}"
                raise UsageFault(text, remedy=f"correct `writes`; it has {', '.join(areas)}")


@dataclass(frozen=True)
class _Shop:
    """Where images come from."""

    site: Site
    folder: Path
    board: Board
    trust: TrustFile | None

    def image(self, word: str, source: str, *, kind: str) -> CampaignImage:
        """An image by release, else by file."""
        if "@" not in source:
            return self._file(word, source)
        verified = self._released(source)
        release = verified.release
        if release.kind != kind:
            raise UsageFault(f"{source} is a {release.kind}, not a {kind}", remedy="correct the plan")
        hashes = (release.image.file_sha256, release.image.image_hash)
        return CampaignImage(word, verified.data, _named(source, release, *hashes))

    def patch(self, word: str, patch: PatchSource, plan: CutPlan) -> CampaignImage:
        """A patch by file, else that of the release from the base."""
        from assay.pipeline.patch_gate import verify_patch

        if patch.file is not None:
            return self._file(word, patch.file, patch=True)
        base, gives = plan.images[patch.base], plan.images[patch.gives]
        if "@" not in gives or "@" not in base:
            raise UsageFault(f"the patch {word!r} is of no release", remedy="name its file in the plan")
        release, base_hash = self._released(gives).release, self._released(base).release.image.image_hash
        found = next((each for each in release.patches if each.base_hash == base_hash), None)
        if found is None:
            raise UsageFault(f"{gives} has no patch from {base}", remedy=f"assay sign ... --delta-from {base}")
        assert self.trust is not None  # else the release was not verified
        verified = verify_patch(self.site.store, self.trust, release, found)
        return CampaignImage(
            word, verified.data, _named(f"{gives} from {base}", release, found.file_sha256, found.image_hash)
        )

    def _released(self, source: str) -> VerifiedImage:
        from assay.pipeline.release_gate import verify_release
        from assay.pipeline.unit_records import parse_reference

        if self.trust is None:
            raise UsageFault(f"{source} is a release, and nothing says whom to trust", remedy="give --trust FILE")
        return verify_release(self.site.store, self.trust, *parse_reference(source), self.board)

    def _file(self, word: str, source: str, *, patch: bool = False) -> CampaignImage:
        path = self.folder / source
        try:
            data = path.read_bytes()
        except OSError as error:
            raise StorageError(
                f"cannot read the image {path}: {error.strerror}",
                remedy="correct the plan, or build and sign the image",
            ) from error
        image = parse_image(data, patch=patch)
        if image.board != self.board.name:
            raise WrongBoard(f"{path} is for {image.board}, not for {self.board.name}", remedy="correct the plan")
        named = NamedImage(
            source=source,
            name=image.name,
            version=image.version,
            file_sha256=hashlib.sha256(data).hexdigest(),
            image_hash=image.claimed_hash.hex(),
        )
        return CampaignImage(word, data, named)


def _named(source: str, release: Release, file_sha256: str, image_hash: str) -> NamedImage:
    return NamedImage(
        source=source,
        name=release.name,
        version=release.version,
        file_sha256=file_sha256,
        image_hash=image_hash,
        release=release.reference,
    )
