# SPDX-License-Identifier: Apache-2.0
"""Make a patch from an older image to a new one, try it, and sign it as an image of its own.

Guards: a patch that is signed gave the new image, byte for byte, before; it is smaller than the image, and fits the
board; what it says of itself is what the new image says.
Leaves to others: the older image, which was verified (`pipeline.release_gate`), and the statement (`statements`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from assay.errors import InfrastructureError, NotVerified, UnitFailed
from assay.formats.mcuboot_image import CheckedImage, verify_image
from assay.interfaces.image_tool import ImageTool
from assay.interfaces.patch_tool import PatchTool
from assay.interfaces.signer import SignerService
from assay.model.artifact import Artifact, VerifiedImage
from assay.model.board import Board
from assay.model.image_parameters import PatchBinding
from assay.model.trust import Role, TrustFile
from assay.stages.signing.parameters import image_parameters


@dataclass(frozen=True)
class MadePatch:
    """A signed patch: its file, digests, and how it was made."""

    data: bytes
    file_sha256: str
    image_hash: str
    compression: str


class PatchTooLarge(UnitFailed):
    """A patch is not worth it, or the board has no room for it: units of that version take the whole image."""


def sign_patch(
    base: VerifiedImage,
    new: tuple[bytes, str],
    artifact: Artifact,
    board: Board,
    tools: tuple[PatchTool, ImageTool],
    signers: SignerService,
) -> MadePatch:
    """The signed patch from `base` to `new` (image file and hash). Raises `PatchTooLarge`, tool errors."""
    data, image_hash = new
    patches, images = tools
    compression, payload = _smallest(base.data, data, patches)
    if patches.apply(base.data, payload) != data:
        text = f"the patch from {base.release.reference} does not give the new image back"
        raise InfrastructureError(text, remedy="sign without --delta-from, and report this with both images")
    binding = PatchBinding(bytes.fromhex(base.release.image.image_hash), bytes.fromhex(image_hash))
    parameters = replace(image_parameters(artifact, board), patch=binding)
    _check_room(base, len(payload), len(data), board)
    digest = images.bytes_to_sign(payload, parameters)
    key = signers.public_key(Role.IMAGE)
    made = images.with_signature(payload, parameters, signers.sign(Role.IMAGE, digest), key.public)
    trust = TrustFile(schema="assay.trust/1", name="self-check", allow_development=True, keys=(key,))
    found = verify_image(made, trust, patch=True)
    if found.image_hash != digest.hex() or found.says.payload != payload:
        raise InfrastructureError("imgtool made another patch than was signed", remedy="check the version of imgtool")
    check_patch_says(found, artifact, binding)
    _check_room(base, len(made), len(data), board)
    return MadePatch(made, found.file_sha256, found.image_hash, compression)


def check_patch_says(found: CheckedImage, artifact: Artifact, binding: PatchBinding) -> None:
    """`NotVerified` unless a patch says of itself what the new image's artifact says, and what it is bound to."""
    says = found.says
    said = (says.version, says.board, says.min_revision, says.name, says.security_counter, says.patch)
    wanted = (artifact.version, artifact.board, artifact.min_revision, artifact.module, artifact.security_counter)
    if said != (*wanted, binding):
        text = f"the patch {found.file_sha256[:16]} says other things of itself than the release says of it"
        raise NotVerified(text, remedy="sign and publish again")


def _smallest(old: bytes, new: bytes, tool: PatchTool) -> tuple[str, bytes]:
    made = [(compression, tool.make(old, new, compression)) for compression in tool.compressions]
    return min(made, key=lambda each: len(each[1]))


def _check_room(base: VerifiedImage, size: int, full: int, board: Board) -> None:
    if size <= board.patch_room and size < full:
        return
    room = f"{board.name} has room for {board.patch_room}" if size > board.patch_room else f"the image has {full}"
    raise PatchTooLarge(
        f"the patch from {base.release.reference} has {size} bytes, {room}",
        remedy="units of that version are updated with the whole image; nothing needs to be done",
    )
