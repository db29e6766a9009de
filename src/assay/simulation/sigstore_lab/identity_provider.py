# SPDX-License-Identifier: Apache-2.0
"""The lab's OIDC issuer: a token for any identity, for whoever asks. That is what makes it a lab."""

from __future__ import annotations

import base64
import time
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

TOKEN_VALID_S = 600
AUDIENCE = "sigstore"
KEY_NAME = "lab"


class IdentityProvider:
    """Issues and checks tokens (JWT, ES256) of the issuer `url`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._key = ec.generate_private_key(ec.SECP256R1())

    def token(self, subject: str, valid_s: int = TOKEN_VALID_S) -> str:
        """A token that says its bearer is `subject`."""
        import jwt

        now = int(time.time())
        claims = {"iss": self.url, "sub": subject, "aud": AUDIENCE, "iat": now, "nbf": now, "exp": now + valid_s}
        claims |= {"email": subject, "email_verified": True} if "://" not in subject else {}
        return jwt.encode(claims, self._key, algorithm="ES256", headers={"kid": KEY_NAME})

    def subject_of(self, token: str) -> str:
        """Whom `token` names. Raises `ValueError` for one that is not ours, not for Sigstore, or not valid now."""
        import jwt

        try:
            claims = jwt.decode(
                token, self._key.public_key(), algorithms=["ES256"], audience=AUDIENCE, issuer=self.url, leeway=5
            )
        except jwt.InvalidTokenError as error:
            raise ValueError(f"the token is refused: {error}") from error
        return str(claims["sub"])

    def configuration(self) -> dict[str, Any]:
        """OpenID Connect Discovery 1.0."""
        return {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/jwks",
            "authorization_endpoint": f"{self.url}/token",
            "token_endpoint": f"{self.url}/token",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        }

    def keys(self) -> dict[str, Any]:
        """The public key as a JSON Web Key Set (RFC 7517)."""
        numbers = self._key.public_key().public_numbers()
        point = {"x": _coordinate(numbers.x), "y": _coordinate(numbers.y)}
        return {"keys": [{"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": KEY_NAME, **point}]}


def _coordinate(value: int) -> str:
    return base64.urlsafe_b64encode(value.to_bytes(32, "big")).rstrip(b"=").decode("ascii")
