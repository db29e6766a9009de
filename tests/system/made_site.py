# SPDX-License-Identifier: Apache-2.0
"""A finished site without a board: real signers, recorder, log, store and formats; only the device is made up.

The unit is provisioned with 1.0.0, tested, updated to 1.1.0, tested, fails an update to 1.2.0, and gives evidence;
a second unit is provisioned in between, and a run is interrupted.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from assay.formats import canonical_json, cose_sign1, device_certificate, eat_claims
from assay.formats.eat_claims import EvidenceClaims
from assay.model.artifact import Artifact, Release, SignedImage, SourceState, ToolIdentity
from assay.model.contract import Dependency, Interface, Interfaces
from assay.model.identifiers import Version
from assay.model.outcome import MeasurementOutcome, Outcome
from assay.model.plan import Plan, UnitState
from assay.model.policy import PolicyNote
from assay.model.predicates import (
    DeviceReport,
    EvidenceQuote,
    EvidenceRecord,
    Flash,
    ImageReference,
    InterruptedRun,
    Provisioning,
    RunHeader,
    StepRecord,
    Update,
)
from assay.model.record import PREDICATES, RecordRef, RecordType
from assay.model.statement import Statement, Subject
from assay.model.trust import Role
from assay.model.value import Value
from assay.model.verdict import BenchRun, CaseResult, Measurement, TestedUnit
from assay.pipeline.device_ca import ca_certificate
from assay.pipeline.site import Site
from assay.pipeline.trust_file import site_trust, write_trust
from assay.stages.hil.statement import result_statement
from assay.stages.provenance.statements import provenance_statement, release_statement, sbom_statement

BOARD = "ast1030-evb"
WHEN = "2026-11-23T12:00:00+00:00"
SERIAL, OTHER = "DEMO-000001", "DEMO-000002"
_NUMBERS = {"app": 0, "bootloader": 255}
HANDOFF = Interface(name="handoff", version="1")


@dataclass
class Unit:
    """A made-up device: chip, key, certificate."""

    serial: str
    chip: bytes
    key: Ed25519PrivateKey
    certificate: bytes = b""


@dataclass
class MadeSite:
    """The site in `folder`; each step records as the real verbs do."""

    folder: Path
    site: Site = field(init=False)
    releases: dict[str, Release] = field(default_factory=dict)
    asked: int = 0
    policy: PolicyNote | None = None
    """What the next records of runs say of policy."""

    def __post_init__(self) -> None:
        self.site = Site(self.folder)
        self.ca = ca_certificate(self.site)

    def write_trust(self, path: Path, **allow: bool) -> Path:
        write_trust(path, site_trust(self.site, "demo", **allow), replace=True)
        return path

    def publish(
        self, module: str, version: str, kind: str = "app", counter: int = 1, *, number: int | None = None
    ) -> Release:
        """`number`: what the image says that it is for; its kind's unless given."""
        payload = hashlib.sha256(f"{module} {version}".encode()).digest() * 64
        data, image_hash = self._image(payload, module, version, counter, _NUMBERS[kind] if number is None else number)
        artifact = _artifact(module, version, kind, counter, payload)
        keyid = self.site.signers.public_key(Role.IMAGE).keyid
        image = SignedImage(
            file_sha256=self.site.store.put(data),
            image_hash=image_hash,
            size=len(data),
            payload_sha256=artifact.payload_sha256,
            keyid=keyid,
        )
        bom = _bom(module, version)
        artifact = artifact.model_copy(update={"sbom_sha256": self.site.store.put(bom)})
        self.site.store.put(payload)
        bundles = {}
        for kind_, statement in (
            (RecordType.PROVENANCE, provenance_statement(artifact, image)),
            (RecordType.SBOM, sbom_statement(artifact, image, bom)),
        ):
            ref = self.site.recorder.record(statement, kind_, Role.BUILDER)
            bundles[PREDICATES[kind_].value] = self.site.store.put(self.site.recorder.bundle(ref))
        release = Release(
            name=module, kind=kind, version=version, board=BOARD, min_revision=1, security_counter=counter,
            image=image, artifact=artifact, attestations=bundles,
        )  # fmt: skip
        self.site.store.publish(release)
        self.site.recorder.record(release_statement(release), RecordType.RELEASE, Role.BUILDER)
        self.releases[release.reference] = release
        return release

    def unit(self, serial: str, seed: int) -> Unit:
        unit = Unit(serial, bytes([seed]) * 16, Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32))
        identity = device_certificate.DeviceIdentity(
            serial=serial, chip=unit.chip, public_key=unit.key.public_key().public_bytes_raw(), organization="demo",
            hardware_type_oid="1.3.6.1.4.1.32473.1", emulated=True, not_before=datetime(2026, 11, 23, tzinfo=UTC),
        )  # fmt: skip
        kept = self.folder.with_name(f"{serial}-{seed}.der")  # ECDSA signs differently each time; a unit has one
        if not kept.is_file():
            kept.write_bytes(device_certificate.issue(identity, self.ca, self._sign_ca))
        unit.certificate = kept.read_bytes()
        return unit

    def provision(self, unit: Unit, bootloader: str, app: str, outcome: Outcome = Outcome.PASS) -> RecordRef:
        return self.record(
            Provisioning(
                run=self.header(outcome), serial=unit.serial, chip=unit.chip.hex(), revision=1, profile="demo",
                profile_sha256=hashlib.sha256(b"profile").hexdigest(),
                bootloader=self.reference(bootloader), app=self.reference(app),
                device_key=unit.key.public_key().public_bytes_raw().hex(),
                certificate_base64=base64.b64encode(unit.certificate).decode(),
                certificate_sha256=hashlib.sha256(unit.certificate).hexdigest(),
                issuer_keyid=self.site.signers.public_key(Role.DEVICE_CA).keyid,
                steps=(StepRecord(name="make-identity", attempts=1, outcome=Outcome.PASS),),
            ),
            RecordType.PROVISIONING, Role.STATION, unit,
        )  # fmt: skip

    def flash(self, unit: Unit, app: str, *, named: bool = True) -> RecordRef:
        said = Flash(
            run=self.header(Outcome.PASS), serial=unit.serial if named else None, chip=unit.chip.hex(), slot=0,
            image=self.reference(app), read_back=self.reference(app).image_hash, how="recomputed", bytes_sent=2752,
        )  # fmt: skip
        return self.record(said, RecordType.FLASH, Role.STATION, unit, named=named)

    def test(
        self, unit: Unit, app: str, *, runs: str | None = None, also: Unit | None = None, signs: str | None = None
    ) -> RecordRef:
        """`runs`: what the record says that the unit ran; `signs`: what the unit signs that it ran before the tests."""
        image, header = self.reference(app), self.header(Outcome.PASS)
        hash_ = self.reference(runs or app).image_hash
        seen = _report(runs or app, self.reference(runs or app))
        measured = Measurement(
            name="boot_time", unit="ms", low=0, high=500, value=52.0, outcome=MeasurementOutcome.PASS
        )
        case = CaseResult(
            name="test_boot", outcome=Outcome.PASS, started=WHEN, duration_s=0.5, measurements=(measured,)
        )
        files = {
            "junit.xml": self.site.recorder.attach(f"<testsuites name='{app}'/>".encode()),
            "openhtf.json": self.site.recorder.attach(b'{"outcome": "PASS"}'),
        }
        bench = BenchRun(
            run=header, image=image, suite="suites/demo-sensor",
            suite_sha256=hashlib.sha256(b"suite").hexdigest(), sandbox="none", cases=(case,), files=files,
            units=tuple(TestedUnit(
                place="demo", board=BOARD, revision=1, emulated=True, chip=each.chip.hex(), serial=each.serial,
                certificate_sha256=hashlib.sha256(each.certificate).hexdigest(), before=seen, before_in_flash=hash_,
                after=seen, after_in_flash=hash_,
                evidence_before=self.quote(each, signs or runs or app, header),
                evidence_after=self.quote(each, runs or app, header),
            ) for each in ([unit, also] if also else [unit])),
        )  # fmt: skip
        return self.site.recorder.record(
            result_statement(bench), RecordType.TEST, Role.BENCH, None if also else unit.serial
        )

    def update(
        self, unit: Unit, old: str, new: str, outcome: Outcome = Outcome.PASS, after: str | None = None
    ) -> RecordRef:
        before, image = self.reference(old), self.reference(new)
        plan = Plan(
            unit=UnitState(
                serial=unit.serial, board=BOARD, revision=1, name="demo-sensor", version=old.split("@")[1],
                image_hash=before.image_hash, state="confirmed",
            ),
            release=new, file_sha256=image.file_sha256, image_hash=image.image_hash, policy="test-then-confirm",
            steps=(),
        )  # fmt: skip
        end = self.reference(after or (new if outcome is Outcome.PASS else old))
        return self.record(
            Update(
                run=self.header(outcome), serial=unit.serial, plan=plan, plan_sha256=canonical_json.digest_of(plan),
                image=image, before=_report(old, before), after=_report(after or new, end),
                steps=(StepRecord(name="upload", attempts=1, outcome=Outcome.PASS),),
                device_reason="" if outcome is Outcome.PASS else "selftest failed code=7 reason=sensor out of range",
            ),
            RecordType.UPDATE, Role.FIELD, unit,
        )  # fmt: skip

    def quote(self, unit: Unit, runs: str, header: RunHeader, bootloader: str = "demo-boot@1.0.0") -> EvidenceQuote:
        """What the unit signs when it is asked in the run of `header`."""
        self.asked += 1
        random = hashlib.sha256(f"{runs} {self.asked}".encode()).digest()
        nonce = hashlib.sha256(header.checkpoint.encode() + random).digest()
        image, boot = self.reference(runs), self.reference(bootloader)
        claims = EvidenceClaims(
            nonce=nonce, chip=unit.chip, board=BOARD, revision=1, name="demo-sensor", version=runs.split("@")[1],
            image_hash=bytes.fromhex(image.image_hash), state="confirmed",
            bootloader_hash=bytes.fromhex(boot.image_hash), serial=unit.serial, security_counter=1, reverted=False,
        )  # fmt: skip
        protected, payload = cose_sign1.protected_header(), eat_claims.encode(claims)
        unsigned = cose_sign1.CoseSign1(protected, payload, bytes(64))
        signed = cose_sign1.CoseSign1(protected, payload, unit.key.sign(unsigned.to_be_signed()))
        return EvidenceQuote(
            nonce_hex=nonce.hex(), random_hex=random.hex(),
            evidence_base64=base64.b64encode(cose_sign1.encode(signed)).decode(),
            certificate_sha256=hashlib.sha256(unit.certificate).hexdigest(),
        )  # fmt: skip

    def evidence(self, unit: Unit, runs: str, bootloader: str = "demo-boot@1.0.0") -> RecordRef:
        header, image = self.header(Outcome.PASS), self.reference(runs)
        quote = self.quote(unit, runs, header, bootloader)
        return self.record(
            EvidenceRecord(
                run=header, serial=unit.serial, **quote.model_dump(), report=_report(runs, image),
                bootloader_hash=self.reference(bootloader).image_hash, security_counter=1, reverted_at_boot=False,
            ),
            RecordType.EVIDENCE, Role.FIELD, unit,
        )  # fmt: skip

    def interrupted(self, unit: Unit, verb: str = "test") -> RecordRef:
        run = InterruptedRun(run=self.header(Outcome.ABORTED), verb=verb, serial=unit.serial, stopped_at="in upload")
        return self.record(run, RecordType.RUN, Role.FIELD, unit)

    def record(self, predicate: Value, kind: RecordType, role: Role, unit: Unit, *, named: bool = True) -> RecordRef:
        statement = Statement(
            subject=(Subject(name=unit.serial, digest={"sha256": hashlib.sha256(unit.certificate).hexdigest()}),),
            predicateType=PREDICATES[kind].value,
            predicate=predicate.model_dump(mode="json", by_alias=True, exclude_none=True),
        )
        return self.site.recorder.record(statement, kind, role, unit.serial if named else None)

    emulated = True

    def header(self, outcome: Outcome) -> RunHeader:
        checkpoint = self.site.recorder.checkpoint().decode()
        return RunHeader(
            run_id=hashlib.sha256(checkpoint.encode()).hexdigest()[:12], assay="0.1.0", place="demo", board=BOARD,
            emulated=self.emulated, started=WHEN, finished=WHEN, outcome=outcome, checkpoint=checkpoint,
            policy=self.policy,
        )  # fmt: skip

    def reference(self, release: str) -> ImageReference:
        image = self.releases[release].image
        return ImageReference(release=release, file_sha256=image.file_sha256, image_hash=image.image_hash)

    def _sign_ca(self, data: bytes) -> bytes:
        return self.site.signers.sign(Role.DEVICE_CA, data)

    def _image(self, payload: bytes, name: str, version: str, counter: int, number: int) -> tuple[bytes, str]:
        protected = _tlvs(
            0x6908,
            [
                (0x50, struct.pack("<I", counter)),
                (0xA0, BOARD.encode()),
                (0xA1, struct.pack("<I", 1)),
                (0xA2, name.encode()),
                *([(0xA6, struct.pack("<I", number))] if number else []),
            ],
        )
        major, minor, revision, build = Version(version).numbers
        header = struct.pack(
            "<IIHHIIBBHII", 0x96F3B83D, 0, 0x200, len(protected), len(payload), 0, major, minor, revision, build, 0
        )
        measured = header.ljust(0x200, b"\0") + payload + protected
        digest = hashlib.sha256(measured).digest()
        key = bytes.fromhex(self.site.signers.public_key(Role.IMAGE).keyid)
        signature = self.site.signers.sign(Role.IMAGE, digest)
        return measured + _tlvs(0x6907, [(0x10, digest), (0x01, key), (0x24, signature)]), digest.hex()


def finished_site(folder: Path) -> MadeSite:
    """A site as a finished demo leaves it."""
    made = MadeSite(folder)
    made.publish("demo-boot", "1.0.0", "bootloader")
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        made.publish("demo-sensor", version)
    unit, other = made.unit(SERIAL, 1), made.unit(OTHER, 2)
    made.provision(unit, "demo-boot@1.0.0", "demo-sensor@1.0.0")
    made.test(unit, "demo-sensor@1.0.0")
    made.provision(other, "demo-boot@1.0.0", "demo-sensor@1.0.0")
    made.update(unit, "demo-sensor@1.0.0", "demo-sensor@1.1.0")
    made.interrupted(unit)
    made.test(unit, "demo-sensor@1.1.0")
    made.update(unit, "demo-sensor@1.1.0", "demo-sensor@1.2.0", Outcome.FAIL, after="demo-sensor@1.1.0")
    made.evidence(unit, "demo-sensor@1.1.0")
    made.evidence(other, "demo-sensor@1.0.0")
    return made


def _report(release: str, image: ImageReference) -> DeviceReport:
    version = release.split("@")[1]
    return DeviceReport(version=version, image_hash=image.image_hash, how="verified-at-boot", state="confirmed")


def _tlvs(magic: int, values: list[tuple[int, bytes]]) -> bytes:
    body = b"".join(struct.pack("<HH", kind, len(value)) + value for kind, value in values)
    return struct.pack("<HH", magic, 4 + len(body)) + body


def _artifact(module: str, version: str, kind: str, counter: int, payload: bytes) -> Artifact:
    digest = hashlib.sha256(payload).hexdigest()
    return Artifact(
        module=module, kind=kind, version=version, board=BOARD, min_revision=1, security_counter=counter,
        payload_sha256=digest, payload_size=len(payload), files={"payload.bin": digest}, sbom_sha256="0" * 64,
        source=SourceState(repository="https://example.org/demo.git", commit="4b0d513" + "0" * 33, digest="a" * 64),
        tools=(ToolIdentity(name="ziglang", version="0.17.1", sha256="b" * 64),),
        parameters={"module": module, "kind": kind, "version": version, "board": BOARD},
        builder="sandbox", builds_compared=2, variations=("folder", "time", "user", "umask", "locale"),
        dependencies=(Dependency(name="demo-boot", version=">=1.0.0"),) if kind == "app" else (),
        interfaces=Interfaces(requires=(HANDOFF,)) if kind == "app" else Interfaces(provides=(HANDOFF,)),
    )  # fmt: skip


def _bom(module: str, version: str) -> bytes:
    component = {"name": "zig-std-crypto", "version": "0.17.1", "type": "library"}
    bom = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": [component]}
    return canonical_json.encode(
        {**bom, "metadata": {"component": {"name": module, "version": version, "type": "firmware"}}}
    )
