# SPDX-License-Identifier: Apache-2.0
"""The contract of the public conformance suite for Sigstore clients, with its order of arguments."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sigstore as sigstore_client
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from keyless_bench import WHO, statement
from memory_signer import MemorySigner
from sigstore.models import ClientTrustConfig

from assay.conformance import sigstore
from assay.formats import artifact_signature, canonical_json, dsse, log_entry_proof, merkle, public_key, sigstore_bundle
from assay.formats.checkpoint import Checkpoint
from assay.formats.log_entry_proof import LoggedSignature
from assay.formats.time_stamps import proved_times
from assay.formats.trusted_root import read as read_root
from assay.model.trust import Role
from assay.simulation.sigstore_lab.lab import SigstoreLab

ARTIFACT = b"the artifact\n"
DIGEST = hashlib.sha256(ARTIFACT)
STATEMENT = statement(sha256=DIGEST.hexdigest())


@pytest.fixture(scope="module")
def lab() -> Iterator[SigstoreLab]:
    with SigstoreLab() as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path, lab: SigstoreLab, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_bytes(ARTIFACT)
    (tmp_path / "statement.json").write_bytes(STATEMENT)
    (tmp_path / "root.json").write_text(json.dumps(lab.trusted_root))
    (tmp_path / "signing.json").write_text(json.dumps(lab.signing_config))
    return tmp_path


def _sign(lab: SigstoreLab, *kind: str, artifact: str = "a.txt", bundle: str = "bundle.json") -> int:
    words = ["sign-bundle", *kind, "--identity-token", lab.provider.token(WHO), "--bundle", bundle]
    return sigstore.main([*words, "--trusted-root", "root.json", "--signing-config", "signing.json", artifact])


def _verify(lab: SigstoreLab, artifact: str = "a.txt", who: str = WHO, issuer: str | None = None) -> int:
    words = ["verify-bundle", "--bundle", "bundle.json", "--certificate-identity", who]
    words += ["--certificate-oidc-issuer", issuer or lab.url, "--trusted-root", "root.json"]
    return sigstore.main([*words, artifact])


def _change(path: Path, change: Any) -> None:
    document = json.loads(path.read_bytes())
    change(document)
    path.write_text(json.dumps(document))


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("kind", "artifact"), [((), "a.txt"), (("--in-toto",), "statement.json")])
def test_what_is_signed_verifies(lab: SigstoreLab, kind: tuple[str, ...], artifact: str) -> None:
    assert _sign(lab, *kind, artifact=artifact) == 0
    assert _verify(lab) == 0
    assert _verify(lab, f"sha256:{DIGEST.hexdigest()}") == 0
    assert _verify(lab, f"sha256:{'0' * 64}") != 0
    for spelled in ("sha256:00", f"sha256: {DIGEST.hexdigest()}", DIGEST.hexdigest(), f"sha512:{DIGEST.hexdigest()}"):
        assert _verify(lab, spelled) == 2, spelled
    assert _verify(lab, who="https://ci.example/other") != 0
    assert _verify(lab, issuer="https://accounts.example") != 0
    Path("a.txt").write_bytes(b"another artifact")
    assert _verify(lab) != 0


@pytest.mark.parametrize("given", [(), ("--trusted-root", "root.json"), ("--signing-config", "signing.json")])
@pytest.mark.parametrize("staging", [(), ("--staging",)])
def test_what_is_not_given_is_that_of_the_public_services(
    lab: SigstoreLab, folder: Path, monkeypatch: pytest.MonkeyPatch, given: tuple[str, ...], staging: tuple[str, ...]
) -> None:
    """The public services are another lab here where their part must not be used; they note who is asked."""
    asked: list[str] = []
    with SigstoreLab() as other:
        public = lab.trust_config | {
            **({"trustedRoot": other.trusted_root} if "--trusted-root" in given else {}),
            **({"signingConfig": other.signing_config} if "--signing-config" in given else {}),
        }

        def say(name: str) -> ClientTrustConfig:
            asked.append(name)
            return ClientTrustConfig.from_json(json.dumps(public))

        for name in ("production", "staging"):
            monkeypatch.setattr(ClientTrustConfig, name, lambda name=name: say(name))
        words = ["--identity-token", lab.provider.token(WHO), "--bundle", "bundle.json"]
        assert sigstore.main(["sign-bundle", *staging, *words, *given, "a.txt"]) == 0
    assert asked == ["staging" if staging else "production"]
    who = ["--certificate-identity", WHO, "--certificate-oidc-issuer", lab.url]
    verified = sigstore.main(["verify-bundle", *staging, "--bundle", "bundle.json", *who, "a.txt"])
    assert (verified, asked) == (4 if "--trusted-root" in given else 0, asked[:1] * 2)
    assert _verify(lab) == 0


@pytest.mark.usefixtures("folder")
def test_a_digest_that_is_the_name_of_a_file(lab: SigstoreLab) -> None:
    assert _sign(lab) == 0
    named = f"sha256:{'0' * 64}"
    Path(named).write_bytes(ARTIFACT)
    assert _verify(lab, named) == 0


@pytest.mark.parametrize("kind", [(), ("--in-toto",)])
def test_changed_bundles(lab: SigstoreLab, folder: Path, kind: tuple[str, ...]) -> None:
    assert _sign(lab, *kind, artifact="statement.json" if kind else "a.txt") == 0
    good = (folder / "bundle.json").read_bytes()
    changes = {
        "no entry": lambda it: it["verificationMaterial"].update(tlogEntries=[]),
        "no stamp": lambda it: it["verificationMaterial"].pop("timestampVerificationData"),
        "no material": lambda it: it.pop("verificationMaterial"),
        "a key instead": lambda it: it.update(verificationMaterial={"publicKey": {"hint": "x"}}),
        "another kind": lambda it: it.update(mediaType="application/vnd.dev.sigstore.bundle.v0.9+json"),
        "unknown": lambda it: it.update(more=1),
    }
    for what, change in changes.items():
        (folder / "bundle.json").write_bytes(good)
        _change(folder / "bundle.json", change)
        assert _verify(lab) != 0, what
    (folder / "bundle.json").write_bytes(b"{")
    assert _verify(lab) != 0


def _key_bundle(folder: Path, key: ec.EllipticCurvePrivateKey) -> None:
    """A signature over the file, by key and in no log, as the suite's managed-key cases have it."""
    signature = key.sign(ARTIFACT, ec.ECDSA(SHA256()))
    document = {
        "mediaType": sigstore_bundle.MEDIA_TYPE,
        "verificationMaterial": {"publicKey": {"hint": "x"}},
        "messageSignature": {
            "messageDigest": {"algorithm": "SHA2_256", "digest": dsse.encode_base64(DIGEST.digest())},
            "signature": dsse.encode_base64(signature),
        },
    }
    (folder / "bundle.json").write_text(json.dumps(document))
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / "key.pub").write_bytes(pem)


@pytest.mark.parametrize("what", ["file", "statement", "logged"])
def test_managed_keys(lab: SigstoreLab, folder: Path, what: str) -> None:
    words = ["verify-bundle", "--bundle", "bundle.json", "--key", "key.pub"]
    if what == "file":
        _key_bundle(folder, ec.generate_private_key(ec.SECP256R1()))
    else:
        signer = MemorySigner()
        bundle, key = signer.sign_statement(Role.BUILDER, STATEMENT), signer.public_key(Role.BUILDER)
        if what == "logged":
            from assay.backends.logs.rekor_client import services_of
            from assay.pipeline.log_submit import log_bundle

            bundle, _ = log_bundle(bundle, key, services_of(lab.trust_config), json.dumps(lab.trusted_root))
        (folder / "bundle.json").write_bytes(bundle)
        (folder / "key.pub").write_text(key.public)
    rooted = ["--trusted-root", "root.json"]
    assert sigstore.main([*words, *rooted, "a.txt"]) == 0
    assert (sigstore.main([*words, "a.txt"]) == 0) is (what != "logged")
    assert sigstore.main([*words, *rooted, f"sha256:{'0' * 64}"]) != 0
    both = ["--certificate-identity", WHO, "--certificate-oidc-issuer", lab.url]
    assert sigstore.main([*words, *both, *rooted, "a.txt"]) != 0
    (folder / "root.json").write_text('{"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1"}')
    assert (sigstore.main([*words, *rooted, "a.txt"]) == 0) is (what != "logged")
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    (folder / "key.pub").write_bytes(other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    assert sigstore.main([*words, "a.txt"]) != 0


def test_a_root_whose_log_has_no_beginning(lab: SigstoreLab, folder: Path) -> None:
    assert _sign(lab) == 0
    _change(folder / "root.json", lambda it: it["tlogs"][0]["publicKey"]["validFor"].pop("start"))
    assert _verify(lab) != 0


@pytest.mark.parametrize("kind", [(), ("--in-toto",)])
def test_the_last_moment_of_an_authority_counts(lab: SigstoreLab, folder: Path, kind: tuple[str, ...]) -> None:
    """A `TimeRange` is closed; the client by itself refuses a stamp of just its end."""
    assert _sign(lab, *kind, artifact="statement.json" if kind else "a.txt") == 0
    signed = artifact_signature.read((folder / "bundle.json").read_bytes(), DIGEST.digest())
    (stamped,) = proved_times(signed.stamps, signed.signature, read_root((folder / "root.json").read_text()))
    for late, status in ((timedelta(0), 0), (timedelta.resolution, 4), (timedelta(seconds=1), 4)):
        end = (stamped.when - late).isoformat()
        _change(folder / "root.json", lambda it, end=end: it["timestampAuthorities"][0]["validFor"].update(end=end))
        assert _verify(lab) == status


@pytest.mark.parametrize("kind", ["hashedrekord", "dsse", "intoto"])
def test_entries_of_rekor_v1(kind: str) -> None:
    """A log of one entry, by an ECDSA key, as a Rekor v1 has it; each kind of body that it has for a key."""
    log, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    signature = key.sign(b"signed", ec.ECDSA(SHA256()))
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    payload = b"payload" if kind != "hashedrekord" else None
    verifier, once = dsse.encode_base64(pem), dsse.encode_base64(signature)
    hashed = {"algorithm": "sha256", "value": hashlib.sha256(payload or b"signed").hexdigest()}
    signed = {"publicKey": verifier, "sig": dsse.encode_base64(once.encode())}
    specs: dict[str, dict[str, Any]] = {
        "hashedrekord": {"data": {"hash": hashed}, "signature": {"content": once, "publicKey": {"content": verifier}}},
        "dsse": {"payloadHash": hashed, "signatures": [{"signature": once, "verifier": verifier}]},
        "intoto": {"content": {"envelope": {"signatures": [signed]}, "payloadHash": hashed}},
    }
    version = "0.0.2" if kind == "intoto" else "0.0.1"
    body = canonical_json.encode({"apiVersion": version, "kind": kind, "spec": specs[kind]})
    text = Checkpoint("rekor.example", 1, merkle.leaf_hash(body)).text
    der = log.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    blob = hashlib.sha256(der).digest()[:4] + log.sign(text.encode(), ec.ECDSA(SHA256()))
    entry = {
        "kindVersion": {"kind": kind, "version": version},
        "inclusionProof": {
            "logIndex": "0",
            "rootHash": dsse.encode_base64(merkle.leaf_hash(body)),
            "treeSize": "1",
            "hashes": [],
            "checkpoint": {"envelope": f"{text}\n\u2014 rekor.example {dsse.encode_base64(blob)}\n"},
        },
        "canonicalizedBody": dsse.encode_base64(body),
    }
    said = {"rawBytes": dsse.encode_base64(der), "keyDetails": log_entry_proof.P256}
    log_id = {"keyId": dsse.encode_base64(hashlib.sha256(der).digest())}
    root = {"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1"}
    tlogs = [{"baseUrl": "https://rekor.example", "publicKey": said, "logId": log_id}]
    trusted = read_root(json.dumps({**root, "tlogs": tlogs}))
    key_der = public_key.der_of(pem.decode())
    digest = hashlib.sha256(b"signed").digest()
    logged = LoggedSignature(signature, digest, key_der=key_der, payload=payload)
    assert log_entry_proof.verify_entry(entry, logged, trusted).log == "https://rekor.example"
    for other in (
        LoggedSignature(signature + b"x", digest, key_der=key_der, payload=payload),
        LoggedSignature(signature, digest, key_der=der, payload=payload),
        LoggedSignature(signature, b"d" * 32, key_der=key_der, payload=b"another" if payload else None),
    ):
        with pytest.raises(Exception, match="about another"):
            log_entry_proof.verify_entry(entry, other, trusted)


def test_it_runs_as_a_module(folder: Path) -> None:
    _key_bundle(folder, ec.generate_private_key(ec.SECP256R1()))
    words = [sys.executable, "-m", "assay.conformance.sigstore", "verify-bundle", "--bundle", "bundle.json"]
    done = subprocess.run(
        [*words, "--key", "key.pub", "a.txt"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    none = subprocess.run([*words, "a.txt"], cwd=folder, capture_output=True, text=True, check=False)
    assert none.returncode == 2 and "Traceback" not in none.stderr


@pytest.mark.parametrize("instance", ["sigstore", "sigstage"])
def test_the_roots_of_the_public_instances_are_read(instance: str) -> None:
    """As the client brings them along."""
    store = Path(sigstore_client.__file__).parent / "_store"
    file = next(path for path in store.glob("*/trusted_root.json") if path.parent.name.endswith(f".{instance}.dev"))
    root = read_root(file.read_text())
    assert {log.address.partition(".")[2] for log in root.logs} >= {f"{instance}.dev"}
    assert all(log.window.start is not None for log in root.logs)
    assert root.stampers[0].name.startswith("https://timestamp.")
