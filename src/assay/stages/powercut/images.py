# SPDX-License-Identifier: Apache-2.0
"""The images of a campaign, as its stages use them."""

from __future__ import annotations

from dataclasses import dataclass, field

from assay.model.powercut import NamedImage


@dataclass(frozen=True)
class CampaignImage:
    """A signed image: `word` is what the plan calls it, `named` what the report says of it."""

    word: str
    data: bytes
    named: NamedImage

    @property
    def file_sha256(self) -> bytes:
        """SHA-256 of the file."""
        return bytes.fromhex(self.named.file_sha256)

    @property
    def image_hash(self) -> bytes:
        """The hash that the device reports of it."""
        return bytes.fromhex(self.named.image_hash)


@dataclass(frozen=True)
class Images:
    """All of a campaign's images. A patch is sent as an image is, and never comes up as one."""

    bootloader: CampaignImage
    apps: dict[str, CampaignImage]
    patches: dict[str, CampaignImage] = field(default_factory=dict)

    def sent(self, word: str) -> CampaignImage:
        """The image or the patch that a step names."""
        return self.apps.get(word) or self.patches[word]
