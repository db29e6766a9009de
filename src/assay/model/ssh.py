# SPDX-License-Identifier: Apache-2.0
"""How a host is reached over SSH: where it is, which key it has to show, who we are there, and over which hosts.

Guards: a host without a pinned key or authority cannot be written down. Leaves to others: what a key's bytes mean
(`formats.openssh_key`), the connection (`drivers.ssh`).
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from assay.model.value import Value

SSH_PORT = 22
SSH_SCHEME = "ssh://"
"""Of the address that a place without a port has, to be known by its lock."""
KEY_KINDS = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")
"""Kinds of keys that can be pinned; RSA keys sign with SHA-2 only."""
JUMPS_MAX = 4


def _public_key(text: str) -> str:
    """`text` as a public key in one line; a comment after it is dropped."""
    words = text.split()
    if len(words) < 2 or words[0] not in KEY_KINDS:
        raise ValueError(f"a public key is written '{KEY_KINDS[0]} AAAA...' (kinds: {', '.join(KEY_KINDS)})")
    try:
        blob = base64.b64decode(words[1], validate=True)
    except binascii.Error as error:
        raise ValueError(f"the key is no base64: {error}") from error
    kind = words[0].encode()
    if blob[: 4 + len(kind)] != len(kind).to_bytes(4, "big") + kind:
        raise ValueError(f"the key's bytes are no {words[0]} key: copy the whole line from the host's .pub file")
    return f"{words[0]} {words[1]}"


PublicKeyLine = Annotated[str, AfterValidator(_public_key)]
"""A public key as OpenSSH writes it, kind and base64."""

HostName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]([A-Za-z0-9._:%-]{0,252})$")]
"""A name or an address; nothing that could be an option, a user or a path."""
UserName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._@-]{0,63}$")]


class SshHop(Value):
    """One host of a way: where it is, how it is known, and how we log in there."""

    host: HostName
    port: int = Field(default=SSH_PORT, ge=1, le=65535)
    user: UserName
    host_keys: tuple[PublicKeyLine, ...] = Field(
        default=(), description="keys of the host, any of them: ssh-ed25519 AAAA..."
    )
    host_authorities: tuple[PublicKeyLine, ...] = Field(
        default=(), description="keys that sign host certificates, as in @cert-authority of known_hosts"
    )
    known_as: HostName | None = Field(
        default=None, description="the name in the host's certificate, if it is not `host`"
    )
    identity: str | None = Field(
        default=None,
        pattern=r"^(~/|/)",
        description="our private key's file (a certificate beside it, -cert.pub, counts), or a public key's: the agent "
        "has the private one",
    )
    certificate: str | None = Field(default=None, pattern=r"^(~/|/)", description="our certificate's, if elsewhere")

    @model_validator(mode="after")
    def _is_pinned(self) -> Self:
        if not self.host_keys and not self.host_authorities:
            raise ValueError(f"host {self.host} has no host_keys: assay bench host-key {self.host} shows them")
        if self.certificate is not None and self.identity is None:
            raise ValueError("a certificate needs its identity")
        return self

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.user}@{host}" + (f":{self.port}" if self.port != SSH_PORT else "")


class SshAddress(SshHop):
    """A host, and the hosts between here and there, the nearest first."""

    jump: tuple[SshHop, ...] = Field(default=(), max_length=JUMPS_MAX)

    @property
    def url(self) -> str:
        """The address of a place that has no port."""
        return f"{SSH_SCHEME}{self.host}:{self.port}"

    @property
    def way(self) -> tuple[SshHop, ...]:
        """All hosts to log in to, in this order."""
        return (*self.jump, self)
