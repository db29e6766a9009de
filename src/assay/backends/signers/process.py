# SPDX-License-Identifier: Apache-2.0
"""The signer process: the only process that ever opens a private key. Started by `service`, one for each verb.

Guards: the key folder and PINs come in the first message and never in arguments or environment; the process dies with
its parent; its memory cannot be read or traced by others of the same user, and it leaves no core file; what may hang is
announced first, so that who waits can end it and say what hung.
Leaves to others: what may be signed (`role_keys`), and who may ask (whoever may read the key folder).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from assay.backends.signers import messages
from assay.backends.signers.key_setup import KeySetup
from assay.backends.signers.role_keys import RoleKeys
from assay.errors import InfrastructureError
from assay.formats import dsse
from assay.model.keys import RoleKey, Token
from assay.model.trust import Role

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
"""prctl(2), Linux."""

Answer = dict[str, Any]


def _sign(keys: RoleKeys, request: Answer) -> Answer:
    data = dsse.decode_base64(request["data"], "the data to sign")
    return {"signature": dsse.encode_base64(keys.sign_bytes(Role(request["role"]), data))}


def _statement(keys: RoleKeys, request: Answer) -> Answer:
    data = dsse.decode_base64(request["data"], "the data to sign")
    return {"bundle": dsse.encode_base64(keys.sign_statement(Role(request["role"]), data))}


def _use(keys: RoleKeys, request: Answer) -> Answer:
    options = {name: request[name] for name in ("public", "name", "make", "production")}
    KeySetup(keys).use(Role(request["role"]), str(request["uri"]), **options)
    return keys.public(Role(request["role"]))


def _metadata(keys: RoleKeys, request: Answer) -> Answer:
    data = dsse.decode_base64(request["data"], "the data to sign")
    key = RoleKey.model_validate_json(request["key"])
    return {"signature": dsse.encode_base64(keys.sign_metadata(key, data))}


def _repository_key(keys: RoleKeys, request: Answer) -> Answer:
    name, uri = str(request["name"]), request.get("uri")
    if uri is None:
        return {"key": keys.folder.named_development_key(name).model_dump(mode="json")}
    found = KeySetup(keys).repository_key(str(uri), name, production=bool(request["production"]))
    return {"key": found.model_dump(mode="json")}


def _token(keys: RoleKeys, request: Answer) -> Answer:
    keys.folder.set_token(str(request["label"]), Token.model_validate_json(request["token"]))
    return {}


_ANSWERS: Mapping[str, Callable[[RoleKeys, Answer], Answer]] = {
    "public": lambda keys, request: keys.public(Role(request["role"])),
    "roles": lambda keys, _request: keys.roles(),
    "sign": _sign,
    "statement": _statement,
    "use": _use,
    "metadata": _metadata,
    "repository-key": _repository_key,
    "token": _token,
    "login": lambda keys, request: KeySetup(keys).login(str(request["label"])),
}


def answer(keys: RoleKeys, request: Answer) -> Answer:
    """The answer to one request."""
    if request["op"] not in _ANSWERS:
        told = f"the signer process does not know {request['op']!r}"
        raise InfrastructureError(told, remedy="use one version of assay")
    return _ANSWERS[request["op"]](keys, request)


def opened(request: Answer) -> RoleKeys:
    """The keys of the folder that the first message names."""
    secrets = {str(name): str(value) for name, value in request.get("secrets", {}).items()}
    return RoleKeys(Path(request["keys_dir"]), Path(request["locks_dir"]), secrets, _announce)


def _announce(what: str, within_s: float) -> None:
    sys.stdout.buffer.write(messages.encode({"waiting": what, "within_s": within_s}))
    sys.stdout.buffer.flush()


def shield() -> None:
    """Die with the parent, cannot be read or traced, leaves no core; Ctrl-C is for the parent to handle."""
    libc = ctypes.CDLL(None, use_errno=True)
    for option, value in ((PR_SET_PDEATHSIG, signal.SIGKILL), (PR_SET_DUMPABLE, 0)):
        if libc.prctl(option, value, 0, 0, 0) != 0:
            raise InfrastructureError("the signer process cannot shield itself", remedy="use Linux 2.6 or newer")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def serve() -> None:
    """Answer requests on standard input until it ends, which it does when the parent is gone."""
    shield()
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    keys: RoleKeys | None = None
    while line := requests.readline(messages.MESSAGE_BYTES_MAX):
        try:
            request = messages.decode(line)
            if request.get("op") == "open":
                keys, reply = opened(request), {"pid": os.getpid()}
            elif keys is None:
                raise InfrastructureError("the signer process knows no key folder", remedy="use one version of assay")
            else:
                reply = answer(keys, request)
        except Exception as error:
            reply = messages.of_error(error)
        answers.write(messages.encode(reply))
        answers.flush()


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        serve()
