# SPDX-License-Identifier: Apache-2.0
"""What a keyless builder signed by key while the services were away, and statements of before: logged later."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from keyless_bench import WHO, services, trust_file
from keyless_site import KIND, PAYLOAD, here, lab, make_site, queueing
from memory_signer import MemorySigner
from published_release import Published

from assay.backends.clocks.system_clock import SystemClock
from assay.backends.signers.keyless import KeylessSigners
from assay.cli.keys import command as keys
from assay.cli.log import command as log
from assay.errors import NotVerified
from assay.formats.statement_verifier import verify_statement
from assay.model.policy import Point
from assay.model.statement import PredicateType
from assay.model.trust import Role, TrustFile
from assay.pipeline.log_submit import enqueue, submit_waiting
from assay.pipeline.policy_facts import facts_of
from assay.pipeline.publishing import publish_signed
from assay.pipeline.site import Site
from assay.simulation.sigstore_lab.lab import SigstoreLab

__all__ = ["here", "lab"]


@pytest.mark.usefixtures("here")
def test_signed_by_key_while_the_log_is_away_and_logged_later(tmp_path: Path, lab: SigstoreLab) -> None:
    site = make_site(tmp_path, lab, "--queue")
    signers = queueing(tmp_path)
    lab.out_of_order = {"/": 503}
    try:
        bundle = signers.sign_statement(Role.BUILDER, PAYLOAD)
        still = CliRunner().invoke(log, ["submit", "--json", *site])
        assert still.exit_code == 3 and "still waits" not in still.stdout
    finally:
        lab.out_of_order = {}
    assert len(signers.queue.waiting()) == 1
    listed = CliRunner().invoke(keys, ["list", *site])
    assert f"builder    signs keyless, as {WHO} (by {lab.url}); its key signs what is logged later" in listed.stdout
    assert json.loads(CliRunner().invoke(keys, ["list", "--json", *site]).stdout)["keyless"]["identity"] == WHO
    key = signers.public_key(Role.BUILDER)
    wanted = key.model_copy(update={"sigstore": "lab", "log_required": True})
    trust = trust_file(lab, identities=(), keys=(wanted,), sigstore=(services(lab),))
    with pytest.raises(NotVerified, match="is not in the log"):
        verify_statement(bundle, trust, role=Role.BUILDER, predicate_types={KIND})
    done = CliRunner().invoke(log, ["submit", "--json", *site])
    assert done.exit_code == 0, done.output
    file = Path(json.loads(done.stdout)["logged"][0]["file"])
    found = verify_statement(file.read_bytes(), trust, role=Role.BUILDER, predicate_types={KIND})
    assert found.place is not None and found.time is not None and found.payload == PAYLOAD
    assert not signers.queue.waiting()
    assert CliRunner().invoke(log, ["submit", *site]).stdout == "nothing waits for the log\n"


@pytest.mark.usefixtures("here")
def test_what_waits_is_logged_although_the_builder_has_another_key_since(tmp_path: Path, lab: SigstoreLab) -> None:
    """The key that signed is kept with what waits; else a trust file has it. A key that is not the one is none."""
    make_site(tmp_path, lab, "--queue")
    signers = queueing(tmp_path)
    lab.out_of_order = {"/": 503}
    try:
        signers.sign_statement(Role.BUILDER, PAYLOAD)
    finally:
        lab.out_of_order = {}
    old = signers.public_key(Role.BUILDER)
    new = KeylessSigners(MemorySigner(), Site(tmp_path / "site").keyless, tmp_path / "site", SystemClock())
    other = Site(tmp_path / "site")
    other.__dict__["signers"] = new
    assert new.public_key(Role.BUILDER).keyid != old.keyid
    kept = tmp_path / "site" / "log-queue" / "keys" / f"{old.keyid}.pem"
    kept.write_text(new.public_key(Role.BUILDER).public)
    for trust in (None, trust_file(lab, identities=(), keys=(new.public_key(Role.BUILDER),))):
        (waits,) = submit_waiting(other, trust)
        assert isinstance(waits.error, NotVerified) and "is not the site's" in waits.error.message
    kept.unlink()
    (logged,) = submit_waiting(other, trust_file(lab, identities=(), keys=(old,)))
    assert logged.error is None and logged.place is not None
    assert not new.queue.waiting()
    kept.write_text(old.public)
    enqueue(other, [logged.file.read_bytes()])
    (again,) = submit_waiting(other)
    assert again.error is None and again.place is not None


def test_statements_of_before_are_logged_too(tmp_path: Path, lab: SigstoreLab) -> None:
    """A key that is rotated out goes on to vouch for what carries a time stamp."""
    site = make_site(tmp_path, lab)
    keys_of_site = Site(tmp_path / "site").keys
    (tmp_path / "old.json").write_bytes(keys_of_site.sign_statement(Role.BUILDER, PAYLOAD))
    (tmp_path / "other.json").write_bytes(MemorySigner().sign_statement(Role.BUILDER, PAYLOAD))
    refused = CliRunner().invoke(log, ["submit", str(tmp_path / "old.json"), str(tmp_path / "other.json"), *site])
    assert refused.exit_code == 4 and "is not the site's" in refused.output
    assert not (tmp_path / "site" / "log-queue").exists()
    done = CliRunner().invoke(log, ["submit", "--json", str(tmp_path / "old.json"), *site])
    assert done.exit_code == 0, done.output
    logged = Path(json.loads(done.stdout)["logged"][0]["file"]).read_bytes()
    soon = datetime.now(UTC) + timedelta(minutes=1)
    rotated = keys_of_site.public_key(Role.BUILDER).model_copy(update={"sigstore": "lab", "valid_until": soon})
    trust = trust_file(lab, identities=(), keys=(rotated,), sigstore=(services(lab),))
    later = soon + timedelta(days=365)
    verify_statement(logged, trust, role=Role.BUILDER, predicate_types={KIND}, at=later)
    with pytest.raises(NotVerified, match="no time stamp says it is older"):
        verify_statement(
            (tmp_path / "old.json").read_bytes(), trust, role=Role.BUILDER, predicate_types={KIND}, at=later
        )


def test_a_release_that_was_logged_later_is_accepted_where_the_log_is_required(
    published: Published, lab: SigstoreLab
) -> None:
    """Signed by key; published before it was logged, and after: the copy in the store has both forms."""
    root = published.root
    site_words = make_site(root, lab)
    site = published.site = Site(root / "site")
    (builder,) = (key for key in published.trust().keys if key.role is Role.BUILDER)
    required = builder.model_copy(update={"sigstore": "lab", "log_required": True})
    others = tuple(key for key in published.trust().keys if key.role is not Role.BUILDER)
    strict = published.trust(identities=(), keys=(*others, required), sigstore=(services(lab),))
    with pytest.raises(NotVerified, match="is not in the log"):
        published.gate(strict)
    files = [str(file) for file in sorted(published.signed.glob("*.sigstore.json"))]
    done = CliRunner().invoke(log, ["submit", "--json", *files, *site_words])
    assert (done.exit_code, len(json.loads(done.stdout)["logged"])) == (0, 2), done.output
    _is_logged(published, strict)
    shutil.rmtree(root / "site" / "store")
    publish_signed(published.signed, site)
    _is_logged(published, strict)
    release = site.store.find("tiny", None, published.board.name)
    logged = site.store.attached(release, PredicateType.PROVENANCE.value)[-1]
    for noise in (logged.replace(b'"tlogEntries"', b'"tlogEntry"'), b"noise", PAYLOAD):  # stands in nobody's way
        site.store.attach(release, PredicateType.PROVENANCE.value, noise)
    _is_logged(published, strict)
    published.gate()


def _is_logged(published: Published, strict: TrustFile) -> None:
    """Gate and facts go by the forms that are logged."""
    image = published.gate(strict)
    told = "\n".join(check.what for check in image.checks)
    assert told.count("transparency log http://127.0.0.1:") == 2
    assert facts_of(published.site, strict, Point.FLASH, image, published.board).release.provenance is not None
