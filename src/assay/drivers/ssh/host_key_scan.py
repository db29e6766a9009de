# SPDX-License-Identifier: Apache-2.0
"""Which keys a host shows, for a person who compares them. Nothing is logged in to, and nothing is kept."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

from assay.drivers.ssh.connection import KEY_ALGORITHMS, PinnedTransport, meet
from assay.drivers.ssh.tcp_link import connect_tcp
from assay.errors import InfrastructureError
from assay.formats import openssh_key
from assay.model.ssh import SSH_PORT


@dataclass(frozen=True)
class ShownKey:
    """A host's key: as it stands in a bench file, and what is compared."""

    line: str
    fingerprint: str


def shown_keys(host: str, port: int = SSH_PORT) -> tuple[ShownKey, ...]:
    """The keys of `host`, one of each kind that it has. Raises LinkError, InfrastructureError."""
    name = f"{host}:{port}"
    found: dict[bytes, ShownKey] = {}
    old: InfrastructureError | None = None
    for algorithm in KEY_ALGORITHMS:
        try:
            with closing(meet(name, connect_tcp(host, port, name), (algorithm,))) as transport:
                blob = _key_of(transport)
        except InfrastructureError as error:
            if type(error) is not InfrastructureError:
                raise
            old = error  # it has no key of that kind
            continue
        found[blob] = ShownKey(openssh_key.line_of(blob), openssh_key.fingerprint(blob))
    if not found:
        assert old is not None
        raise old
    return tuple(found.values())


def _key_of(transport: PinnedTransport) -> bytes:
    return bytes(transport.get_remote_server_key().asbytes())
