# SPDX-License-Identifier: Apache-2.0
"""A role's key in Google's, Microsoft's or HashiCorp's key service: their real clients in the real signer process,
against services on loopback (`key_service_bench`), which are ours and no cloud. Amazon's: `test_key_service.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from key_service_bench import Azure, Google, KeyService, Transit, pem_of
from keyless_bench import SHA256 as SUBJECT
from keyless_bench import statement
from signer_process import signer

from assay.backends.signers import service
from assay.backends.signers.library_key import SERVICE_WITHIN_S
from assay.backends.signers.service import SignerProcess
from assay.cli.main import main
from assay.errors import InfrastructureError, StorageError
from assay.formats.checkpoint import Checkpoint
from assay.formats.public_key import signature_is_good
from assay.formats.sigstore_bundle import decode
from assay.formats.statement_verifier import verify_statement
from assay.model.statement import PredicateType
from assay.model.trust import Role, TrustedKey, TrustFile

__all__ = ["signer"]

SERVICES = {"gcpkms": (Google, "google.cloud.kms"), "azurekms": (Azure, "azure.keyvault.keys"), "hv": (Transit, "hvac")}
CLOUDS = ("gcpkms", "azurekms")
DIGEST = sha256(b"an image").digest()
CHECKPOINT = Checkpoint("assay.example/site", 1, DIGEST).text.encode()


@pytest.fixture
def kms(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[KeyService]:
    make, client = SERVICES[request.param]
    pytest.importorskip(client)
    folder = tmp_path / "service"
    folder.mkdir()
    made = make(folder)
    for name, value in made.environment().items():
        monkeypatch.setenv(name, value)
    yield made
    made.close()


every = pytest.mark.parametrize("kms", SERVICES, indirect=True)
clouds = pytest.mark.parametrize("kms", CLOUDS, indirect=True)


def role_of(kms: KeyService) -> Role:
    """Whose keys are of the kind that the service has: images and the log are signed by Ed25519."""
    return Role.BUILDER if kms.kind in CLOUDS else Role.IMAGE


def use(signer: SignerProcess, kms: KeyService, uri: str | None = None, pem: str | None = None) -> TrustedKey:
    role = role_of(kms)
    return signer.use_key(role, uri or kms.uri, public=pem or kms.pem, name=None, make=False, production=True)


def ask(signer: SignerProcess, kms: KeyService) -> bytes:
    """A signature of that role."""
    return signer.sign_statement(Role.BUILDER, statement()) if kms.kind in CLOUDS else signer.sign(Role.IMAGE, DIGEST)


@clouds
def test_a_builder_signs_by_a_key_in_the_service(kms: KeyService, signer: SignerProcess) -> None:
    key = use(signer, kms)
    bundle = signer.sign_statement(Role.BUILDER, statement())
    trust = TrustFile(schema="assay.trust/1", name="strict", keys=(key,))  # it is no development key
    kinds = {PredicateType.RELEASE}
    found = verify_statement(bundle, trust, role=Role.BUILDER, predicate_types=kinds, subject_sha256=SUBJECT)
    assert found.signer == key and not key.development
    (handed,) = kms.handed
    assert handed == sha256(decode(bundle).envelope.signed).digest()  # it leaves the host, and no more
    assert isinstance(kms, Google | Azure)
    assert set(kms.tunnel.asked) == {f"{name}:443" for name in kms.tunnel.places}


@pytest.mark.parametrize("kms", ["hv"], indirect=True)
@pytest.mark.parametrize(("role", "data"), [(Role.IMAGE, DIGEST), (Role.LOG, CHECKPOINT)], ids=["image", "log"])
def test_an_image_and_a_checkpoint_by_a_key_in_vault(
    kms: KeyService, signer: SignerProcess, role: Role, data: bytes
) -> None:
    key = signer.use_key(role, kms.uri, public=kms.pem, name=None, make=False, production=True)
    assert signature_is_good(key, signer.sign(role, data), data)
    assert kms.handed == [data]


@every
def test_the_verb_gives_a_role_such_a_key(kms: KeyService, tmp_path: Path) -> None:
    public = tmp_path / "public.pem"
    public.write_text(kms.pem)
    words = [kms.uri, "--public", str(public), "--site", str(tmp_path / "site"), "--json"]
    assert CliRunner().invoke(main, ["keys", "use", role_of(kms).value, *words]).exit_code == 0
    wrong = "image" if kms.kind in CLOUDS else "builder"
    assert CliRunner().invoke(main, ["keys", "use", wrong, *words]).exit_code == 4  # another kind of key


@every
def test_a_service_that_does_not_sign(kms: KeyService, signer: SignerProcess) -> None:
    use(signer, kms)
    for refusal in kms.refusals:
        kms.refuses = refusal
        with pytest.raises(InfrastructureError, match=f"the key service of {kms.kind}: fails"):
            ask(signer, kms)
    kms.refuses = None
    assert ask(signer, kms)  # the signer goes on


@every
def test_a_key_that_is_not_there_and_one_that_is_another(kms: KeyService, signer: SignerProcess) -> None:
    use(signer, kms, uri=kms.other_uri)
    with pytest.raises(InfrastructureError, match=f"the key service of {kms.kind}: fails"):
        ask(signer, kms)
    other = ec.generate_private_key(ec.SECP256R1()) if kms.kind in CLOUDS else Ed25519PrivateKey.generate()
    use(signer, kms, pem=pem_of(other))
    with pytest.raises(InfrastructureError, match="does not verify with its public key"):
        ask(signer, kms)


AWAY = {"gcpkms": "grpc_proxy", "azurekms": "HTTPS_PROXY", "hv": "VAULT_ADDR"}


@every
def test_a_service_that_is_away(kms: KeyService, signer: SignerProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own client tries again; Google's for longer than we wait, which is 30 s and here two."""
    if kms.kind == "gcpkms":
        monkeypatch.setattr(service, "NOTICE_MARGIN_S", 2.0 - SERVICE_WITHIN_S)
    use(signer, kms)
    signer.close()  # the next one gets the environment of now
    monkeypatch.setenv(AWAY[kms.kind], "http://127.0.0.1:9")
    with pytest.raises(InfrastructureError, match=f"the key service of {kms.kind}: (fails|did not)"):
        ask(signer, kms)


@clouds
def test_who_asks_without_credentials(
    kms: KeyService, signer: SignerProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use(signer, kms)
    signer.close()
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "AZURE_CLIENT_SECRET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    says = "(DefaultCredentialsError|ClientAuthenticationError)"
    with pytest.raises((StorageError, InfrastructureError), match=rf"{kms.kind}: .*\({says}\)"):
        ask(signer, kms)
    assert kms.handed == []
