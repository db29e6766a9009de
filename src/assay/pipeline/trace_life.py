# SPDX-License-Identifier: Apache-2.0
"""What is known of a unit after the records so far: who it is, what it runs, which images it met, what it last said.

Guards: one value goes through all records in the order of the log, so that each is held against those before it.
Leaves to others: the records (`trace_unit`, `trace_update`, `trace_tested`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from assay.formats.device_certificate import DeviceCertificate
from assay.model.policy import DecisionRecord
from assay.model.predicates import EvidenceRecord, ImageReference
from assay.model.trust import TrustFile
from assay.pipeline.trace_continuity import Running
from assay.pipeline.trace_link import Link
from assay.pipeline.trace_policy import Adoptions


@dataclass
class Life:
    """What is known of the unit after the records so far. `images` are those that any record named, by file.

    `chips` are those that got this serial number, known from the start: a record may be older than the serial number.
    """

    serial: str
    trust: TrustFile
    files: Mapping[str, bytes]
    chips: frozenset[str]
    running: Running = field(default_factory=Running)
    certificate: DeviceCertificate | None = None
    images: dict[str, ImageReference] = field(default_factory=dict)
    evidence: tuple[int | None, EvidenceRecord] | None = None
    changed_after_evidence: list[str] = field(default_factory=list)
    """Each record that changed the unit since then, and whether evidence says what it ran after it."""
    adoptions: Adoptions = field(default_factory=Adoptions)
    decisions: dict[str, DecisionRecord] = field(default_factory=dict)
    """Decisions of policies about this unit, by the SHA-256 of their statements."""
    asked: dict[str, str] = field(default_factory=dict)
    """Nonces that the unit was asked with, and the record of each."""

    def meet(self, image: ImageReference) -> None:
        """A record names `image`."""
        self.images.setdefault(image.file_sha256, image)
        self.running.know(image.image_hash, image.release)

    def changed(self, name: str, *images: str, proved: bool = False) -> None:
        """The record `name` left the unit running one of `images`; `proved`: it quotes evidence of the unit for it."""
        self.running.now(name, *images)
        if self.evidence is not None:
            after = "that record has the unit's evidence of what it ran then"
            unknown = "what the unit runs since then, no evidence says"
            self.changed_after_evidence.append(f"{name}: {after if proved else unknown}")

    def must_be_fresh(self, link: Link, nonce_hex: str) -> None:
        """Check that no record before has this nonce: a unit is asked with a new one each time, a copy has the old."""
        before = self.asked.get(nonce_hex)
        self.asked.setdefault(nonce_hex, number_of(link))
        link.expect(
            before is None,
            "no record before has this evidence",
            f"this evidence was given before, in {before}: the unit was not asked again",
        )

    def must_be_chip(self, link: Link, chip: str) -> None:
        """Check that a record about `chip` is about the chip that the certificate was given to."""
        if self.certificate is not None:
            certified = self.certificate.chip.hex()
            link.expect(
                chip == certified, "the chip in the certificate", f"chip {chip}, the certificate is of {certified}"
            )


def number_of(link: Link) -> str:
    """`#12`, or what stands for it, from the title that the record began with."""
    return link.title.split(" ")[0] if link.title.startswith("#") else "a record that is not in the log"
