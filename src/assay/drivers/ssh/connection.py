# SPDX-License-Identifier: Apache-2.0
"""A way to a host over SSH: TCP, key exchange, the host's key checked, logged in; over other hosts where need be.

Guards: only algorithms that are good today; a host is known before anything is told to it, each on the way by its own
key; every error of paramiko and of the system becomes one of ours.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import paramiko

from assay.drivers.ssh.host_key_check import check_host_key, wanted_algorithms
from assay.drivers.ssh.inner_link import InnerLink, watch_inner
from assay.drivers.ssh.login_keys import login_keys
from assay.drivers.ssh.tcp_link import CONNECT_TIMEOUT_S, connect_tcp
from assay.errors import AssayError, InfrastructureError, LinkError, Refused
from assay.formats.visible_text import visible
from assay.model.ssh import SshAddress, SshHop

KEY_EXCHANGES = (
    "mlkem768x25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "diffie-hellman-group16-sha512",
)
CIPHERS = ("aes256-gcm@openssh.com", "aes128-gcm@openssh.com", "aes256-ctr", "aes128-ctr")
MACS = (
    "hmac-sha2-512-etm@openssh.com",
    "hmac-sha2-256-etm@openssh.com",
    "hmac-sha2-512",
    "hmac-sha2-256",
)
"""The last two for dropbear, which has no others."""
KEY_ALGORITHMS = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)
HANDSHAKE_TIMEOUT_S = 20.0
LOGIN_TIMEOUT_S = 30.0
SETTLE_S = 1.0
SESSION_WAIT_S, SESSION_EACH_S = 3.0, 0.1
_TAKEN = (*KEY_EXCHANGES[:2], *CIPHERS, *MACS[:2], *KEY_ALGORITHMS)
Link = socket.socket | InnerLink
NEWER_SSHD = f"update its SSH server; assay takes {', '.join(_TAKEN)}"


class PinnedTransport(paramiko.Transport):
    """paramiko's transport, with our algorithms, and host key algorithms in an order of our own."""

    def __init__(self, sock: Any, host_key_algorithms: tuple[str, ...]) -> None:
        super().__init__(sock)
        options = self.get_security_options()
        options.kex = [each for each in KEY_EXCHANGES if each in options.kex]  # without mlkem where OpenSSL has none
        options.ciphers, options.digests = CIPHERS, MACS
        options.key_types = KEY_ALGORITHMS
        self._preferred_pubkeys = KEY_ALGORITHMS
        self._host_key_algorithms = host_key_algorithms

    @property
    def preferred_keys(self) -> tuple[str, ...]:
        """What the host is asked for."""
        return self._host_key_algorithms

    def ask_for_answer(self) -> None:
        """Ask the host for something that it does not know: any answer will do. Waits while nobody takes it."""
        question = paramiko.Message()
        question.add_byte(paramiko.common.cMSG_GLOBAL_REQUEST)
        question.add_string("keepalive@openssh.com")
        question.add_boolean(True)
        with suppress(EOFError, OSError, paramiko.SSHException):
            self._send_user_message(question)  # type: ignore[attr-defined]  # the stubs lack it


class Connection:
    """An open way to a host; `transport` is the last one of the chain."""

    def __init__(self, address: SshAddress, timeout_s: float = CONNECT_TIMEOUT_S) -> None:
        """Raises LinkError, Refused, InfrastructureError, UsageFault."""
        self._chain: list[PinnedTransport] = []
        self.address = address
        try:
            for hop in address.way:
                link = self._socket(hop, timeout_s)
                self._chain.append(_logged_in(hop, link))
                if isinstance(link, InnerLink):
                    watch_inner(link, self._chain[-1].ask_for_answer, self._chain[-1].is_active)
        except BaseException:
            self.close()
            raise

    @property
    def transport(self) -> paramiko.Transport:
        """The one to the host itself."""
        return self._chain[-1]

    @property
    def alive(self) -> bool:
        """False once the link broke anywhere on the way."""
        return all(each.is_active() for each in self._chain)

    def close(self) -> None:
        """Hang up; a second call does nothing."""
        for each in reversed(self._chain):
            with suppress(EOFError, OSError, paramiko.SSHException):
                each.close()

    @contextmanager
    def channel(self) -> Iterator[paramiko.Channel]:
        """A channel for a command or for SFTP, for the time of a block. Raises LinkError."""
        opened = self._session()
        try:
            yield opened
            self._see_it_end(opened)
        finally:
            with suppress(paramiko.SSHException, EOFError, OSError):  # on a dead link that is all that can be said
                opened.close()

    def _see_it_end(self, channel: paramiko.Channel) -> None:
        """Let the host close it, within reason: dropbear takes a session that is opened meanwhile for the old one."""
        if channel.exit_status_ready() and not channel.eof_received:
            return  # somebody that the command left behind keeps it open
        with suppress(paramiko.SSHException, EOFError, OSError):
            channel.shutdown_write()
        deadline_s = time.monotonic() + SESSION_WAIT_S
        while not channel.closed and self.alive and time.monotonic() < deadline_s:
            time.sleep(SESSION_EACH_S / 10)

    def _session(self) -> paramiko.Channel:
        """Asked for again when the host says no: the session before may not have ended over there."""
        deadline_s = time.monotonic() + SESSION_WAIT_S
        while True:
            try:
                return self.transport.open_session(timeout=CONNECT_TIMEOUT_S)
            except (paramiko.SSHException, EOFError, OSError) as error:
                if not self.alive or time.monotonic() > deadline_s:
                    raise self._no_session(error) from error
            time.sleep(SESSION_EACH_S)

    def _no_session(self, error: Exception) -> InfrastructureError:
        if not isinstance(error, paramiko.ChannelException):
            return self.broken(error)
        return InfrastructureError(
            f"{self.address} opens no session: {visible(error.text or str(error))}",
            remedy="look at MaxSessions of its sshd",
        )

    def ended(self) -> bool:
        """True when the link broke; a failed write may be told a moment before the transport knows it."""
        deadline_s = time.monotonic() + SETTLE_S
        while self.alive and time.monotonic() < deadline_s:
            time.sleep(SETTLE_S / 50)
        return not self.alive

    def broken(self, error: BaseException | None = None) -> LinkError:
        """The link broke, or nothing came in time: which part of the way it was, as far as it can be told."""
        dead = (at for at, each in enumerate(self._chain) if not each.is_active())
        at = next(dead, None)
        if at is None:
            return _link_broke(str(self.address), error)
        way = self.address.way
        name = f"{way[at]}, from {way[at - 1]} on," if at else str(way[at])
        return _link_broke(name, self._chain[at].get_exception() or error)

    def _socket(self, hop: SshHop, timeout_s: float) -> Link:
        if not self._chain:
            return connect_tcp(hop.host, hop.port, str(hop), timeout_s)
        try:
            return InnerLink(
                self.transport.open_channel(
                    "direct-tcpip", (hop.host, hop.port), ("127.0.0.1", 0), timeout=CONNECT_TIMEOUT_S
                )
            )
        except paramiko.ChannelException as error:
            before = self.address.way[len(self._chain) - 1]
            raise LinkError(
                f"{before} does not get to {hop}: {visible(error.text or str(error))}",
                remedy="check the name as it is known there, and that its sshd allows TCP forwarding",
            ) from error
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise self.broken(error) from error


def _logged_in(hop: SshHop, link: Link) -> PinnedTransport:
    transport = meet(str(hop), link, wanted_algorithms(hop, KEY_ALGORITHMS))
    try:
        check_host_key(hop, transport.get_remote_server_key())
        _log_in(hop, transport)
    except BaseException as error:
        transport.close()
        if isinstance(error, AssayError) or not isinstance(error, (paramiko.SSHException, EOFError, OSError)):
            raise
        raise _link_broke(str(hop), error) from error
    return transport


def meet(name: str, link: Link, host_key_algorithms: tuple[str, ...]) -> PinnedTransport:
    """After the key exchange: the host `name` has shown a key, and that it has its private half; nobody compared it.

    Raises LinkError, Refused, and a bare InfrastructureError when it has no algorithm that is taken.
    """
    transport = PinnedTransport(link, host_key_algorithms)
    transport.banner_timeout, transport.auth_timeout = HANDSHAKE_TIMEOUT_S, LOGIN_TIMEOUT_S
    try:
        transport.start_client(timeout=HANDSHAKE_TIMEOUT_S)
        transport.get_remote_server_key()  # raises when the time was over before the key exchange was
    except BaseException as error:
        transport.close()
        link.close()
        if not isinstance(error, (paramiko.SSHException, EOFError, OSError)):
            raise
        raise _not_met(name, error) from error
    return transport


def _not_met(name: str, error: Exception) -> AssayError:
    if isinstance(error, paramiko.ssh_exception.IncompatiblePeer):
        return InfrastructureError(f"{name} has only algorithms that are not safe any more: {error}", remedy=NEWER_SSHD)
    if "Signature verification" in str(error):
        return Refused(f"{name} does not have the key that it shows: {error}", remedy="somebody may be in the way")
    return LinkError(
        f"there is no SSH with {name}{_words(error)}", remedy="check that an SSH server listens there, and its load"
    )


def _link_broke(name: str, error: BaseException | None) -> LinkError:
    return LinkError(
        f"the link to {name} broke{_words(error)}", remedy="check the network and the host, then do it again"
    )


def _log_in(hop: SshHop, transport: PinnedTransport) -> None:
    with login_keys(hop) as keys:
        for key in keys:
            try:
                more = transport.auth_publickey(hop.user, key)
            except paramiko.BadAuthenticationType as error:
                raise _not_in(hop, f"it takes no keys, only {', '.join(error.allowed_types)}") from error
            except paramiko.AuthenticationException:
                if not transport.is_active():
                    raise _hung_up(hop) from None
                continue
            if more:
                raise _not_in(hop, f"it wants {', '.join(more)} as well")
            return
    tried = ", ".join(str(key.fingerprint) for key in keys)
    raise _not_in(hop, f"it does not take the key{'s' if len(keys) > 1 else ''} {tried}")


def _hung_up(hop: SshHop) -> LinkError:
    return LinkError(
        f"the link to {hop} broke while logging in",
        remedy="check the network; a host that hangs up after one wrong key (MaxAuthTries) needs the right one",
    )


def _not_in(hop: SshHop, why: str) -> InfrastructureError:
    return InfrastructureError(
        f"{hop} does not let us in: {why}",
        remedy=f"put the public key into ~{hop.user}/.ssh/authorized_keys there, or name another identity",
    )


def _words(error: BaseException | None) -> str:
    text = visible(str(error)) if error is not None else ""
    return f": {text or 'nothing comes from it any more'}"
