# SPDX-License-Identifier: Apache-2.0
"""Archive stamps: bundles by key and by certificate outlive the services that vouch for them; `openssl ts` agrees."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.serialization import Encoding
from keyless_bench import identity, services, sign_keyless, statement, trust_file
from memory_signer import MemorySigner
from rfc3161_client import HashAlgorithm, TimestampRequestBuilder

from assay.backends.logs.rekor_client import services_of
from assay.cli.main import main
from assay.errors import NotVerified
from assay.formats.archive_stamp import archive_times, stamped_bytes
from assay.formats.statement_verifier import verify_statement
from assay.model.signer_limits import Threshold
from assay.model.statement import PredicateType
from assay.model.trust import Role, TrustFile
from assay.pipeline.log_submit import log_bundle
from assay.pipeline.trust_file import write_trust
from assay.simulation.sigstore_lab.lab import SigstoreLab


@pytest.fixture(scope="module")
def labs() -> Iterator[tuple[SigstoreLab, SigstoreLab]]:
    """The services that certified, and those of years later."""
    with SigstoreLab() as old, SigstoreLab() as new:
        yield old, new


@pytest.fixture(scope="module")
def keyless(labs: tuple[SigstoreLab, SigstoreLab]) -> bytes:
    return sign_keyless(labs[0], statement())


def trusting(
    labs: tuple[SigstoreLab, SigstoreLab], until: datetime | None, new_until: datetime | None = None
) -> TrustFile:
    old, new = labs
    both = (
        services(old).model_copy(update={"valid_until": until}),
        services(new, "later").model_copy(update={"valid_until": new_until}),
    )
    return trust_file(old, identity(old), sigstore=both)


def stamp(lab: SigstoreLab, data: bytes, *earlier: bytes) -> bytes:
    builder = TimestampRequestBuilder().hash_algorithm(HashAlgorithm.SHA256).data(stamped_bytes(data, earlier))
    return lab.stamper.answer(builder.build().as_bytes())


def written(
    folder: Path, labs: tuple[SigstoreLab, SigstoreLab], keyless: bytes, **changes: object
) -> tuple[Path, Path, Path]:
    """The bundle, the configuration of the services of years later, and a trust file for both, with `changes`."""
    file, config, trust = folder / "a.sigstore.json", folder / "config.json", folder / "trust.toml"
    file.write_bytes(keyless)
    config.write_text(json.dumps(labs[1].trust_config))
    write_trust(trust, trusting(labs, None).model_copy(update=changes), replace=False)
    return file, config, trust


def assay(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_a_keyless_bundle_outlives_its_services(
    tmp_path: Path, labs: tuple[SigstoreLab, SigstoreLab], keyless: bytes
) -> None:
    """By the verbs: stamped while its services count, verified when they do no more; and not without the stamp."""
    file, config, trust = written(tmp_path, labs, keyless)
    done = assay("log", "stamp", file, "--trust", trust, "--trust-config", config, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["stamps"][0]["file"] == f"{file}.1.tsr"
    later = tmp_path / "later.toml"
    write_trust(later, trusting(labs, datetime.now(UTC) + timedelta(seconds=5)), replace=False)
    good = assay("verify", file, "--trust", later, "--at", "2036-01-01T00:00:00Z")
    assert good.exit_code == 0, good.output
    assert "was there at" in good.stdout
    moved = tmp_path / "alone.sigstore.json"
    moved.write_bytes(keyless)
    refused = assay("verify", moved, "--trust", later)
    assert (refused.exit_code, "no archive stamp of others" in refused.output) == (4, True)
    write_trust(later, trusting(labs, datetime.now(UTC) - timedelta(days=1)), replace=True)
    assert assay("verify", file, "--trust", later).exit_code == 4  # it was stamped too late
    assert assay("log", "stamp", file, "--trust", later, "--trust-config", config).exit_code == 4
    assert not Path(f"{file}.2.tsr").exists()
    shutil.copy(f"{file}.1.tsr", f"{file}.2.tsr")
    assert assay("verify", file, "--trust", trust).exit_code == 4
    config.write_text("{}")
    assert assay("log", "stamp", file, "--trust", trust, "--trust-config", config).exit_code == 2


def test_stamps_that_gates_have_are_not_replaced(
    tmp_path: Path, labs: tuple[SigstoreLab, SigstoreLab], keyless: bytes
) -> None:
    """A copy without its stamps begins no second chain in the place of the first; with them it goes on."""
    file, config, trust = written(tmp_path, labs, keyless)
    copy = tmp_path / "elsewhere" / "copy.json"
    copy.parent.mkdir()
    copy.write_bytes(keyless)
    words = ("--trust", trust, "--trust-config", config)
    assert assay("log", "stamp", file, *words).exit_code == 0
    kept = {each: each.read_bytes() for each in (tmp_path / "stamps").glob("*.tsr")}
    refused = assay("log", "stamp", copy, *words)
    assert (refused.exit_code, "no stamp is replaced" in refused.output) == (4, True), refused.output
    assert kept == {each: each.read_bytes() for each in (tmp_path / "stamps").glob("*.tsr")}
    assert not Path(f"{copy}.1.tsr").exists()
    shutil.copy(f"{file}.1.tsr", f"{copy}.1.tsr")
    assert assay("log", "stamp", copy, *words).exit_code == 0
    found = {each: each.read_bytes() for each in (tmp_path / "stamps").glob("*.tsr")}
    assert len(found) == 2 and found.items() > kept.items()


def test_one_of_several_statements_is_stamped(
    tmp_path: Path, labs: tuple[SigstoreLab, SigstoreLab], keyless: bytes
) -> None:
    """A trust file that wants two signers refuses one alone; it is stamped all the same, to be counted later."""
    two = Threshold(predicate_type=PredicateType.RELEASE, count=2)
    keys = (MemorySigner().public_key(Role.BUILDER),)
    file, config, trust = written(tmp_path, labs, keyless, thresholds=(two,), keys=keys)
    assert assay("verify", file, "--trust", trust).exit_code == 4
    done = assay("log", "stamp", file, "--trust", trust, "--trust-config", config)
    assert done.exit_code == 0, done.output


def test_a_logged_bundle_by_key_outlives_its_log(labs: tuple[SigstoreLab, SigstoreLab]) -> None:
    """A key that needs a log needs that its entry was there while the log counted; without a log it is not asked."""
    signer, past = MemorySigner(), datetime.now(UTC) - timedelta(days=1)
    plain = signer.sign_statement(Role.BUILDER, statement())
    config = labs[0].trust_config
    root = json.dumps(labs[0].trusted_root)
    logged, _ = log_bundle(plain, signer.public_key(Role.BUILDER), services_of(config), root)
    key = signer.public_key(Role.BUILDER).model_copy(update={"sigstore": "lab", "log_required": True})
    trust = trusting(labs, past).model_copy(update={"keys": (key,), "identities": ()})
    digest = hashlib.sha256(logged).hexdigest()
    kinds = {PredicateType.RELEASE}
    for existed in ({}, {digest: past + timedelta(hours=1)}, {hashlib.sha256(plain).hexdigest(): past}):
        with pytest.raises(NotVerified, match="no archive stamp of others"):
            verify_statement(logged, trust, role=Role.BUILDER, predicate_types=kinds, existed=existed)
    verify_statement(logged, trust, role=Role.BUILDER, predicate_types=kinds, existed={digest: past})
    free = trust.model_copy(update={"keys": (key.model_copy(update={"sigstore": None, "log_required": False}),)})
    verify_statement(logged, free, role=Role.BUILDER, predicate_types=kinds)


def test_a_chain_of_stamps(labs: tuple[SigstoreLab, SigstoreLab], keyless: bytes) -> None:
    """The second one covers the first; an authority that ends is covered by the one after it, and by no other."""
    old, new = labs
    first = stamp(old, keyless)
    second = stamp(new, keyless, first)
    soon, past = datetime.now(UTC) + timedelta(minutes=1), datetime.now(UTC) - timedelta(days=1)
    assert len(archive_times(keyless, (first, second), trusting(labs, soon))) == 2
    assert len(archive_times(keyless, (first,), trusting(labs, soon))) == 0
    assert len(archive_times(keyless, (first, second), trusting(labs, past))) == 1
    assert len(archive_times(keyless, (first, second), trusting(labs, past, past))) == 0
    for stamps in ((second,), (second, first), (first, stamp(new, keyless)), (first[:-1],), (b"",)):
        with pytest.raises(NotVerified):
            archive_times(keyless, stamps, trusting(labs, soon))
    with pytest.raises(NotVerified):
        archive_times(keyless + b" ", (first, second), trusting(labs, soon))
    strangers = trusting(labs, soon).model_copy(update={"sigstore": (services(old),)})
    with pytest.raises(NotVerified, match="archive stamp 2 is not over this file"):
        archive_times(keyless, (first, second), strangers)
    strict = trusting(labs, soon).model_copy(update={"allow_development": False})
    with pytest.raises(NotVerified):
        archive_times(keyless, (first,), strict)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_verifies_archive_stamps(tmp_path: Path, labs: tuple[SigstoreLab, SigstoreLab], keyless: bytes) -> None:
    first = stamp(labs[1], keyless)
    second = stamp(labs[1], keyless, first)
    (tmp_path / "root.pem").write_bytes(labs[1].stamper.root.certificate.public_bytes(Encoding.PEM))

    def verified(token: bytes, data: bytes) -> bool:
        (tmp_path / "data").write_bytes(data)
        (tmp_path / "token.tsr").write_bytes(token)
        words = ["openssl", "ts", "-verify", "-in", "token.tsr", "-data", "data", "-CAfile", "root.pem"]
        return subprocess.run(words, cwd=tmp_path, capture_output=True, check=False).returncode == 0

    assert verified(first, keyless)
    assert verified(second, keyless + first)
    assert not verified(second, keyless)
    assert not verified(first, keyless + b"x")
