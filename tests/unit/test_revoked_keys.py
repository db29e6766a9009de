# SPDX-License-Identifier: Apache-2.0
"""`revoked` counts for every kind of key, and a limit that would limit nothing is told when the file is read."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from device_authority import Authority
from image_sample import by_hand, image_key, trust
from keyless_bench import WHO, identity, services, sign_keyless, statement
from keyless_bench import trust_file as trust_at
from memory_signer import MemorySigner, trust_in

from assay.errors import NotVerified, UsageFault
from assay.formats import device_certificate, trust_file
from assay.formats.mcuboot_image import verify_image
from assay.formats.statement_verifier import verify_statement
from assay.model.signer_limits import Threshold
from assay.model.statement import PredicateType
from assay.model.trust import Role, TrustFile
from assay.pipeline.trust_file import write_trust
from assay.simulation.sigstore_lab.lab import SigstoreLab


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


def test_an_identity_that_is_revoked_in_another_line() -> None:
    """A pattern lets everybody of a project sign, one line revokes one of them: by name, by pattern, for another role,
    with other services.
    """
    pattern = WHO.replace("release.yml", "*")
    with SigstoreLab() as lab:
        bundle = sign_keyless(lab, statement())
        other = sign_keyless(lab, statement(), WHO.replace("release.yml", "nightly.yml"))
        good = identity(lab, san=None, san_pattern=pattern)
        gone: list[dict[str, Any]] = [
            {"san": WHO},
            {"san": WHO, "role": Role.BENCH},
            {"san": WHO, "sigstore": "other"},
            {"san": None, "san_pattern": WHO.replace("release.yml", "rel*")},
        ]
        for change in gone:
            line = identity(lab, name="gone", revoked=True, **change)
            for lines in ((good, line), (line, good)):
                trusted = trust_at(lab, *lines, sigstore=(services(lab), services(lab, "other")))
                assert verify_statement(other, trusted, role=Role.BUILDER, predicate_types={PredicateType.RELEASE})
                with pytest.raises(NotVerified, match="is revoked"):
                    verify_statement(bundle, trusted, role=Role.BUILDER, predicate_types={PredicateType.RELEASE})
        stranger = identity(lab, name="gone", revoked=True, issuer="https://other.example")
        trusted = trust_at(lab, good, stranger)
        assert verify_statement(bundle, trusted, role=Role.BUILDER, predicate_types={PredicateType.RELEASE})


def test_who_is_revoked_in_another_line_meets_no_threshold() -> None:
    with SigstoreLab() as lab:
        mine, gone = identity(lab), identity(lab, name="gone", role=Role.BENCH, revoked=True)
        two = (Threshold(predicate_type=PredicateType.RELEASE.value, count=2),)
        faults = trust_file.faults(
            trust_at(lab, mine, identity(lab, name="two", san="https://b.example/x"), gone, thresholds=two)
        )
        assert [text for _, text in faults] == [
            "expected at least 2 signers that may make these statements, there are 1"
        ]


def test_a_trust_file_that_nobody_would_read_is_not_written(tmp_path: Path) -> None:
    """`assay keys use` can give one key to two roles."""
    signer = MemorySigner()
    key = signer.public_key(Role.BUILDER)
    both = (key, key.model_copy(update={"role": Role.STATION, "builder_ids": ()}))
    with pytest.raises(UsageFault, match="has one role"):
        write_trust(tmp_path / "trust.toml", trust_in(signer).model_copy(update={"keys": both}), replace=False)
    assert list(tmp_path.iterdir()) == []


def test_a_signer_has_one_line() -> None:
    """Else the first line takes the limits of the second away."""
    signer = MemorySigner()
    key = signer.public_key(Role.BUILDER)
    limited = key.model_copy(update={"name": "again", "modules": ("blinky",)})
    station = key.model_copy(update={"role": Role.STATION, "builder_ids": ()})
    for second, where, what in ((limited, "keyid", "is there twice"), (station, "role", "as a builder key, and has")):
        faults = trust_file.faults(trust_in(signer).model_copy(update={"keys": (key, second)}))
        assert [path for path, _ in faults] == [("keys", 1, where)] and what in faults[0][1]
    assert not trust_file.faults(trust_in(signer))
    with SigstoreLab() as lab:
        mine, again = identity(lab), identity(lab, name="again", modules=("blinky",))
        assert [path for path, _ in trust_file.faults(trust_at(lab, mine, again))] == [("identities", 1, "name")]
        assert not trust_file.faults(trust_at(lab, mine, identity(lab, role=Role.BENCH)))
