# SPDX-License-Identifier: Apache-2.0
"""A running Sigstore lab, statements that the real client signs there, and trust files for them."""

from __future__ import annotations

import json
from typing import Any

from sigstore import dsse as client_dsse
from sigstore.models import ClientTrustConfig
from sigstore.oidc import IdentityToken
from sigstore.sign import SigningContext

from assay.formats import canonical_json
from assay.model.signer_limits import TrustedServices
from assay.model.statement import PredicateType, Statement, Subject
from assay.model.trust import Role, TrustedIdentity, TrustFile
from assay.simulation.sigstore_lab.lab import SigstoreLab

WHO = "https://ci.example/project/release.yml@refs/heads/main"
SHA256 = "cd" * 32


def statement(kind: str = PredicateType.RELEASE.value, sha256: str = SHA256, **predicate: Any) -> bytes:
    """A statement about the file with that SHA-256, of the module `blinky` unless told otherwise."""
    subject = Subject(name="image", digest={"sha256": sha256})
    made = Statement(subject=(subject,), predicateType=kind, predicate={"name": "blinky", **predicate})
    return canonical_json.encode_value(made)


def sign_keyless(lab: SigstoreLab, payload: bytes, who: str = WHO) -> bytes:
    """A bundle that the Sigstore client makes at the lab."""
    config = ClientTrustConfig.from_json(json.dumps(lab.trust_config))
    with SigningContext.from_trust_config(config).signer(IdentityToken(lab.provider.token(who))) as signer:
        return signer.sign_dsse(client_dsse.Statement(payload)).to_json().encode()


def services(lab: SigstoreLab, name: str = "lab") -> TrustedServices:
    """The lab, as a trust file has it."""
    return TrustedServices(name=name, trusted_root=json.dumps(lab.trusted_root), development=True)


def identity(lab: SigstoreLab, **changes: Any) -> TrustedIdentity:
    """Whoever the lab calls `WHO`, as builder."""
    said: dict[str, Any] = {"role": Role.BUILDER, "name": "ci", "issuer": lab.url, "san": WHO, "sigstore": "lab"}
    return TrustedIdentity(**(said | changes))


def trust_file(lab: SigstoreLab, *identities: TrustedIdentity, **changes: Any) -> TrustFile:
    """A trust file of a demonstration."""
    said: dict[str, Any] = {
        "schema": "assay.trust/1",
        "name": "site",
        "allow_development": True,
        "sigstore": (services(lab),),
        "identities": identities or (identity(lab),),
    }
    return TrustFile(**(said | changes))
