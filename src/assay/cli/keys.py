# SPDX-License-Identifier: Apache-2.0
"""`assay keys`: make keys, show public keys, write a trust file. No private key ever comes into this process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from assay.cli.near_commands import NearCommands
from assay.cli.session import Answer, Session, verb

if TYPE_CHECKING:
    from assay.model.trust import TrustedKey

ROLES = ("image", "builder", "bench", "station", "field", "policy", "verifier", "device-ca", "log")
"""`model.trust.Role`, written out so that `--help` needs no model; a test holds them together."""


@click.group(cls=NearCommands, short_help="Make keys, show public keys, write a trust file.")
def command() -> None:
    """Keys of this site: who signs what."""


@command.command("init")
@verb
def init(session: Session) -> Answer:
    """Make the development keys that are missing, and begin the log."""
    keys = _all_keys(session)
    log = session.site.recorder.trusted_log()
    text = "\n".join([*_lines(keys), f"log {log.origin}"])
    return Answer(text, {"keys": [_json(key) for key in keys], "log": log.model_dump(mode="json")})


@command.command("list")
@verb
def list_keys(session: Session) -> Answer:
    """Show the public key of every role."""
    keys = _all_keys(session)
    return Answer("\n".join(_lines(keys)), {"keys": [_json(key) for key in keys]})


@command.command("show")
@click.argument("role", type=click.Choice(ROLES))
@click.option("--format", "form", type=click.Choice(["pem", "hex"]), default="pem", show_default=True)
@verb
def show(session: Session, role: str, form: str) -> Answer:
    """Show one public key. hex: the 32 bytes of an Ed25519 key, the uncompressed point of a P-256 key."""
    from assay.formats.public_key import raw_bytes
    from assay.model.trust import Role

    key = session.site.signers.public_key(Role(role))
    text = key.public.rstrip("\n") if form == "pem" else raw_bytes(key.public).hex()
    return Answer(text, {"key": _json(key), form: text})


@command.command("trust")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="The file to write [default: stdout].")
@click.option("--name", default="site", show_default=True, help="What to call it; verification says this name.")
@click.option("--allow-development", is_flag=True, help="Accept UNSAFE-DEVELOPMENT keys. For demonstrations only.")
@click.option("--allow-emulated", is_flag=True, help="Accept emulated boards. For demonstrations only.")
@click.option(
    "--image-key",
    "image_keys",
    multiple=True,
    metavar="BOARD=FILE",
    help="Also the public key (PEM) that signs somebody else's images for BOARD.",
)
@click.option("--replace", is_flag=True, help="Replace a file that says something else.")
@verb
def trust(
    session: Session,
    out: Path | None,
    name: str,
    allow_development: bool,
    allow_emulated: bool,
    image_keys: tuple[str, ...],
    replace: bool,
) -> Answer:
    """Write a trust file with this site's public keys and its log: the anchor of `assay trace`, `verify` and `log
    verify`.
    """
    from assay.formats import trust_file
    from assay.pipeline.trust_file import read_image_key, site_trust, write_trust

    value = site_trust(
        session.site,
        name,
        allow_development=allow_development,
        allow_emulated=allow_emulated,
        image_keys=tuple(read_image_key(text) for text in image_keys),
    )
    data: dict[str, Any] = {"trust": value.model_dump(mode="json", by_alias=True)}
    if out is None:
        return Answer(trust_file.encode(value).decode("utf-8").rstrip("\n"), data)
    write_trust(out, value, replace=replace)
    return Answer(f"wrote {out}: {len(value.keys)} keys, log {value.logs[0].origin}", {**data, "file": str(out)})


def _all_keys(session: Session) -> list[TrustedKey]:
    from assay.model.trust import Role

    return [session.site.signers.public_key(Role(role)) for role in ROLES]


def _lines(keys: list[TrustedKey]) -> list[str]:
    return [f"{key.role:<10} {key.algorithm:<11} {key.keyid}  {key.name}" for key in keys]


def _json(key: TrustedKey) -> dict[str, Any]:
    document: dict[str, Any] = key.model_dump(mode="json")
    return document
