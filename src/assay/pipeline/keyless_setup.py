# SPDX-License-Identifier: Apache-2.0
"""`keyless.toml` of a site: written whole or not at all, with what it names copied beside it.

Guards: the services are read once by the Sigstore client before anything is written. Leaves to others: signing
(`backends.signers.keyless`).
"""

from __future__ import annotations

import shlex
from pathlib import Path

from pydantic import ValidationError

from assay.backends.durable_file import exclusive, make_folder, write_durably
from assay.backends.named_file import read_named
from assay.backends.signers.keyless import TRUST_CONFIG_BYTES_MAX, settings_text
from assay.errors import StorageError, UsageFault
from assay.formats.signer_choice import pattern_fault
from assay.model.keyless import KeylessSettings
from assay.pipeline.lab_folder import need_extra
from assay.pipeline.site import Site

SETTINGS_FILE, CONFIG_FILE = "keyless.toml", "trust_config.json"


def write_settings(
    site: Site,
    names: tuple[str, str],
    trust_config: Path | None,
    token_file: Path | None,
    token_command: str | None,
    deadline_s: int,
    *,
    queue: bool,
) -> KeylessSettings:
    """Write them; `names` are issuer and identity. Raises `UsageFault`, `ToolMissing`, `StorageError`."""
    need_extra()
    config = _read_config(trust_config) if trust_config is not None else None
    try:
        settings = KeylessSettings(
            schema="assay.keyless/1",
            issuer=names[0],
            identity=names[1],
            trust_config=CONFIG_FILE if config is not None else None,
            token_file=str(token_file.absolute()) if token_file is not None else None,
            token_command=tuple(shlex.split(token_command)) if token_command is not None else (),
            deadline_s=deadline_s,
            when_away="queue" if queue else "refuse",
        )
    except ValueError as error:  # a ValidationError is one
        said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise UsageFault(f"this cannot be: {said}", remedy="see assay keys keyless -h") from error
    if settings.identity.count("*") and (fault := pattern_fault(settings.identity)):
        raise UsageFault(fault, remedy="write out whose it is")
    try:
        make_folder(site.folder)
        with exclusive(site.folder):
            if config is not None:
                write_durably(site.folder / CONFIG_FILE, config)
            write_durably(site.folder / SETTINGS_FILE, settings_text(settings))
    except OSError as error:
        raise StorageError(f"{site.folder} cannot be written: {error.strerror}", remedy="make it writable") from error
    return settings


def remove_settings(site: Site) -> None:
    """The builder signs by key again. Raises `StorageError`."""
    try:
        (site.folder / SETTINGS_FILE).unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"{site.folder} cannot be written: {error.strerror}", remedy="make it writable") from error


def _read_config(path: Path) -> bytes:
    from sigstore.models import ClientTrustConfig

    try:
        data = read_named(path, TRUST_CONFIG_BYTES_MAX)
        ClientTrustConfig.from_json(data.decode("utf-8")).signing_config.get_fulcio()
    except OSError as error:
        raise UsageFault(f"{path} cannot be read: {error.strerror}", remedy="check the path") from error
    except Exception as error:
        text = f"{path} is no client trust config of Sigstore: {str(error).splitlines()[0]}"
        raise UsageFault(text, remedy="get it from who runs the services") from error
    return data
