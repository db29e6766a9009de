# SPDX-License-Identifier: Apache-2.0
"""assay as a client in the public conformance suite of Sigstore clients: `python -m assay.conformance.sigstore`.

    sign-bundle [--staging] [--in-toto] --identity-token TOKEN --bundle FILE [--trusted-root FILE]
                [--signing-config FILE] ARTIFACT
    verify-bundle [--staging] --bundle FILE (--certificate-identity I --certificate-oidc-issuer U | --key PEM)
                [--trusted-root FILE] ARTIFACT_OR_sha256:HEX

Exit status 0, or not 0 with the reason on stderr. The token is an argument because the suite's contract has it so;
`assay` itself never takes one.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from assay.errors import AssayError, NotVerified, UsageFault
from assay.formats import artifact_signature

if TYPE_CHECKING:
    from sigstore.models import ClientTrustConfig

DIGEST_PREFIX = "sha256:"
DIGEST = re.compile(DIGEST_PREFIX + "[0-9a-fA-F]{64}")


def main(words: Sequence[str] | None = None) -> int:
    """Do what `words` ask; answers the exit status."""
    asked = _parser().parse_args(words)
    try:
        if asked.command == "sign-bundle":
            _sign(asked)
        else:
            _verify(asked)
    except AssayError as error:
        print(f"{error.status.name}: {error}", file=sys.stderr)
        return int(error.status)
    except Exception as error:  # of the client: whatever it is, nothing was signed or verified
        print(f"ERROR: {type(error).__name__}: {error}", file=sys.stderr)
        return 3
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m assay.conformance.sigstore")
    commands = parser.add_subparsers(dest="command", required=True)
    sign, verify = commands.add_parser("sign-bundle"), commands.add_parser("verify-bundle")
    for command in (sign, verify):
        command.add_argument("--staging", action="store_true")
        command.add_argument("--bundle", type=Path, required=True)
        command.add_argument("--trusted-root", type=Path)
        command.add_argument("artifact")
    sign.add_argument("--in-toto", action="store_true")
    sign.add_argument("--identity-token", required=True)
    sign.add_argument("--signing-config", type=Path)
    verify.add_argument("--certificate-identity")
    verify.add_argument("--certificate-oidc-issuer")
    verify.add_argument("--key", type=Path)
    return parser


def _sign(asked: argparse.Namespace) -> None:
    from sigstore import dsse
    from sigstore.oidc import IdentityToken
    from sigstore.sign import SigningContext

    config = _config(asked)
    data = Path(asked.artifact).read_bytes()
    with SigningContext.from_trust_config(config).signer(IdentityToken(asked.identity_token)) as signer:
        bundle = signer.sign_dsse(dsse.Statement(data)) if asked.in_toto else signer.sign_artifact(data)
    text = bundle.to_json()
    _check_own(text.encode(), data, config, in_toto=asked.in_toto)
    asked.bundle.write_text(text)


def _check_own(bundle: bytes, data: bytes, config: ClientTrustConfig, *, in_toto: bool) -> None:
    """What the client has signed has to verify before it is written."""
    from assay.formats import dsse, keyless_proof, sigstore_bundle

    root = config._inner.trusted_root.to_json()
    if in_toto:
        opened = sigstore_bundle.decode(bundle)
        keyless_proof.verify_keyless(bundle, opened, root)
        if opened.envelope.payload != data:
            raise NotVerified("the bundle is about another statement", remedy="sign again")
        return
    leaf = json.loads(bundle)["verificationMaterial"]["certificate"]["rawBytes"]
    issuer, san = keyless_proof.names_of(dsse.decode_base64(leaf, "the certificate"))
    artifact_signature.verify_by_identity(bundle, hashlib.sha256(data).digest(), (san, issuer), root)


def _config(asked: argparse.Namespace) -> ClientTrustConfig:
    """The files that are given; in the place of one that is not, what the public services (or staging) have."""
    from sigstore.models import ClientTrustConfig

    given = {"trustedRoot": asked.trusted_root, "signingConfig": asked.signing_config}
    document = {} if None not in given.values() else json.loads(_public(asked)._inner.to_json())
    document |= {name: json.loads(path.read_bytes()) for name, path in given.items() if path is not None}
    return ClientTrustConfig.from_json(
        json.dumps({**document, "mediaType": ClientTrustConfig.ClientTrustConfigType.CONFIG_0_1.value})
    )


def _public(asked: argparse.Namespace) -> ClientTrustConfig:
    from sigstore.models import ClientTrustConfig

    return ClientTrustConfig.staging() if asked.staging else ClientTrustConfig.production()


def _verify(asked: argparse.Namespace) -> None:
    bundle, digest = asked.bundle.read_bytes(), _digest(asked.artifact)
    names = (asked.certificate_identity, asked.certificate_oidc_issuer)
    if any(names) if asked.key is not None else not all(names):
        raise UsageFault("expected an identity and its issuer, or a key, and not both", remedy="give one of them")
    root = asked.trusted_root.read_text() if asked.trusted_root is not None else None
    if asked.key is not None:
        artifact_signature.verify_by_key(bundle, digest, asked.key.read_text(), root)
        return
    if root is None:
        root = _public(asked)._inner.trusted_root.to_json()
    artifact_signature.verify_by_identity(bundle, digest, names, root)


def _digest(text: str) -> bytes:
    """SHA-256 of the file, or what follows `sha256:`. A file of that name is meant where there is one."""
    path = Path(text)
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).digest()
    if not DIGEST.fullmatch(text):
        raise UsageFault(f"{text} is neither a file nor sha256: and 64 hex digits", remedy="check the path")
    return bytes.fromhex(text.removeprefix(DIGEST_PREFIX))


if __name__ == "__main__":
    sys.exit(main())
