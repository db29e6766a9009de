# SPDX-License-Identifier: Apache-2.0
"""Evidence of a real unit: verified at the port, and again from its record, and refused when anything is foreign."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

import pytest
from life_site import APP, ROOT, LifeSite, environment, unit_site

from assay.errors import NotVerified
from assay.model.predicates import EvidenceRecord
from assay.pipeline.trust_file import load_trust
from assay.stages.field.evidence import verify_evidence

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def site(tmp_path: Path) -> LifeSite:
    return unit_site("ast1030-evb", tmp_path / "site")


def payload(site: LifeSite, sha256: str) -> bytes:
    bundle = json.loads((site.folder / "records" / f"{sha256}.json").read_text())
    return base64.b64decode(bundle["dsseEnvelope"]["payload"])


def test_a_unit_proves_what_it_runs_and_the_record_verifies_offline(site: LifeSite) -> None:
    told = site.good("evidence", "--place", "a", "--trust", site.trust)
    assert (told["name"], told["version"], told["serial"]) == (APP, "1.0.0", "DEMO-000001")
    provisioned = next(e for e in site.good("log", "show")["entries"] if e["type"] == "provisioning")
    certificate = base64.b64decode(json.loads(payload(site, provisioned["record"]))["predicate"]["certificate_base64"])
    record = EvidenceRecord.model_validate_json(json.dumps(json.loads(payload(site, told["record"]))["predicate"]))
    trust = load_trust(site.trust)
    assert verify_evidence(record, certificate, trust).claims.version == "1.0.0"
    with pytest.raises(NotVerified):
        verify_evidence(record.model_copy(update={"bootloader_hash": "0" * 64}), certificate, trust)
    assert record.run.checkpoint.count("\n") >= 4, "the checkpoint is kept whole"


def test_what_keeps_evidence_from_being_worth_more_is_no_verified_fact(site: LifeSite) -> None:
    told = site.good("evidence", "--place", "a", "--trust", site.trust)
    assert len(told["cautions"]) == 2
    assert not any("emulated" in check["what"] or "nothing" in check["what"] for check in told["checks"])
    line = site.command("evidence", "--place", "a", "--trust", site.trust)[:-1]
    done = subprocess.run(line, capture_output=True, text=True, check=True, cwd=ROOT, env=environment())
    cautions = [line for line in done.stdout.splitlines() if line.startswith("  caution:  ")]
    assert len(cautions) == 2
    assert not any("emulated" in line or "nothing" in line for line in done.stdout.splitlines() if "verified:" in line)
    assert "a: this twin is off; it is started for this command" in done.stderr


def test_two_questions_have_two_nonces(site: LifeSite) -> None:
    first, second = (site.good("evidence", "--place", "a", "--trust", site.trust)["nonce"] for _ in range(2))
    assert first != second


def test_a_device_ca_that_is_not_trusted_is_refused(site: LifeSite, tmp_path: Path) -> None:
    trust = tmp_path / "other.toml"
    LifeSite(tmp_path / "other", site.board).good(
        "keys", "trust", "--out", trust, "--name", "other", "--allow-development", "--allow-emulated"
    )
    told = site.verb("evidence", "--place", "a", "--trust", trust)
    assert (told.status, "device CA" in told.data["error"]) == (4, True), told.said


def test_a_blank_chip_has_no_evidence(site: LifeSite) -> None:
    site.twin("blank")
    told = site.verb("evidence", "--place", "blank", "--trust", site.trust)
    assert told.status == 4, told.said
