# SPDX-License-Identifier: Apache-2.0
"""One keyless signature, in a process of its own: started by `keyless`, which ends it when its time is over.

Guards: the token and the ephemeral key live and die here, shielded as in the signer process; an answer that could hold
the token is never told. What is refused (a bad token) is told apart from what is away (a service that does not answer).
Leaves to others: time limits, attempts, and the verification of what comes out (`keyless`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import ssl
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from assay.backends.signers import messages
from assay.backends.signers.process import shield
from assay.errors import AssayError, InfrastructureError, Refused, ServiceAway, ToolMissing, UsageFault
from assay.formats.dsse import decode_base64, encode_base64
from assay.formats.time_stamps import INSTALL

if TYPE_CHECKING:
    from sigstore.models import ClientTrustConfig

TOKEN_BYTES_MAX = 65536
CLIENT_ERRORS = range(400, 500)
TRY_AGAIN = (408, 425, 429)
"""Of HTTP's client errors those that another attempt may mend."""

_TOKEN = "give another token, or another identity provider"  # noqa: S105 (advice)


def sign(request: dict[str, Any], has_token: Callable[[float], None] = lambda _s: None) -> dict[str, Any]:
    """The bundle over `payload`, and the trusted root that it verifies with. `has_token`: told once the token is there,
    with the seconds that it took.
    """
    try:
        from sigstore import dsse
        from sigstore.models import InvalidBundle
        from sigstore.oidc import IdentityToken
        from sigstore.sign import SigningContext
    except ImportError as error:
        raise ToolMissing("keyless signing needs the package sigstore, which is not there", remedy=INSTALL) from error
    begin = time.monotonic()
    raw = _token(request)
    try:
        token = IdentityToken(raw)
    except Exception as error:
        raise Refused("the identity token is malformed, expired or not meant for Sigstore", remedy=_TOKEN) from error
    has_token(time.monotonic() - begin)
    config = _config(request.get("trust_config"))
    context = SigningContext.from_trust_config(config)
    stampers = [_Stamper(each) for each in context._tsa_clients]
    context._tsa_clients = list[Any](stampers)
    with context.signer(token, cache=True) as signer:
        try:
            bundle = signer.sign_dsse(dsse.Statement(decode_base64(request["payload"], "the statement")))
        except InvalidBundle:
            failed = next((each.failed for each in stampers if each.failed is not None), None)
            if failed is None:
                raise
            raise failed from failed.__context__  # what the network said: raised here it would be lost
    return {"bundle": encode_base64(bundle.to_json().encode()), "trusted_root": config._inner.trusted_root.to_json()}


class _Stamper:
    """A client of a time stamp authority, with why it got no stamp: the library logs that and goes on, and says in the
    end that the bundle is invalid, as if nobody had been away.
    """

    def __init__(self, client: Any) -> None:
        self.url = client.url
        self.failed: Exception | None = None
        self._client = client

    def request_timestamp(self, signature: bytes) -> Any:
        try:
            return self._client.request_timestamp(signature)
        except Exception as error:
            self.failed = error
            raise


def _config(text: str | None) -> ClientTrustConfig:
    from sigstore.models import ClientTrustConfig

    if text is None:
        return ClientTrustConfig.production()  # never `offline=True`, which believes its cache (docs/adr/0208)
    try:
        config = ClientTrustConfig.from_json(text)
        config.signing_config.get_tlogs()
    except Exception as error:
        raise UsageFault(f"the trust config cannot be used: {error}", remedy="get it from who runs them") from error
    return config


def _token(request: dict[str, Any]) -> str:
    """From a file, from a command, or from the CI system. What it is goes into no message."""
    if path := request.get("token_file"):
        return _token_of_file(path)
    if command := request.get("token_command"):
        try:
            told, status = _told_by(command)
        except OSError as error:
            raise UsageFault(
                f"the token command {command[0]} cannot be run: {error.strerror}", remedy="correct it"
            ) from error
        if status != 0:
            raise InfrastructureError(
                f"the token command {command[0]} ended with status {status}", remedy="see what it says"
            )
        return _whole(told, f"what the token command {command[0]} prints")
    return _ambient()


def _token_of_file(path: str) -> str:
    """A regular file that nobody else can read: whoever has the token signs as this builder."""
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            kind = os.fstat(file.fileno())
            data = file.read(TOKEN_BYTES_MAX + 1) if stat.S_ISREG(kind.st_mode) else b""
    except OSError as error:
        text = f"the token file {path} cannot be read: {error.strerror}"
        raise UsageFault(text, remedy="write the token into it") from error
    if not stat.S_ISREG(kind.st_mode):
        raise UsageFault(f"the token file {path} is no file", remedy="write the token into a file, or give a command")
    if kind.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        text = f"the token file {path} can be read by others (mode {stat.S_IMODE(kind.st_mode):04o})"
        raise Refused(text, remedy=f"chmod 600 {path}, and take another token: this one may be known")
    return _whole(data, f"the token file {path}")


def _told_by(command: list[str]) -> tuple[bytes, int]:
    """What the command prints, up to one byte more than a token has, and its status. Raises `OSError`."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    assert process.stdout is not None
    with process.stdout as output:
        told = output.read(TOKEN_BYTES_MAX + 1)
    return told, process.wait()


def _whole(data: bytes, what: str) -> str:
    if len(data) > TOKEN_BYTES_MAX:
        raise UsageFault(f"{what} is longer than {TOKEN_BYTES_MAX} bytes: that is no token", remedy="correct it")
    return data.decode("ascii", "replace").strip()


def _ambient() -> str:
    from sigstore.oidc import detect_credential

    try:
        found = detect_credential()
    except Exception as error:
        raise Refused(
            f"the CI system gives no identity token: {type(error).__name__}",
            remedy="allow it to this job (GitHub: permissions: id-token: write; GitLab: id_tokens)",
        ) from error
    if found is None:
        raise UsageFault(
            "there is no identity token: this is no CI system that gives one",
            remedy="name token_file or token_command in keyless.toml",
        )
    return found


def told(error: Exception) -> AssayError:
    """`error` of the client as one of ours. The client hides the HTTP status of a refusal in the cause."""
    if isinstance(error, AssayError):
        return error
    status, cause = None, error
    while cause is not None and status is None:
        status = getattr(getattr(cause, "response", None), "status_code", None)
        cause = cause.__cause__ or cause.__context__  # type: ignore[assignment]
    if status in CLIENT_ERRORS and status not in TRY_AGAIN:
        return Refused(f"the Sigstore services refuse (HTTP {status}, {type(error).__name__})", remedy=_TOKEN)
    if status is None and not _is_of_the_network(error):
        text = f"the Sigstore client failed ({type(error).__name__})"
        return InfrastructureError(text, remedy="see whether its version and the trust config belong together")
    where = f" (HTTP {status})" if status else ""
    text = f"the Sigstore services do not answer{where}: {type(error).__name__}"
    return ServiceAway(text, remedy='try again later; keyless.toml may say when_away = "queue"')


_HERE = frozenset(
    {
        *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO),
        *(errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOENT, errno.ENOTDIR, errno.EISDIR),
    }
)
"""What fails on this host, also in the middle of a request: files, rights, memory, descriptors."""

_AWAY = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.ETIMEDOUT})


def _is_of_the_network(error: BaseException | None) -> bool:
    """Whether a connection, a name or a time-out is at the bottom of it, and nothing of this host: HTTP clients raise
    kinds of `OSError`. A service whose certificate is wrong is not away, but somebody else.
    """
    kinds, broken = _kinds_of_the_client()
    away: tuple[type[BaseException], ...] = (ConnectionError, TimeoutError, socket.gaierror, *kinds)
    wrong: tuple[type[BaseException], ...] = (ssl.SSLError, *broken)
    found = False
    while error is not None:
        number = error.errno if isinstance(error, OSError) and not isinstance(error, socket.gaierror) else None
        if isinstance(error, wrong) and not isinstance(error, ssl.SSLEOFError):
            return False
        if number in _HERE:
            return False
        found = found or number in _AWAY or isinstance(error, away)
        error = error.__cause__ or error.__context__
    return found


def _kinds_of_the_client() -> tuple[tuple[type[Exception], ...], tuple[type[Exception], ...]]:
    """What the Sigstore client's HTTP raises for a service that is away, and for one with a wrong certificate."""
    try:
        from requests import exceptions
    except ImportError:
        return (), ()
    kinds = (exceptions.ConnectionError, exceptions.Timeout, exceptions.ChunkedEncodingError)
    return kinds, (exceptions.SSLError,)


def serve() -> None:
    """Answer the one request on standard input."""
    shield()

    def tell(message: dict[str, Any]) -> None:
        sys.stdout.buffer.write(messages.encode(message))
        sys.stdout.buffer.flush()

    try:
        request = messages.decode(sys.stdin.buffer.readline(messages.MESSAGE_BYTES_MAX))
        reply = sign(request, lambda seconds: tell({messages.TOKEN_STEP: seconds}))
    except Exception as error:
        reply = messages.of_error(told(error))
    tell(reply)


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        serve()
