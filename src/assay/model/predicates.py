# SPDX-License-Identifier: Apache-2.0
"""The predicates that are our own: provisioning, flash, update, evidence, run.

Each becomes the `predicate` of an in-toto statement. JSON Schemas of them are published in docs/reference/predicates.
Times are RFC 3339 in UTC; `*_base64` is standard base64; `checkpoint` is the text of the site's newest
checkpoint before the run.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from assay.errors import Layer
from assay.model.identifiers import FileSha256, ImageHash, Name, SerialNumber, VersionText
from assay.model.outcome import MeasurementOutcome, Outcome
from assay.model.plan import Plan
from assay.model.policy import PolicyNote
from assay.model.value import Value

HashSource = Literal["recomputed", "verified-at-boot", "quoted"]
"""How a device came to an image hash: computed over flash now, by the bootloader at this boot, or copied from a TLV."""


UpdateWay = Literal["none", "patch", "full", "patch-then-full"]
"""What travelled: nothing, a patch, the whole image, or the whole image after the unit did not take the patch."""


class ImageReference(Value):
    """Which image: by release, by file, and by the hash inside."""

    release: str
    file_sha256: FileSha256
    image_hash: ImageHash


class DeviceReport(Value):
    """What the device said that it runs, and how it came to that.

    `state` is the bootloader's word, `confirmed_since` that of the image, which was under test at this boot.
    """

    version: VersionText
    image_hash: ImageHash
    how: HashSource
    state: Literal["confirmed", "testing"]
    confirmed_since: bool = False

    @property
    def is_kept(self) -> bool:
        """Whether the image stays at the next boot: confirmed when it was started, or by itself since."""
        return self.state == "confirmed" or self.confirmed_since

    @property
    def state_text(self) -> str:
        """The boot state in words, and whose they are."""
        return f"{self.state} at this boot, confirmed by the image since" if self.confirmed_since else self.state


class BuildTool(Value):
    """A tool of a build: name, version, SHA-256 of its package or file tree."""

    name: str
    version: str
    sha256: FileSha256


class Patch(Value):
    """`urn:assay:predicate:patch:v1`: a patch gives one image out of another, which was tried before it was signed.

    `image_hash` and `size` (bytes) are those of the patch as an image file; `tool` made it.
    """

    release: str
    board: Name
    base: ImageReference
    gives: ImageReference
    image_hash: ImageHash
    size: int
    format: Literal["detools-sequential"]
    compression: str
    tool: str


class ComparedPart(Value):
    """One thing that a rebuild compared: `payload.bin` and the other outputs, `image` up to its signature, and
    `sbom.cdx.json`; by SHA-256, `attested` by the provenance and `found` by the rebuild.
    """

    name: str
    attested: FileSha256
    found: FileSha256


class RebuildSource(Value):
    """The sources that were fetched: by commit, and by the digest over the declared inputs."""

    commit: str
    digest: FileSha256


class Rebuild(Value):
    """`urn:assay:predicate:rebuild:v1`: somebody built again what a provenance says, and whether it is the same.

    `provenance` is the SHA-256 of the statement that was followed; `other_tools` those that were not the ones it names.
    """

    release: str
    board: Name
    provenance: FileSha256
    result: Literal["identical", "different"]
    compared: tuple[ComparedPart, ...] = Field(min_length=1)
    source: RebuildSource
    builder_id: str
    builds_compared: int = Field(ge=2)
    tools: tuple[BuildTool, ...]
    other_tools: tuple[str, ...] = ()


class RunHeader(Value):
    """What every record of a run begins with. `policy` is there at the points where a policy may decide."""

    run_id: str
    assay: str
    place: str
    board: Name
    emulated: bool
    started: str
    finished: str
    outcome: Outcome
    reason: str = ""
    checkpoint: str
    policy: PolicyNote | None = None


class StepRecord(Value):
    """One step of a run: how often it was tried, and what came out of it."""

    name: str
    attempts: int
    outcome: Outcome
    detail: str = ""


class FactoryMeasurement(Value):
    """A value that the factory measured, and the limits of the profile (included in what passes); `unit` in UCUM."""

    name: Name
    unit: str
    low: float | None = None
    high: float | None = None
    value: float | None = None
    outcome: MeasurementOutcome


class EvidenceQuote(Value):
    """Signed evidence as it came, and the nonce that it answers.

    nonce = SHA-256(checkpoint text in UTF-8 || random): the evidence is younger than the run's checkpoint.
    """

    nonce_hex: str
    random_hex: str
    evidence_base64: str
    certificate_sha256: FileSha256


class Provisioning(Value):
    """`urn:assay:predicate:provisioning:v1`: a blank unit got firmware, key, serial number and certificate."""

    run: RunHeader
    serial: SerialNumber
    chip: str
    revision: int
    profile: Name
    profile_sha256: FileSha256
    bootloader: ImageReference
    app: ImageReference
    device_key: str
    certificate_base64: str
    certificate_sha256: FileSha256
    issuer_keyid: FileSha256
    steps: tuple[StepRecord, ...]
    measurements: tuple[FactoryMeasurement, ...] = ()


class Flash(Value):
    """`urn:assay:predicate:flash:v1`: an image was written and its hash read back."""

    run: RunHeader
    serial: SerialNumber | None = None
    chip: str
    image: ImageReference
    slot: int
    read_back: ImageHash
    how: HashSource
    bytes_sent: int
    steps: tuple[StepRecord, ...] = ()


class ForeignImageReference(Value):
    """An image that is not of this project, and what was known of it: `signature` was verified by `key`, or could not
    be; `image_hash` (hex) as long as the image has it, SHA-256 to SHA-512.
    """

    number: int
    version: str
    file_sha256: FileSha256
    image_hash: str
    encrypted: bool
    signature: Literal["verified", "unknown-key", "none"]
    key: str | None = None


class ForeignSlot(Value):
    """The slot that an image is in, and the hash that the server named for it."""

    number: int
    slot: int
    image_hash: str


class ForeignFlash(Value):
    """`urn:assay:predicate:foreign-flash:v1`: images were written to somebody else's board, which has no identity.

    `way`: by the app's server, by the bootloader's recovery, or none was needed. The hashes that were read back are
    quoted from the images' TLVs. `says` is what the server said that it is; `cannot` what no such board can tell.
    """

    run: RunHeader
    images: tuple[ForeignImageReference, ...]
    mode: str
    way: Literal["app", "recovery", "none"]
    says: str = ""
    read_back: tuple[ForeignSlot, ...]
    how: Literal["quoted"]
    bytes_sent: int
    cannot: tuple[str, ...]
    steps: tuple[StepRecord, ...] = ()


class ToolIdentity(Value):
    """What was on the place before anything was written, as the tool told it; None is what it could not tell."""

    probe: str | None = None
    chip: str | None = None
    kind: str | None = None
    facts: dict[str, str] = Field(default={})


class ToolImage(Value):
    """A file that was written, and what was known of it: only an MCUboot image has version, hash and signature."""

    name: str
    file_sha256: FileSha256
    signature: Literal["verified", "unknown-key", "none"]
    key: str | None = None
    version: str | None = None
    image_hash: str | None = None


class FlasherRead(Value):
    """What memory holds at `where` (an address in hex, a path or a slot), `size` bytes, and who compared: `bytes` were
    read out and compared by us, the `tool` compared, the `device` told a hash, or it was `accepted` and no more.
    """

    name: str
    where: str | None = None
    size: int
    sha256: FileSha256
    by: Literal["bytes", "tool", "device", "accepted"]
    detail: str = ""


class ToolFlash(Value):
    """`urn:assay:predicate:tool-flash:v1`: files were written to a board from outside, by a flasher.

    `runs`: the hashes of MCUboot images that the app quotes afterwards, where there is one that does. `files` are what
    the tool said, attachments by SHA-256. `cannot` is what no such flash can tell.
    """

    run: RunHeader
    flasher: str
    driver: str
    found: ToolIdentity
    images: tuple[ToolImage, ...]
    read_back: tuple[FlasherRead, ...]
    runs: tuple[str, ...] = ()
    how: Literal["quoted"] | None = None
    cannot: tuple[str, ...]
    files: dict[str, FileSha256] = Field(default={})
    steps: tuple[StepRecord, ...] = ()


class RadioReport(Value):
    """The radio that went with an app: what its slot held before and afterwards (None: no image, or no answer).

    No evidence is about it: the unit computes the hash over flash when it is asked, which is `how`.
    """

    image: ImageReference
    before: ImageHash | None = None
    after: ImageHash | None = None
    how: HashSource = "recomputed"


class Update(Value):
    """`urn:assay:predicate:update:v1`: a plan was carried out, and what the unit runs now.

    `older_allowed`: why somebody let it go to an older version.
    """

    run: RunHeader
    serial: SerialNumber
    plan: Plan
    plan_sha256: FileSha256
    image: ImageReference
    before: DeviceReport
    after: DeviceReport | None = None
    radio: RadioReport | None = None
    steps: tuple[StepRecord, ...]
    device_reason: str = ""
    after_evidence: EvidenceQuote | None = None
    way: UpdateWay | None = None
    bytes_sent: int | None = None
    older_allowed: str | None = None


class EvidenceRecord(Value):
    """`urn:assay:predicate:evidence:v1`: signed evidence of a unit, and the nonce that it answers.

    nonce = SHA-256(checkpoint text in UTF-8 || random), so the evidence is younger than that checkpoint.
    """

    run: RunHeader
    serial: SerialNumber
    nonce_hex: str
    random_hex: str
    evidence_base64: str
    certificate_sha256: FileSha256
    report: DeviceReport
    bootloader_hash: ImageHash
    security_counter: int
    reverted_at_boot: bool


class InterruptedRun(Value):
    """`urn:assay:predicate:run:v1`: a run that ended before it had all that its own predicate wants, and where.

    Its outcome may be FAIL: a unit that failed in the factory before it had an identity. `layer` is where a fault of
    the infrastructure came from, where the verb tells. `images` are the files that were to be written, by name;
    `files` what a tool said, which lies beside the record.
    """

    run: RunHeader
    verb: str
    serial: SerialNumber | None = None
    stopped_at: str
    layer: Layer | None = None
    steps: tuple[StepRecord, ...] = ()
    images: dict[str, FileSha256] | None = None
    files: dict[str, FileSha256] | None = None


class Quarantine(Value):
    """`urn:assay:predicate:quarantine:v1`: somebody took a place out of use for tests, or back into it (`lift`).

    `serial` is the unit that was there last; `by` a user and a host. It is about the bench, and no verdict on the unit.
    """

    place: Name
    serial: SerialNumber | None = None
    action: Literal["begin", "lift"]
    reason: str
    by: str
    at: str
    checkpoint: str


class Withdrawal(Value):
    """`urn:assay:predicate:withdrawal:v1`: a release was withdrawn, and why. The subject is its image file.

    Nothing takes it back: what was withdrawn by mistake is published again under another version. `by`: a user and a
    host.
    """

    release: str
    board: Name
    image_hash: ImageHash
    manifest_sha256: FileSha256
    manifest_size: int
    reason: str
    by: str
    at: str
    checkpoint: str
