# SPDX-License-Identifier: Apache-2.0
"""User and password for a registry: from variables, a file, docker's or podman's settings, or netrc; never an argument.

Guards: a password is in no message, and no child process inherits the variable. Leaves to others: to whom it is sent
(`connection`).
"""

from __future__ import annotations

import base64
import binascii
import json
import netrc
import os
from dataclasses import dataclass, field
from pathlib import Path

from assay.backends.signers.withheld import withheld_password
from assay.errors import UsageFault

USER = "ASSAY_REGISTRY_USER"
PASSWORD_FILE = "ASSAY_REGISTRY_PASSWORD_FILE"  # noqa: S105 (the name of a variable)
TOKEN_HOST = "ASSAY_REGISTRY_TOKEN_HOST"  # noqa: S105 (the name of a variable)
"""A host, with its port where it has one, whose token service gets the password of the variables, too."""
FILE_BYTES_MAX = 1024 * 1024


@dataclass(frozen=True)
class Credentials:
    """A user, and the password, which no `repr` shows; `source` says for people where they are from."""

    user: str
    password: str = field(repr=False)
    source: str

    @property
    def basic(self) -> str:
        """The value of a header `Authorization` (RFC 7617)."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode("ascii")


def find_credentials(host: str) -> Credentials | None:
    """For the registry `host` (with its port where it has one): the first place that knows it. Raises `UsageFault`."""
    return _from_variables() or _from_docker(host) or _from_netrc(host)


def find_token_credentials(host: str) -> Credentials | None:
    """For the token service at `host`, which a registry elsewhere sends us to: only what was given for that very host.

    Raises `UsageFault`.
    """
    named = _from_variables() if os.environ.get(TOKEN_HOST, "").lower() == host.lower() else None
    return named or _from_docker(host) or _from_netrc(host)


def _from_variables() -> Credentials | None:
    user, password, file = os.environ.get(USER), withheld_password(), os.environ.get(PASSWORD_FILE)
    if not user:
        return None
    if file is not None:
        password = _read(Path(file)).decode("utf-8", "strict").rstrip("\r\n")
    if password is None:
        text = f"{USER} is set, and neither {PASSWORD_FILE} nor ASSAY_REGISTRY_PASSWORD"
        raise UsageFault(text, remedy=f"put the password into a file and name it in {PASSWORD_FILE}")
    return Credentials(user, password, f"{USER} and {PASSWORD_FILE if file else 'ASSAY_REGISTRY_PASSWORD'}")


def _from_docker(host: str) -> Credentials | None:
    for path in _docker_files():
        if not path.is_file():
            continue
        try:
            document = json.loads(_read(path))
            table = document.get("auths", {})
            entry = table.get(host) or table.get(f"https://{host}") or {}
            helper = document.get("credHelpers", {}).get(host) or (document.get("credsStore") if entry == {} else None)
            if auth := entry.get("auth"):
                user, colon, password = base64.b64decode(auth, validate=True).decode().partition(":")
                if colon:
                    return Credentials(user, password, str(path))
        except (ValueError, AttributeError, binascii.Error) as error:
            raise UsageFault(f"{path} is no settings file of docker", remedy="correct it, or move it away") from error
        if helper and host in {**table, **document.get("credHelpers", {})}:
            text = f"{path} has the password for {host} in the helper '{helper}', which is not asked"
            raise UsageFault(text, remedy=f"set {USER} and {PASSWORD_FILE}")
    return None


def _docker_files() -> list[Path]:
    named = [os.environ.get("REGISTRY_AUTH_FILE", "")]
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    named += [f"{runtime}/containers/auth.json"] if runtime else []
    folder = os.environ.get("DOCKER_CONFIG") or str(Path.home() / ".docker")
    return [Path(name) for name in (*named, f"{folder}/config.json") if name]


def _from_netrc(host: str) -> Credentials | None:
    """netrc knows hosts without ports (its own rules refuse a file that others may read)."""
    path = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    if not path.is_file():
        return None
    name = host.rpartition(":")[0] or host
    try:
        table = netrc.netrc(str(path))
        found = table.hosts.get(host) or table.hosts.get(name)
    except (netrc.NetrcParseError, OSError, UnicodeDecodeError) as error:
        raise UsageFault(f"{path} cannot be read", remedy="correct it, and let nobody else read it") from error
    if found is None or not found[2]:
        return None
    return Credentials(found[0], found[2], str(path))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(FILE_BYTES_MAX)
    except OSError as error:
        raise UsageFault(f"{path} cannot be read: {error.strerror}", remedy="name a file that you may read") from error
