# SPDX-License-Identifier: Apache-2.0
"""Keys in a real SoftHSM2 token: every role signs, and a key is for production only if somebody says so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from soft_token import LABEL, LIBRARY, PIN, SoftToken, needs_softhsm
from test_signer import SIGNED, state, statement
from token_bench import faults, faulty, in_the_token, keys_dir, made, signers, statement_of_bench, steady, token

from assay.backends.builders.imgtool_program import ImgtoolProgram
from assay.backends.signers.service import SignerProcess
from assay.errors import Refused
from assay.formats.public_key import signature_is_good
from assay.formats.statement_verifier import verify_statement
from assay.model.image_parameters import ImageParameters
from assay.model.statement import PredicateType
from assay.model.trust import Role, TrustFile
from assay.pipeline.device_ca import ca_certificate
from assay.pipeline.site import Site
from assay.pipeline.trust_file import site_trust

__all__ = ["faults", "faulty", "keys_dir", "made", "signers", "steady", "token"]
pytestmark = needs_softhsm


@pytest.mark.parametrize("role", sorted(SIGNED))
def test_signs_bytes(steady: SignerProcess, role: Role) -> None:
    key = steady.public_key(role)
    assert signature_is_good(key, steady.sign(role, SIGNED[role]), SIGNED[role])
    assert not key.development
    assert "UNSAFE" not in key.name


def test_signs_statements_that_verify_as_before(steady: SignerProcess) -> None:
    trust = TrustFile(schema="assay.trust/1", name="t", keys=(steady.public_key(Role.BUILDER),))
    bundle = steady.sign_statement(Role.BUILDER, statement())
    found = verify_statement(bundle, trust, role=Role.BUILDER, predicate_types={PredicateType.PROVENANCE})
    assert found.payload == statement()


def test_roles_keep_to_what_they_sign(steady: SignerProcess) -> None:
    with pytest.raises(Refused, match="does not sign these bytes"):
        steady.sign(Role.IMAGE, state("a log"))
    with pytest.raises(Refused, match="may not sign"):
        steady.sign_statement(Role.BENCH, statement())


def test_device_certificates(token: SoftToken, keys_dir: Path, tmp_path: Path) -> None:
    site = Site(tmp_path)
    certificate = x509.load_der_x509_certificate(ca_certificate(site))
    certificate.verify_directly_issued_by(certificate)
    site.signers.close()


def test_an_image_has_the_same_bytes_as_by_the_file(
    token: SoftToken, signers: SignerProcess, keys_dir: Path, tmp_path: Path
) -> None:
    files = SignerProcess(tmp_path / "files")
    image = files.public_key(Role.IMAGE)
    token.import_file(tmp_path / "files" / "image-UNSAFE-DEVELOPMENT.pem", "imported", "77")
    imported = signers.use_key(
        Role.IMAGE, "hsm:119?label=factory", public=None, name=None, make=False, production=False
    )
    assert imported.keyid == image.keyid
    assert imported.development
    parameters = ImageParameters("1.2.3", 0x10000, 8, 1, "ast1030-evb", 1, "tiny")
    tool, payload = ImgtoolProgram(), bytes(range(256)) * 8
    digest = tool.bytes_to_sign(payload, parameters)
    made = [
        tool.with_signature(payload, parameters, each.sign(Role.IMAGE, digest), image.public)
        for each in (files, signers)
    ]
    assert made[0] == made[1]
    files.close()


def test_the_uri_means_what_it_means_to_securesystemslib(
    token: SoftToken, signers: SignerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from securesystemslib.signer import HSMSigner, SSlibKey

    number = list(Role).index(Role.STATION) + 1
    uri = f"hsm:{number}?label={LABEL}"
    key = signers.use_key(Role.STATION, uri, public=None, name="x", make=False, production=True)
    monkeypatch.setenv("PYKCS11LIB", str(LIBRARY))
    theirs = HSMSigner.from_priv_key_uri(
        uri, SSlibKey.from_crypto(load_pem_public_key(key.public.encode())), lambda _: PIN
    )
    assert signature_is_good(key, bytes.fromhex(theirs.sign(b"data").signature), b"data")


def test_one_session_for_all_keys(signers: SignerProcess, faults: Path) -> None:
    for _ in range(4):
        for role in SIGNED:
            signers.sign(role, SIGNED[role])
    assert len((faults / "logins").read_text()) == len((faults / "sessions").read_text()) == 1


CAMPAIGN = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from assay.backends.signers.service import SignerProcess
from assay.formats.public_key import signature_is_good
from assay.model.trust import Role
signers = SignerProcess(Path(sys.argv[1]))
key, data = signers.public_key(Role.IMAGE), [bytes([number]) * 32 for number in range(40)]
with ThreadPoolExecutor(8) as pool:
    signatures = list(pool.map(lambda item: signers.sign(Role.IMAGE, item), data))
print(sum(signature_is_good(key, *pair) for pair in zip(signatures, data)))
signers.close()
"""


def test_four_processes_with_eight_threads_each(token: SoftToken, keys_dir: Path) -> None:
    """As verbs of one site do it: a signer process for each of four, asked by eight threads. No signature fails."""
    command = [sys.executable, "-c", CAMPAIGN, str(keys_dir)]
    verbs = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for _ in range(4)]
    assert [verb.communicate(timeout=110)[0] for verb in verbs] == [b"40\n"] * 4


# Who is a development key.


def test_a_soft_token_is_for_development_unless_a_person_says_otherwise(signers: SignerProcess) -> None:
    uri = "hsm:2?label=factory"
    plain = signers.use_key(Role.BUILDER, uri, public=None, name=None, make=False, production=False)
    assert plain.development
    assert plain.name == "builder-UNSAFE-DEVELOPMENT"
    meant = signers.use_key(Role.BUILDER, uri, public=None, name="b-2026", make=False, production=True)
    assert (meant.development, meant.name) == (False, "b-2026")


def test_a_token_that_says_that_it_is_hardware(signers: SignerProcess, faults: Path) -> None:
    (faults / "hardware").touch()
    key = signers.use_key(Role.BUILDER, "hsm:2?label=factory", public=None, name=None, make=False, production=False)
    assert (key.development, key.name) == (False, "builder")
    assert signers.login(LABEL) is True


def test_a_key_that_can_be_copied_is_never_for_production(
    signers: SignerProcess, token: SoftToken, keys_dir: Path
) -> None:
    make_extractable(token)
    uri = "pkcs11:token=factory;object=loose"
    with pytest.raises(Refused, match="can be copied out"):
        signers.use_key(Role.BENCH, uri, public=None, name=None, make=False, production=True)
    assert signers.use_key(Role.BENCH, uri, public=None, name=None, make=False, production=False).development
    toml = keys_dir / "keys.toml"
    table, bench, rest = toml.read_text().partition("[roles.bench]")
    toml.write_text(table + bench + rest.replace("development = true", "development = false", 1))
    signers.close()
    with pytest.raises(Refused, match="can be copied out of the token"):
        signers.sign_statement(Role.BENCH, statement_of_bench())


@pytest.mark.parametrize("label", ["p384", "rsa"])
def test_a_key_of_no_kind_of_ours(signers: SignerProcess, token: SoftToken, tmp_path: Path, label: str) -> None:
    how = {"p384": ["ec", "ec_paramgen_curve:P-384"], "rsa": ["rsa", "rsa_keygen_bits:2048"]}[label]
    file = tmp_path / "key.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", how[0], "-pkeyopt", how[1], "-out", file], check=True)
    token.import_file(file, label, {"p384": "71", "rsa": "72"}[label])
    uri = f"pkcs11:token=factory;object={label}"
    with pytest.raises(Refused, match="neither P-256 nor Ed25519"):
        signers.use_key(Role.BUILDER, uri, public=None, name=None, make=False, production=True)


def make_extractable(token: SoftToken) -> None:
    curve = "{pkcs11.Attribute.EC_PARAMS: bytes.fromhex('06082a8648ce3d030107')}"
    loose = "{pkcs11.Attribute.EXTRACTABLE: True}"
    made = f"session.create_domain_parameters(pkcs11.KeyType.EC, {curve}, local=True)"
    in_the_token(token, f"{made}.generate_keypair(store=True, label='loose', id=b'U', private_template={loose})")


def test_a_trust_file_names_the_keys_that_are_there(token: SoftToken, signers: SignerProcess, tmp_path: Path) -> None:
    keys = signers.roles()
    assert set(keys) == set(Role)
    site = Site(tmp_path)
    found = site_trust(site, "site")
    assert {key.role for key in found.keys} == set(Role) - {Role.LOG, Role.WITNESS}
    assert not any(key.development for key in found.keys)
    assert not found.logs[0].development
    site.signers.close()
