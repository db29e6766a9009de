# SPDX-License-Identifier: Apache-2.0
"""A unit's identity: its own key with proof of possession, a serial number, and the certificate that binds both.

Guards: the proof answers a challenge that was made just now; a unit that has an identity keeps it, and one whose
identity is not of a device CA that is trusted is refused; what the unit keeps is read back and compared.
Leaves to others: who gives numbers (`interfaces.ledger`) and who signs (`issue`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from assay.errors import DuplicateSerial, NotVerified, UnitFailed
from assay.formats import device_certificate
from assay.formats.device_certificate import DeviceCertificate, DeviceIdentity
from assay.interfaces.device import Device, DeviceInfo, KeyProof
from assay.interfaces.ledger import SerialNumbers
from assay.model.profile import Profile
from assay.model.trust import TrustFile

PROOF_PREFIX = b"assay-pop-v1\0"
CHALLENGE_BYTES = 32

Issue = Callable[[DeviceIdentity], bytes]
"""Makes the certificate (DER) of an identity."""


@dataclass(frozen=True)
class Identification:
    """What an identity is made with; `challenge` are 32 fresh random bytes, `wanted` the user's serial number."""

    profile: Profile
    trust: TrustFile
    numbers: SerialNumbers
    issue: Issue
    challenge: bytes
    wanted: str | None
    emulated: bool
    not_before: datetime


def make_identity(device: Device, info: DeviceInfo, using: Identification) -> tuple[DeviceCertificate, bool]:
    """The unit's certificate, verified, and whether it was made now."""
    proof = prove_possession(device, info.chip, using.challenge)
    if info.serial is not None:
        return _check_existing(device, info, proof, using), False
    serial = using.numbers.assign(info.chip, using.profile.serial, using.wanted)
    identity = DeviceIdentity(
        serial=serial,
        chip=info.chip,
        public_key=proof.public_key,
        organization=using.profile.certificate.organization,
        hardware_type_oid=using.profile.certificate.hardware_type_oid,
        emulated=using.emulated,
        not_before=using.not_before,
    )
    der = using.issue(identity)
    certificate = device_certificate.verify(der, using.trust)
    device.install_certificate(serial, der)
    kept = device.read_certificate()
    if (kept.serial, kept.der) != (serial, der):
        raise UnitFailed(
            f"the unit gives back another certificate than unit {serial} was given",
            remedy="its identity area is bad: take it out of production",
        )
    return certificate, True


def prove_possession(device: Device, chip: bytes, challenge: bytes) -> KeyProof:
    """The unit's key, and that it has the private part of it: Ed25519 over prefix, chip, challenge and key."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    proof = device.make_key(challenge)
    if proof.chip != chip:
        raise NotVerified(
            f"chip {proof.chip.hex()} offers a key, the unit on the place is chip {chip.hex()}",
            remedy="leave the unit on its place until it is provisioned",
        )
    signed = PROOF_PREFIX + chip + challenge + proof.public_key
    try:
        Ed25519PublicKey.from_public_bytes(proof.public_key).verify(proof.proof, signed)
    except (InvalidSignature, ValueError) as error:
        raise NotVerified(
            f"chip {chip.hex()} does not prove that it has the key that it offers",
            remedy="its firmware is not the one that the factory wrote, or its identity area is bad",
        ) from error
    return proof


def _check_existing(device: Device, info: DeviceInfo, proof: KeyProof, using: Identification) -> DeviceCertificate:
    kept = device.read_certificate()
    certificate = device_certificate.verify(kept.der, using.trust)
    if (certificate.chip, certificate.public_key) != (info.chip, proof.public_key):
        raise NotVerified(
            f"the unit keeps the certificate of another chip or key (serial number {certificate.serial})",
            remedy="its identity was copied from another unit: find out how",
        )
    if not certificate.serial == kept.serial == info.serial:
        raise NotVerified(
            f"the unit says that it is {info.serial}, its certificate says {certificate.serial}",
            remedy="its identity was changed: find out how",
        )
    if using.wanted not in (None, certificate.serial):
        raise DuplicateSerial(
            f"the unit is {certificate.serial} already and cannot become {using.wanted}",
            remedy="leave --serial out; an identity is never replaced",
        )
    using.numbers.adopt(info.chip, certificate.serial, "device")
    return certificate
