# SPDX-License-Identifier: Apache-2.0
"""The images of a campaign, as its stages use them."""

from __future__ import annotations

from dataclasses import dataclass, field

from assay.model.campaign import NamedImage

APP, RADIO = 0, 1
"""MCUmgr's numbers of a board's images (docs: reference/device)."""


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
    """All of a campaign's images. Patches and radios are sent as apps are, and never come up as one."""

    bootloader: CampaignImage
    apps: dict[str, CampaignImage]
    patches: dict[str, CampaignImage] = field(default_factory=dict)
    radios: dict[str, CampaignImage] = field(default_factory=dict)

    def sent(self, word: str) -> CampaignImage:
        """What a step names."""
        return self.apps.get(word) or self.patches.get(word) or self.radios[word]

    def number(self, word: str) -> int:
        """MCUmgr's number of the image that `word` is sent as."""
        return RADIO if word in self.radios else APP
