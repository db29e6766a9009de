# SPDX-License-Identifier: Apache-2.0
"""Is the host the one that the bench names? Asked after the key exchange and before anybody logs in.

Guards: no key is learnt; the only ways to be known are a pinned key and a certificate of a pinned authority.
"""

from __future__ import annotations

import time

from paramiko import PKey

from assay.errors import Refused
from assay.formats import openssh_key
from assay.model.ssh import SshHop

PLAIN_ALGORITHMS = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}


def wanted_algorithms(hop: SshHop, known: tuple[str, ...]) -> tuple[str, ...]:
    """`known` host key algorithms in the order that lets the host show what it is pinned by; certificates first.

    All stay in: a host that has nothing of what is pinned shall show what it has, so that it can be told.
    """
    first = [algorithm + openssh_key.CERTIFICATE_SUFFIX for algorithm in known if hop.host_authorities]
    for line in hop.host_keys:
        kind = line.split()[0]
        first += PLAIN_ALGORITHMS.get(kind, (kind,))
    return tuple(dict.fromkeys([*first, *known]))


def check_host_key(hop: SshHop, key: PKey) -> None:
    """Raises Refused, with both fingerprints, unless `key` (whose private half the host has) is that of `hop`."""
    shown = key.asbytes()
    if (openssh_key.rsa_bits(shown) or openssh_key.RSA_BITS_MIN) < openssh_key.RSA_BITS_MIN:
        raise Refused(f"{hop} has an RSA key of less than {openssh_key.RSA_BITS_MIN} bits", remedy="make it a new key")
    if shown in [openssh_key.blob_of(line) for line in hop.host_keys]:
        return
    fault = _certificate_fault(hop, key)
    if fault is None:
        return
    raise Refused(
        f"another host answers as {hop}: its key is {_described(shown)}, expected {_expected(hop)}{fault}",
        remedy="find out why: a host set up anew has a new key (compare it on the host itself: ssh-keygen -lf "
        "/etc/ssh/ssh_host_ed25519_key.pub, then write it into the bench file); else somebody is in the way",
    )


def _certificate_fault(hop: SshHop, key: PKey) -> str | None:
    """None when the host's certificate is good; else what to add to the message."""
    if not hop.host_authorities:
        return ""
    shown = key.public_blob
    if shown is None:
        return "; it shows no certificate"
    name = hop.known_as or hop.host
    fault = openssh_key.certificate_fault(shown.key_blob, name, hop.host_authorities, int(time.time()))
    return None if fault is None else f"; of its certificate: {fault}"


def _expected(hop: SshHop) -> str:
    keys = [_described(openssh_key.blob_of(line)) for line in hop.host_keys]
    signers = [f"a certificate by {_described(openssh_key.blob_of(line))}" for line in hop.host_authorities]
    return " or ".join([*keys, *signers])


def _described(blob: bytes) -> str:
    return f"{openssh_key.fingerprint(blob)} ({openssh_key.kind_of(blob)})"
