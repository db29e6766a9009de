# SPDX-License-Identifier: Apache-2.0
"""One keyless signature, in a process of its own: started by `keyless`, which ends it when its time is over.

Guards: the token and the ephemeral key live and die here, shielded as in the signer process; an answer that could hold
the token is never told. What is refused (a bad token) is told apart from what is away (a service that does not answer).
Leaves to others: time limits, attempts, and the verification of what comes out (`keyless`).
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
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


def sign(request: dict[str, Any]) -> dict[str, Any]:
    """The bundle over `payload`, and the trusted root that it verifies with."""
    try:
        from sigstore import dsse
        from sigstore.oidc import IdentityToken
        from sigstore.sign import SigningContext
    except ImportError as error:
        raise ToolMissing("keyless signing needs the package sigstore, which is not there", remedy=INSTALL) from error
    config = _config(request.get("trust_config"))
    raw = _token(request)
    try:
        token = IdentityToken(raw)
    except Exception as error:
        raise Refused("the identity token is malformed, expired or not meant for Sigstore", remedy=_TOKEN) from error
    with SigningContext.from_trust_config(config).signer(token, cache=True) as signer:
        bundle = signer.sign_dsse(dsse.Statement(decode_base64(request["payload"], "the statement")))
    return {"bundle": encode_base64(bundle.to_json().encode()), "trusted_root": config._inner.trusted_root.to_json()}


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
        try:
            return Path(path).read_text(encoding="ascii")[:TOKEN_BYTES_MAX].strip()
        except (OSError, ValueError) as error:
            raise UsageFault(f"the token file {path} cannot be read", remedy="write the token into it") from error
    if command := request.get("token_command"):
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, check=False)
        except OSError as error:
            raise UsageFault(
                f"the token command {command[0]} cannot be run: {error.strerror}", remedy="correct it"
            ) from error
        if done.returncode != 0:
            raise InfrastructureError(
                f"the token command {command[0]} ended with status {done.returncode}", remedy="see what it says"
            )
        return done.stdout[:TOKEN_BYTES_MAX].decode("ascii", "replace").strip()
    return _ambient()


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


def _is_of_the_network(error: BaseException | None) -> bool:
    """Whether a connection, a name or a time-out is at the bottom of it: HTTP clients raise kinds of `OSError`."""
    while error is not None:
        if isinstance(error, OSError):
            return True
        error = error.__cause__ or error.__context__
    return False


def serve() -> None:
    """Answer the one request on standard input."""
    shield()
    try:
        reply = sign(messages.decode(sys.stdin.buffer.readline(messages.MESSAGE_BYTES_MAX)))
    except Exception as error:
        reply = messages.of_error(told(error))
    sys.stdout.buffer.write(messages.encode(reply))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        serve()
