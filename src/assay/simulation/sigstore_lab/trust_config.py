# SPDX-License-Identifier: Apache-2.0
"""What a client needs to know of the lab: its trusted root and its signing configuration, as Sigstore writes them."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

from assay.simulation.sigstore_lab.certificate_authority import CertificateAuthority, spki
from assay.simulation.sigstore_lab.certificates import BACKDATED, ORGANIZATION, WARNING, Authority
from assay.simulation.sigstore_lab.timestamp_authority import TimestampAuthority
from assay.simulation.sigstore_lab.transparency_log import P256, TransparencyLog

TRUSTED_ROOT = "application/vnd.dev.sigstore.trustedroot+json;version=0.1"
SIGNING_CONFIG = "application/vnd.dev.sigstore.signingconfig.v0.2+json"
TRUST_CONFIG = "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json"
OPERATOR = f"{ORGANIZATION} ({WARNING})"


def trusted_root(
    url: str, authority: CertificateAuthority, stamper: TimestampAuthority, log: TransparencyLog
) -> dict[str, Any]:
    """`trusted_root.json`: whom a verifier believes."""
    since = _time(datetime.now(UTC) - BACKDATED - timedelta(minutes=1))
    ed25519 = {"rawBytes": _text(log.public_der), "keyDetails": "PKIX_ED25519", "validFor": {"start": since}}
    p256 = {"rawBytes": _text(spki(authority.ct_key.public_key())), "keyDetails": P256, "validFor": {"start": since}}
    return {
        "mediaType": TRUSTED_ROOT,
        "tlogs": [_log(f"{url}/rekor", ed25519, log.log_id)],
        "ctlogs": [_log(f"{url}/ct", p256, authority.ct_log_id)],
        "certificateAuthorities": [_authority(authority.root, url, since)],
        "timestampAuthorities": [_authority(stamper.stamper, f"{url}/tsa", since)],
    }


def signing_config(url: str) -> dict[str, Any]:
    """`signing_config.json`: where a signer finds the services."""
    since = {"start": _time(datetime.now(UTC) - BACKDATED)}

    def service(address: str, version: int) -> list[dict[str, Any]]:
        return [{"url": address, "majorApiVersion": version, "validFor": since, "operator": OPERATOR}]

    return {
        "mediaType": SIGNING_CONFIG,
        "caUrls": service(url, 1),
        "oidcUrls": service(url, 1),
        "rekorTlogUrls": service(f"{url}/rekor", 2),
        "rekorTlogConfig": {"selector": "ANY"},
        "tsaUrls": service(f"{url}/tsa", 1),
        "tsaConfig": {"selector": "ANY"},
    }


def trust_config(root: dict[str, Any], signing: dict[str, Any]) -> dict[str, Any]:
    """Both in one file, as `ClientTrustConfig` reads it."""
    return {"mediaType": TRUST_CONFIG, "trustedRoot": root, "signingConfig": signing}


def _log(url: str, key: dict[str, Any], log_id: bytes) -> dict[str, Any]:
    return {"baseUrl": url, "hashAlgorithm": "SHA2_256", "publicKey": key, "logId": {"keyId": _text(log_id)}}


def _authority(authority: Authority, uri: str, since: str) -> dict[str, Any]:
    return {
        "subject": {"organization": ORGANIZATION, "commonName": WARNING},
        "uri": uri,
        "certChain": {"certificates": [{"rawBytes": _text(each)} for each in authority.chain_der]},
        "validFor": {"start": since},
    }


def _time(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
