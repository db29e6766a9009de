# SPDX-License-Identifier: Apache-2.0
"""`revoked` counts for every kind of key, and a limit that would limit nothing is told when the file is read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from device_authority import Authority
from image_sample import by_hand, image_key, trust
from keyless_bench import statement
from memory_signer import MemorySigner, trust_in

from assay.errors import NotVerified
from assay.formats import device_certificate, trust_file
from assay.formats.mcuboot_image import verify_image
from assay.formats.statement_verifier import verify_statement
from assay.model.statement import PredicateType
from assay.model.trust import Role, TrustFile


def revoked(trusted: TrustFile, role: Role) -> TrustFile:
    keys = tuple(key.model_copy(update={"revoked": True}) if key.role is role else key for key in trusted.keys)
    return trusted.model_copy(update={"keys": keys})


def test_an_image_by_a_revoked_key() -> None:
    assert verify_image(by_hand(), trust(image_key())).key == image_key()
    with pytest.raises(NotVerified, match=r"which is revoked in 'test'"):
        verify_image(by_hand(), revoked(trust(image_key()), Role.IMAGE))
    assert revoked(trust(image_key()), Role.IMAGE).keys_for(Role.IMAGE) == ()  # none that a bootloader may hold


def test_a_device_certificate_by_a_revoked_authority() -> None:
    authority = Authority()
    der = authority.issue()
    assert device_certificate.verify(der, authority.trust())
    with pytest.raises(NotVerified, match="no device CA of trust file"):
        device_certificate.verify(der, revoked(authority.trust(), Role.DEVICE_CA))


def test_a_key_that_is_revoked_under_another_name() -> None:
    """Whoever adds a line that revokes a key means the key, and not the line."""
    signer = MemorySigner()
    key, bundle = signer.public_key(Role.BUILDER), signer.sign_statement(Role.BUILDER, statement())
    twice = (key, key.model_copy(update={"name": "stolen", "revoked": True}))
    trusted = trust_in(signer).model_copy(update={"keys": twice})
    with pytest.raises(NotVerified, match="is revoked"):
        verify_statement(bundle, trusted, role=Role.BUILDER, predicate_types={PredicateType.RELEASE})


@pytest.mark.parametrize("limit", [{"valid_until": datetime(2026, 6, 1, tzinfo=UTC)}, {"modules": ("blinky",)}])
@pytest.mark.parametrize("role", [Role.IMAGE, Role.DEVICE_CA])
def test_limits_that_nothing_is_held_against_are_refused(role: Role, limit: dict[str, Any]) -> None:
    signer = MemorySigner()
    key = signer.public_key(role)
    assert not trust_file.faults(trust_in(signer).model_copy(update={"keys": (key,)}))
    faults = trust_file.faults(trust_in(signer).model_copy(update={"keys": (key.model_copy(update=limit),)}))
    assert faults == [
        (
            ("keys", 0, next(iter(limit))),
            f"a {role} key signs no statements, and this would limit nothing; `revoked` does",
        )
    ]
