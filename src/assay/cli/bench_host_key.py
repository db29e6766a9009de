# SPDX-License-Identifier: Apache-2.0
"""`assay bench host-key`: the keys that a host shows, to be compared by a person.

Guards: nothing is written, and nothing is trusted by being shown.
"""

from __future__ import annotations

import click

from assay.cli.session import Answer, Session, verb

COMPARE = "for file in /etc/ssh/ssh_host_*_key.pub; do ssh-keygen -lf $file; done"


@click.command(name="host-key")
@click.argument("host")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=22, show_default=True, help="The port of its SSH server."
)
@verb
def host_key(_session: Session, host: str, port: int) -> Answer:
    """Show the keys of HOST, which anybody on the way could have put there: compare before you pin one.

    Prints what to write into the place's `ssh` in bench.toml; writes nothing itself.
    """
    from assay.drivers.ssh.opening import need_paramiko

    need_paramiko()
    from assay.drivers.ssh.host_key_scan import shown_keys

    keys = shown_keys(host, port)
    lines = [f"{host}:{port} shows, and nobody has verified:"]
    lines += [f"  {key.fingerprint} ({key.line.split()[0]})" for key in keys]
    lines += [f"Compare on the host itself (its console, not this network): {COMPARE}"]
    lines += ["If they are the same, write into the place's ssh:", f'host_keys = ["{keys[0].line}"]']
    rows = [{"line": key.line, "fingerprint": key.fingerprint} for key in keys]
    return Answer("\n".join(lines), {"host": host, "port": port, "verified": False, "keys": rows})
