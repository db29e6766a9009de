# SPDX-License-Identifier: Apache-2.0
"""Image files of somebody else, read and verified as far as anybody can, for whoever flashes or tests them.

Guards: one that is wrong is never used; one whose signature nobody could verify only when somebody said so, and what is
known of it goes into the record. Leaves to others: the format (`formats.foreign_image`), the board (`stages.flashing`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from assay.backends.named_file import read_named
from assay.errors import NotVerified, Refused, UsageFault
from assay.formats.foreign_image import IMAGE_BYTES_MAX, Signature, verify_foreign_image
from assay.interfaces.step_book import Say
from assay.model.foreign_board import ForeignBoard
from assay.model.predicates import ForeignImageReference
from assay.model.trust import TrustFile
from assay.stages.flashing.foreign_unit import Numbered

CANNOT = (
    "identity: the board has no serial number or key of ours, so which unit this was is only known by its place",
    "evidence: the hash is quoted by the firmware that runs, which nobody proved",
)
"""What a record about such a board never says, in the record itself."""


@dataclass(frozen=True)
class ImageChoice:
    """Files by MCUmgr's image number, and whether they are used also when nobody could verify who signed them;
    `trust_file` is named to who has to add a key.
    """

    files: tuple[tuple[int, Path], ...]
    trust_file: Path
    unverified: bool = False

    def verified(self, trust: TrustFile, board: ForeignBoard, say: Say) -> tuple[Numbered, ...]:
        """The images. Raises `NotVerified` when one is wrong, or not verified and nobody allowed it; `UsageFault`."""
        return tuple(self._verified(number, path, trust, board, say) for number, path in self.files)

    def _verified(self, number: int, path: Path, trust: TrustFile, board: ForeignBoard, say: Say) -> Numbered:
        try:
            image = verify_foreign_image(_read(path), trust, board.name)
        except NotVerified as error:
            raise NotVerified(f"{path}: {error.message}", remedy=error.remedy) from error
        for line in (*image.checks, *image.cautions):
            say(f"{path.name}: {line}")
        if image.signature is not Signature.VERIFIED and not self.unverified:
            raise NotVerified(
                f"{path}: {image.cautions[-1]}",
                remedy=f'name the key in {self.trust_file} under [[image_keys]] with boards = ["{board.name}"], or say '
                "--accept-unverified-image, which the record will tell",
            )
        return Numbered(number, image)


def reference_of(each: Numbered) -> ForeignImageReference:
    """The image, as a record names it."""
    return ForeignImageReference(
        number=each.number,
        version=each.image.says.version,
        file_sha256=each.image.file_sha256,
        image_hash=each.image_hash.hex(),
        encrypted=each.image.says.encrypted,
        signature=each.image.signature.value,
        key=each.image.key,
    )


def check_emulated(trust: TrustFile, board: ForeignBoard) -> None:
    """Raises `Refused` for an emulated board that the trust file does not allow."""
    if board.emulated and not trust.allow_emulated:
        raise Refused(
            f"{board.name} is emulated, which '{trust.name}' refuses",
            remedy="use a real board, or a trust file that allows emulated boards",
        )


def parse_images(given: Sequence[str]) -> tuple[tuple[int, Path], ...]:
    """`FILE` or `N=FILE`, each number once. Raises `UsageFault`."""
    images: dict[int, Path] = {}
    for text in given:
        number, equals, file = text.partition("=")
        at, path = (int(number), Path(file)) if equals and number.isdecimal() else (0, Path(text))
        if at in images:
            raise UsageFault(f"image {at} is given twice", remedy="write --image 0=FILE --image 1=FILE")
        images[at] = path
    return tuple(sorted(images.items()))


def _read(path: Path) -> bytes:
    try:
        return read_named(path, IMAGE_BYTES_MAX + 1)
    except OSError as error:
        raise UsageFault(f"{path} cannot be read: {error.strerror}", remedy="name the signed image") from error
