# SPDX-License-Identifier: Apache-2.0
"""The folder that a Sigstore lab leaves for its clients: trusted root, signing configuration, a token command.

Guards: no private key is written; the folder's files are those of the lab that runs now.
Leaves to others: the services (`simulation.sigstore_lab`).
"""

from __future__ import annotations

import importlib.util
import json
import shlex
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.backends.durable_file import exclusive, make_folder, write_durably
from assay.errors import InfrastructureError, StorageError, ToolMissing, UsageFault
from assay.formats.time_stamps import INSTALL

if TYPE_CHECKING:
    from assay.simulation.sigstore_lab.lab import SigstoreLab

TRUST_CONFIG, TRUSTED_ROOT, SIGNING_CONFIG = "trust_config.json", "trusted_root.json", "signing_config.json"
TOKEN = "token"  # noqa: S105 (a file's name)
DEFAULT_SUBJECT = "https://lab.example/builder"
TOKEN_TIMEOUT_S = 10
TOKEN_BYTES_MAX = 16384


def need_extra() -> None:
    """`ToolMissing` unless the packages of the extra `sigstore` are installed."""
    if any(importlib.util.find_spec(name) is None for name in ("sigstore", "tuf")):
        raise ToolMissing("the packages sigstore and tuf are not installed", remedy=INSTALL)


def open_lab(port: int) -> SigstoreLab:
    """A lab that listens. Raises `ToolMissing`, `InfrastructureError` for a port that is taken."""
    need_extra()
    from assay.simulation.sigstore_lab.lab import SigstoreLab

    try:
        return SigstoreLab(port)
    except OSError as error:
        raise InfrastructureError(f"port {port} cannot be used: {error.strerror}", remedy="choose another") from error


def write_folder(folder: Path, lab: SigstoreLab) -> None:
    """Write what clients of `lab` need. Raises `StorageError`."""
    files: dict[str, tuple[bytes, int]] = {
        TRUSTED_ROOT: (_pretty(lab.trusted_root), 0o644),
        SIGNING_CONFIG: (_pretty(lab.signing_config), 0o644),
        TOKEN: (_token_command(folder), 0o755),
        TRUST_CONFIG: (_pretty(lab.trust_config), 0o644),
    }
    try:
        make_folder(folder)
        with exclusive(folder):
            for name, (data, mode) in files.items():
                write_durably(folder / name, data, mode=mode)
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error.strerror}", remedy="choose another folder") from error


def ask_token(folder: Path, subject: str) -> str:
    """A token for `subject` from the lab that wrote `folder`. Raises `UsageFault`, `InfrastructureError`."""
    try:
        url = json.loads((folder / SIGNING_CONFIG).read_bytes())["oidcUrls"][0]["url"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UsageFault(f"{folder} is not the folder of a Sigstore lab", remedy="assay lab sigstore FOLDER") from error
    if not str(url).startswith("http://127.0.0.1:"):
        raise UsageFault(f"{folder} does not name a lab on this machine", remedy="assay lab sigstore FOLDER")
    query = urllib.parse.urlencode({"sub": subject})
    try:
        with urllib.request.urlopen(f"{url}/token?{query}", timeout=TOKEN_TIMEOUT_S) as answer:  # noqa: S310 (above)
            return str(answer.read(TOKEN_BYTES_MAX).decode("ascii"))
    except (OSError, ValueError, urllib.error.URLError) as error:
        raise InfrastructureError(f"the lab at {url} does not answer", remedy="start it again") from error


def _token_command(folder: Path) -> bytes:
    words = shlex.join([sys.executable, "-m", "assay", "lab", "token", str(folder.absolute())])
    return f'#!/bin/sh\n# An identity token of the lab, on stdout.\nexec {words} "$@"\n'.encode()


def _pretty(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=2) + "\n").encode()
