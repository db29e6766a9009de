# SPDX-License-Identifier: Apache-2.0
"""Our bundles in the hands of `@sigstore/verify`, the Sigstore project's verifier for JavaScript.

Runs where `npm install` was done in tests/interop (or in the folder that ASSAY_INTEROP_NODE names).
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from sigstore import dsse
from sigstore.models import ClientTrustConfig
from sigstore.oidc import IdentityToken
from sigstore.sign import SigningContext

from assay.backends.logs.rekor_client import services_of
from assay.backends.signers.service import SignerProcess
from assay.formats import canonical_json
from assay.model.statement import PredicateType, Statement, Subject
from assay.model.trust import Role
from assay.pipeline.log_submit import log_bundle
from assay.simulation.sigstore_lab.lab import SigstoreLab

HERE = Path(__file__).parent
NODE_FOLDER = Path(os.environ.get("ASSAY_INTEROP_NODE", HERE))

pytestmark = [
    pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed"),
    pytest.mark.skipif(
        not (NODE_FOLDER / "node_modules" / "@sigstore" / "verify").is_dir(),
        reason="@sigstore/verify is not installed: run `npm install` in tests/interop",
    ),
]


def _verify(key: Path, hint: str, bundle: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["node", HERE / "sigstore_verify.mjs", key, hint, bundle],
        env={**os.environ, "NODE_MODULES_PARENT": str(NODE_FOLDER)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("role", "kind"),
    [
        (Role.BUILDER, PredicateType.PROVENANCE),
        (Role.BENCH, PredicateType.TEST_RESULT),
        (Role.STATION, PredicateType.PROVISIONING),
        (Role.FIELD, PredicateType.UPDATE),
    ],
)
def test_bundle(tmp_path: Path, role: Role, kind: PredicateType) -> None:
    signers = SignerProcess(tmp_path / "keys")
    key = signers.public_key(role)
    subject = Subject(name="image ä", digest={"sha256": "ab" * 32})
    statement = Statement(subject=(subject,), predicateType=kind.value, predicate={"text": "€", "n": 2**53 - 1})
    bundle = signers.sign_statement(role, canonical_json.encode_value(statement))
    signers.close()
    (tmp_path / "key.pem").write_text(key.public)
    (tmp_path / "bundle.json").write_bytes(bundle)
    good = _verify(tmp_path / "key.pem", key.keyid, tmp_path / "bundle.json")
    assert good.returncode == 0, good.stdout + good.stderr
    document = json.loads(bundle)
    payload = base64.b64decode(document["dsseEnvelope"]["payload"]).replace(b"image", b"imagf")
    document["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    (tmp_path / "bundle.json").write_text(json.dumps(document))
    bad = _verify(tmp_path / "key.pem", key.keyid, tmp_path / "bundle.json")
    assert bad.returncode == 1
    assert "signature" in bad.stdout


def test_keyless_bundle_of_the_lab(tmp_path: Path) -> None:
    """Certificate, SCT, log entry, checkpoint and time stamp of the lab, by the JavaScript verifier."""
    who = "https://ci.example/release.yml@refs/heads/main"
    statement = Statement(
        subject=(Subject(name="image", digest={"sha256": "ab" * 32}),),
        predicateType=PredicateType.PROVENANCE.value,
        predicate={"n": 1},
    )
    with SigstoreLab() as lab:
        config = ClientTrustConfig.from_json(json.dumps(lab.trust_config))
        with SigningContext.from_trust_config(config).signer(IdentityToken(lab.provider.token(who))) as signer:
            bundle = signer.sign_dsse(dsse.Statement(canonical_json.encode_value(statement)))
    (tmp_path / "root.json").write_text(json.dumps(lab.trusted_root))
    (tmp_path / "bundle.json").write_text(bundle.to_json())

    def verify(identity: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["node", HERE / "sigstore_verify.mjs", "--root", "root.json", identity, "bundle.json"],
            cwd=tmp_path,
            env={**os.environ, "NODE_MODULES_PARENT": str(NODE_FOLDER)},
            capture_output=True,
            text=True,
            check=False,
        )

    good = verify(who)
    assert good.returncode == 0, good.stdout + good.stderr
    other = verify("https://ci.example/other.yml")
    assert other.returncode == 1 and "identity" in other.stdout


def test_bundle_by_key_that_was_logged_later(tmp_path: Path) -> None:
    """An entry of Rekor v2 and a time stamp around a signature by key, by the JavaScript verifier."""
    signers = SignerProcess(tmp_path / "keys")
    key = signers.public_key(Role.BUILDER)
    subject = Subject(name="image", digest={"sha256": "ab" * 32})
    statement = Statement(subject=(subject,), predicateType=PredicateType.PROVENANCE.value, predicate={"n": 1})
    bundle = signers.sign_statement(Role.BUILDER, canonical_json.encode_value(statement))
    signers.close()
    with SigstoreLab() as lab:
        root = json.dumps(lab.trusted_root)
        logged, _ = log_bundle(bundle, key, services_of(lab.trust_config), root)
    (tmp_path / "root.json").write_text(root)
    (tmp_path / "key.pem").write_text(key.public)

    def verify(data: bytes) -> subprocess.CompletedProcess[str]:
        (tmp_path / "bundle.json").write_bytes(data)
        line = ["node", HERE / "sigstore_verify.mjs", "--logged", "root.json", "key.pem", "bundle.json"]
        environment = {**os.environ, "NODE_MODULES_PARENT": str(NODE_FOLDER)}
        return subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    good = verify(logged)
    assert good.returncode == 0, good.stdout + good.stderr
    assert verify(bundle).returncode == 1
