# SPDX-License-Identifier: Apache-2.0
"""Sign an artifact: an image in two passes, the signature from the signer process in between, and a self-check.

Guards: no tool and no stage is given the image key; the image that comes out was read again by our own strict parser,
and says exactly what the artifact says. The same artifact gives the same bytes (Ed25519 is deterministic).
Leaves to others: laying out the image (`interfaces.image_tool`), statements about it (`stages.provenance`).
"""

from __future__ import annotations

import hashlib

from assay.errors import InfrastructureError, NotVerified
from assay.formats.mcuboot_image import CheckedImage, verify_image
from assay.interfaces.image_tool import ImageTool
from assay.interfaces.signer import SignerService
from assay.model.artifact import Artifact, BuiltArtifact, SignedImage
from assay.model.board import Board
from assay.model.trust import Role, TrustedKey, TrustFile
from assay.stages.signing.parameters import image_number, image_numbers, image_parameters


def sign_image(
    built: BuiltArtifact, board: Board, tool: ImageTool, signers: SignerService
) -> tuple[SignedImage, bytes]:
    """The signed image of `built` and its bytes. Raises `UnitFailed` when it does not fit, `Refused`, tool errors."""
    parameters = image_parameters(built.artifact, board)
    digest = tool.bytes_to_sign(built.payload, parameters)
    key = signers.public_key(Role.IMAGE)
    data = tool.with_signature(built.payload, parameters, signers.sign(Role.IMAGE, digest), key.public)
    found = _read_again(data, key)
    if found.image_hash != digest.hex():
        raise _tool_at_fault("the second pass made another image than the first")
    check_says(found, built.artifact)
    image = SignedImage(
        file_sha256=found.file_sha256,
        image_hash=found.image_hash,
        size=len(data),
        payload_sha256=built.artifact.payload_sha256,
        keyid=key.keyid,
    )
    return image, data


def check_says(found: CheckedImage, artifact: Artifact) -> None:
    """`NotVerified` unless the image says of itself what the artifact says, and holds the artifact's payload."""
    says = found.says
    for what, image_value, artifact_value in (
        ("the payload", hashlib.sha256(says.payload).hexdigest(), artifact.payload_sha256),
        ("the version", says.version, artifact.version),
        ("the board", says.board, artifact.board),
        ("the lowest revision", says.min_revision, artifact.min_revision),
        ("the name", says.name, artifact.module),
        ("the security counter", says.security_counter, artifact.security_counter),
    ):
        if image_value != artifact_value:
            raise _differs(what, image_value, artifact_value)
    if says.image_number not in image_numbers(artifact):
        raise _differs("the number of the image", says.image_number, image_number(artifact))


def _differs(what: str, image_value: object, artifact_value: object) -> NotVerified:
    text = f"{what} in the image is {image_value}, in what was built {artifact_value}"
    return NotVerified(text, remedy="build and sign again")


def _read_again(data: bytes, key: TrustedKey) -> CheckedImage:
    trust = TrustFile(schema="assay.trust/1", name="self-check", allow_development=True, keys=(key,))
    try:
        return verify_image(data, trust)
    except NotVerified as error:
        raise _tool_at_fault(error.message) from error


def _tool_at_fault(what: str) -> InfrastructureError:
    remedy = "check the version of imgtool, and the image key in keys.toml"
    return InfrastructureError(f"the image that imgtool made does not verify: {what}", remedy=remedy)
