# SPDX-License-Identifier: Apache-2.0
"""Who is trusted for what, and what a verification found.

A `VerifiedStatement` can only be had from a verifier; whoever acts on a statement asks for one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import Field, PrivateAttr

from assay.model.identifiers import FileSha256, Name
from assay.model.signer_limits import LogPlace, ProvedTime, SignerLimits, SummaryPolicy, Threshold, TrustedServices
from assay.model.statement import PredicateType, Statement
from assay.model.value import Value


class Role(StrEnum):
    """Who signs what (docs: explanation/trust)."""

    IMAGE = "image"
    BUILDER = "builder"
    BENCH = "bench"
    STATION = "station"
    FIELD = "field"
    POLICY = "policy"
    VERIFIER = "verifier"
    DEVICE_CA = "device-ca"
    LOG = "log"
    RAUC = "rauc"
    """Bundles for Linux modules. It is the unit that verifies them, with the keyring that its factory wrote."""
    WITNESS = "witness"
    """Cosigns checkpoints of other sites' logs. Who verifies them has its key in a witness policy."""


_RUNS = frozenset({Role.BENCH, Role.STATION, Role.FIELD})

SIGNERS: Mapping[PredicateType, frozenset[Role]] = {
    PredicateType.PROVENANCE: frozenset({Role.BUILDER}),
    PredicateType.REBUILD: frozenset({Role.BUILDER}),
    PredicateType.SBOM: frozenset({Role.BUILDER}),
    PredicateType.RELEASE: frozenset({Role.BUILDER}),
    PredicateType.PATCH: frozenset({Role.BUILDER}),
    PredicateType.TEST_RESULT: frozenset({Role.BENCH}),
    PredicateType.PROVISIONING: frozenset({Role.STATION}),
    PredicateType.FLASH: _RUNS,
    PredicateType.FOREIGN_FLASH: _RUNS,
    PredicateType.FOREIGN_TEST: frozenset({Role.BENCH}),
    PredicateType.TOOL_FLASH: _RUNS,
    PredicateType.UPDATE: _RUNS,
    PredicateType.EVIDENCE: _RUNS,
    PredicateType.RUN: _RUNS | {Role.BUILDER},
    PredicateType.QUARANTINE: frozenset({Role.BENCH}),
    PredicateType.POLICY: frozenset({Role.POLICY}),
    PredicateType.DECISION: frozenset({Role.BUILDER, Role.STATION, Role.FIELD}),
    PredicateType.SUMMARY: frozenset({Role.VERIFIER}),
    PredicateType.VEX: frozenset({Role.BUILDER}),
    PredicateType.WITHDRAWAL: frozenset({Role.BUILDER}),
}
"""Which roles may sign statements of which type. The signer process and every verifier keep to it."""

BUILDER_IDS: Mapping[str, str] = {
    "container": "urn:assay:builder:container",
    "host": "urn:assay:builder:host",
    "sandbox": "urn:assay:builder:sandbox",
}
"""`builder.id` in provenance for each kind of builder that comes with assay: they guarantee different things."""

BUILDER_PREFIX = "urn:assay:builder:"
"""And the name of the builder: of one that another package brings, too; a trust file has to name that one."""

STATEMENT_ROLES: frozenset[Role] = frozenset[Role]().union(*SIGNERS.values())
"""Roles whose keys sign statements, and nothing but statements; the other keys sign bytes, and never statements."""


class TrustedKey(SignerLimits):
    """A public key and the one role that it is trusted for. `keyid`: SHA-256 of the DER SubjectPublicKeyInfo.

    `builder_ids`: for a builder key, the builders that it may vouch for (SLSA: only known pairs of signer and
    builder.id are accepted); none means that no provenance of this key is accepted.
    """

    role: Role
    keyid: FileSha256
    algorithm: Literal["ed25519", "ecdsa-p256"]
    public: str
    name: str
    development: bool = False

    @property
    def is_who(self) -> tuple[str, ...]:
        """What two signers differ in, when they are two."""
        return ("key", self.keyid)


class TrustedIdentity(SignerLimits):
    """Whoever a certificate of `sigstore` names: `issuer` vouched (OIDC) that it is `san`, or fits `san_pattern`.

    In a pattern `*` stands for one or more characters other than `/`; scheme and host (or the domain of an e-mail
    address) are written out. `development` is said by the services.
    """

    role: Role
    name: Name
    issuer: str = Field(min_length=1)
    san: str | None = None
    san_pattern: str | None = None
    development: bool = False

    @property
    def is_who(self) -> tuple[str, ...]:
        """What two signers differ in, when they are two: not the services, which may both certify one person."""
        return ("identity", self.issuer, self.san or self.san_pattern or "")

    @property
    def who_sha256(self) -> str:
        """SHA-256, in hex, over the issuer, a line feed, and the name or the pattern."""
        return hashlib.sha256(f"{self.issuer}\n{self.san or self.san_pattern}".encode()).hexdigest()


TrustedSigner = TrustedKey | TrustedIdentity
"""Whose signature a statement may carry."""


class TrustedLog(Value):
    """A log: its origin and its verifier key (C2SP signed-note `vkey`)."""

    origin: str
    vkey: str
    development: bool = False


class ImageKey(Value):
    """A key that signs MCUboot images of somebody else, for the boards that are named and no others.

    It vouches for an image and for nothing else: an image of this project needs a key with the role `image`, and a
    provenance. `public` is PEM, as `imgtool getpub -e pem` writes it.
    """

    name: Name
    boards: tuple[Name, ...] = Field(min_length=1)
    public: str
    development: bool = False


@dataclass(frozen=True)
class Asking:
    """What is known where a trust file is asked, and is none of its content: the time, and by the SHA-256 of bundles
    their archive stamps, the oldest first.
    """

    now: Callable[[], datetime] | None = field(default=None, compare=False)
    stamps: Callable[[str], Sequence[bytes]] | None = field(default=None, compare=False)


class TrustFile(Value):
    """Keys and roles (`trust.toml`). Empty means that nothing verifies.

    `seal`: SHA-256 of the file with 64 zeros in its place. It tells a damaged file from a whole one, and nothing more:
    who edits the file takes the line out.
    """

    schema_: Literal["assay.trust/1"] = Field(alias="schema")
    seal: FileSha256 | None = None
    name: Name
    allow_development: bool = False
    allow_emulated: bool = False
    keys: tuple[TrustedKey, ...] = ()
    logs: tuple[TrustedLog, ...] = ()
    image_keys: tuple[ImageKey, ...] = ()
    sigstore: tuple[TrustedServices, ...] = ()
    identities: tuple[TrustedIdentity, ...] = ()
    thresholds: tuple[Threshold, ...] = ()
    summary_policies: tuple[SummaryPolicy, ...] = ()
    """Whose verification summaries count; empty: those of any policy."""
    _asking: Asking = PrivateAttr(default_factory=Asking)

    def asked(self, asking: Asking) -> TrustFile:
        """The same file, as it is asked at a place."""
        copy = self.model_copy()
        copy._asking = asking
        return copy

    @property
    def asking(self) -> Asking:
        """When and with which archive stamps it is asked; nothing is known of that where nobody said it."""
        return self._asking

    def services(self, name: str | None) -> TrustedServices | None:
        """The Sigstore instance of that name."""
        return next((each for each in self.sigstore if each.name == name), None)

    def threshold(self, predicate_type: str) -> int:
        """How many distinct signers a statement of this type needs."""
        return next((each.count for each in self.thresholds if each.predicate_type == predicate_type), 1)

    def keys_for(self, role: Role) -> tuple[TrustedKey, ...]:
        """The keys that are trusted for `role`; none that is revoked."""
        return tuple(key for key in self.keys if key.role is role and not self.is_revoked(key.keyid))

    def is_revoked(self, keyid: str) -> bool:
        """Whether the key is revoked, by whatever name and for whatever role the file has it."""
        return any(key.revoked for key in self.keys if key.keyid == keyid)


@dataclass(frozen=True)
class Check:
    """One thing that was verified: in words, and by which key if a key was in it.

    `caution`: no more than what was verified is worth, such as that its key is in a file.
    """

    what: str
    key: TrustedSigner | None = None
    caution: bool = False


@dataclass(frozen=True)
class VerifiedStatement:
    """A statement whose signature, signer's role, predicate type and subject were checked, and what was checked.

    `time` and `place`: when it was signed and where it is logged, if the trust file has whom to believe that.
    `named`: issuer and name, as the certificate says them; None for a signature by key.
    """

    statement: Statement
    payload: bytes
    signer: TrustedSigner
    checks: tuple[Check, ...]
    time: ProvedTime | None = None
    place: LogPlace | None = None
    named: tuple[str, str] | None = None

    @property
    def is_who(self) -> frozenset[tuple[str, ...]]:
        """Who signed, by the trust file and by the certificate. Two statements with one of these in common are of one
        signer: one person may fit two lines of a trust file, and one line may be a pattern.
        """
        proved = {("identity", *self.named)} if self.named is not None else set()
        return frozenset({self.signer.is_who, *proved})
