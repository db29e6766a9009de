# SPDX-License-Identifier: Apache-2.0
"""The units of a suite's run, as the process that signs sees them: asked before the suite and after it, by itself.

Guards: what a record says of a unit was never in the hands of a test; the unit afterwards is the unit before; a unit
with an identity proves it by fresh evidence, signed by the key in its certificate.
Leaves to others: the proof (`stages.hil.running_image`), evidence (`stages.field.evidence`), locks that last.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from assay.errors import NotVerified, at_layer
from assay.interfaces.device import Stage
from assay.model.verdict import TestedUnit
from assay.pipeline.places import open_place
from assay.pipeline.proved_unit import attest, check_wanted
from assay.pipeline.test_place import READY_TIMEOUT_S, VERB
from assay.stages.hil.running_image import Expected, RunningImage, how_at_boot, prove

if TYPE_CHECKING:
    from assay.model.artifact import VerifiedImage
    from assay.model.predicates import DeviceReport
    from assay.model.trust import TrustFile
    from assay.pipeline.places import OpenPlace
    from assay.pipeline.site import Site
    from assay.stages.field.evidence import VerifiedEvidence


@dataclass
class UnitExaminer:
    """Asks units what they run. `checkpoint` is the newest one from before the run: evidence is younger than it;
    `wanted` is the unit that has to be there (None: any).
    """

    site: Site
    image: VerifiedImage
    trust: TrustFile
    checkpoint: bytes
    bench: Path | None = None
    wanted: str | None = None

    def before(self, place_name: str) -> TestedUnit:
        """The unit on the place. Raises InfrastructureError, WrongBoard, WrongUnit, NotVerified."""
        with self._open(place_name) as place:
            proof, evidence = self._examine(place, self._expected(place))
            info = proof.info
            return TestedUnit(
                place=place_name,
                board=place.board.name,
                revision=info.revision,
                emulated=place.emulated,
                chip=info.chip.hex(),
                serial=info.serial,
                certificate_sha256=evidence.quote.certificate_sha256 if evidence else None,
                before=_report(proof, evidence),
                before_in_flash=proof.slot_hash.hex(),
                evidence_before=evidence.quote if evidence else None,
            )

    def after(self, unit: TestedUnit) -> TestedUnit:
        """The same unit again. Raises the same, and WrongBoard for another unit."""
        with self._open(unit.place) as place:
            expected = replace(self._expected(place), chip=bytes.fromhex(unit.chip))
            proof, evidence = self._examine(place, expected)
            if proof.info.serial != unit.serial:
                raise NotVerified(
                    f"before the suite the unit was {unit.serial or 'nameless'}, after it {proof.info.serial}",
                    remedy="look what the suite does to the unit's identity",
                )
            return unit.model_copy(
                update={
                    "after": _report(proof, evidence),
                    "after_in_flash": proof.slot_hash.hex(),
                    "evidence_after": evidence.quote if evidence else None,
                }
            )

    def _open(self, place_name: str) -> OpenPlace:
        with at_layer("port"):
            return open_place(self.site, place_name, verb=VERB, bench=self.bench)

    def _expected(self, place: OpenPlace) -> Expected:
        release = self.image.release
        image_hash = bytes.fromhex(release.image.image_hash)
        return Expected(image_hash, place.board.name, release.reference, place.chip, how_at_boot(place.board))

    def _examine(self, place: OpenPlace, expected: Expected) -> tuple[RunningImage, VerifiedEvidence | None]:
        if place.power is not None and not place.power.is_on():
            with at_layer("power"):
                place.power.on()
        with at_layer("link"):
            info = place.device.wait_ready(Stage.APP, READY_TIMEOUT_S)
        check_wanted(info.serial, place.name, self.wanted)
        proof = prove(place.device, expected)
        if proof.info.serial is None:
            return proof, None
        evidence = attest(place, proof.info, self.checkpoint, self.trust)
        if evidence.claims.image_hash != expected.image_hash:
            raise NotVerified(
                f"unit {proof.info.serial} signs that it runs {evidence.claims.image_hash.hex()[:16]}, "
                f"and says that it runs {expected.image_hash.hex()[:16]}",
                remedy="do not trust the unit",
            )
        return proof, evidence


def _report(proof: RunningImage, evidence: VerifiedEvidence | None) -> DeviceReport:
    """What a record says that the unit ran: by its evidence, or by its word where it has no identity."""
    return evidence.report if evidence else proof.report()
