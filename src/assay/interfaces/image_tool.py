# SPDX-License-Identifier: Apache-2.0
"""What a stage may ask of the tool that lays out MCUboot images. It never sees a private key."""

from __future__ import annotations

from typing import Protocol

from assay.model.image_parameters import ImageParameters


class ImageTool(Protocol):
    """Makes images in two passes. Raises `UnitFailed` for a payload that does not fit, `ToolMissing`."""

    def bytes_to_sign(self, payload: bytes, parameters: ImageParameters) -> bytes:
        """First pass: what the image key has to sign (the image hash, 32 bytes)."""
        ...

    def with_signature(self, payload: bytes, parameters: ImageParameters, signature: bytes, public_pem: str) -> bytes:
        """Second pass: the image with that Ed25519 signature (64 bytes) and the hash of the key in it."""
        ...
