# SPDX-License-Identifier: Apache-2.0
"""The images of a campaign, as its stages use them."""

from __future__ import annotations

from dataclasses import dataclass

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
    """All of a campaign's images; `goal` is the word of the one that each unit must still be brought to."""

    bootloader: CampaignImage
    apps: dict[str, CampaignImage]
    goal: str

    @property
    def goal_image(self) -> CampaignImage:
        """The image that each unit must still be brought to."""
        return self.apps[self.goal]
