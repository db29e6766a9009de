# SPDX-License-Identifier: Apache-2.0
"""PINs and passwords in the environment, taken out of it before anything else is started.

Guards: no process that `assay` starts inherits a PIN, and /proc/PID/environ of `assay` itself shows none (its memory is
overwritten); only the signer process is handed them, through its pipe. Imports next to nothing: every verb calls it.
"""

from __future__ import annotations

import os

PIN_PREFIX = "ASSAY_PIN"
"""As `model.keys.PIN_PREFIX`, which a test holds together with this: the model is not imported by every verb."""

PASSWORD = "ASSAY_REGISTRY_PASSWORD"  # noqa: S105 (the name of the variable)

IDENTITY_TOKENS = (
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
    "ACTIONS_ID_TOKEN_REQUEST_URL",
    "BUILDKITE_AGENT_ACCESS_TOKEN",
    "CIRCLE_OIDC_TOKEN",
    "CIRCLE_OIDC_TOKEN_V2",
    "SIGSTORE_ID_TOKEN",
)
"""Variables of CI systems by which whoever has them signs as the job. They stay in our own environment, where the
Sigstore client looks for them."""

KEY_SERVICES = (
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_WEB_IDENTITY_TOKEN_FILE"),
    *("AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
    *("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
    *("AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PATH", "AZURE_FEDERATED_TOKEN_FILE", "AZURE_PASSWORD"),
    *("AZURE_CLIENT_CERTIFICATE_PASSWORD", "IDENTITY_HEADER", "MSI_SECRET"),
    *("GOOGLE_APPLICATION_CREDENTIALS", "VAULT_TOKEN"),
)
"""Variables by which whoever has them signs with the key of a role in a key service. They stay in our own environment,
where the signer process takes them from."""

_taken: dict[str, str] = {}


def withhold() -> None:
    """Take the variables with PINs, and the password of a registry, out of the environment of this process."""
    for name in [name for name in os.environ if name.startswith(PIN_PREFIX) or name == PASSWORD]:
        _taken[name] = os.environ[name]
        _overwrite(name)
        del os.environ[name]


def withheld() -> dict[str, str]:
    """The PINs that were taken out, and what came into the environment since, which is taken out now."""
    withhold()
    return {name: value for name, value in _taken.items() if name != PASSWORD}


def without_secrets() -> dict[str, str]:
    """The environment for a command of somebody else: no PIN, no password, no identity token of a CI system, nothing
    that opens a key service.
    """
    withhold()
    return {name: value for name, value in os.environ.items() if name not in IDENTITY_TOKENS + KEY_SERVICES}


def withheld_password() -> str | None:
    """The password of the registry; it goes to no other process."""
    withhold()
    return _taken.get(PASSWORD)


def _overwrite(name: str) -> None:
    """Where the C library has the value: on the stack that /proc/PID/environ shows, unless somebody set it anew."""
    import ctypes

    libc = ctypes.CDLL(None)
    libc.getenv.restype = ctypes.c_void_p
    address = libc.getenv(name.encode())
    if address:
        ctypes.memset(address, 0, len(ctypes.string_at(address)))
