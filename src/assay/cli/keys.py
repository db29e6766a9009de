# SPDX-License-Identifier: Apache-2.0
"""`assay keys`: which key signs for which role, public keys, a trust file. No private key ever comes into this process,
and no PIN is an argument: arguments are seen by everybody on the host.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from assay.cli.near_commands import NearCommands
from assay.cli.roles import ROLES
from assay.cli.session import Answer, Session, verb
from assay.errors import UsageFault

if TYPE_CHECKING:
    from assay.model.trust import TrustedKey, TrustFile


PUBLIC = FILE = click.Path(path_type=Path, dir_okay=False)


@click.group(cls=NearCommands, short_help="Say which key signs what, show public keys, write a trust file.")
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
    """Show the public key of every role, and where its private key is."""
    signers = session.site.keys
    found = [(signers.public_key(role), signers.uri(role)) for role in signers.roles()]
    lines = [f"{line}\n  {uri}" for line, (_, uri) in zip(_lines([key for key, _ in found]), found, strict=True)]
    keyless = session.site.keyless
    if keyless is not None:
        later = "; its key signs what is logged later" if keyless.when_away == "queue" else ""
        lines.append(f"builder    signs keyless, as {keyless.identity} (by {keyless.issuer}){later}")
    text = "\n".join(lines) or "no role has a key: `assay keys use ROLE URI`"
    said = keyless.model_dump(mode="json", by_alias=True) if keyless is not None else None
    return Answer(text, {"keys": [{**_json(key), "uri": uri} for key, uri in found], "keyless": said})


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


@command.command("use")
@click.argument("role", type=click.Choice(ROLES))
@click.argument("uri")
@click.option("--public", type=PUBLIC, help="The public key (PEM), where it cannot be asked for: key services.")
@click.option("--name", help="What to call the key [default: the role].")
@click.option("--make", is_flag=True, help="Make the key in its token first, so that it never leaves it.")
@click.option(
    "--production",
    is_flag=True,
    help="It is no development key, although it is in a file, or in a token that does not say that it is hardware.",
)
@verb
def use(
    session: Session, role: str, uri: str, public: Path | None, name: str | None, make: bool, production: bool
) -> Answer:
    """From now on the key at URI signs for ROLE: file2:FILE, hsm:ID?label=TOKEN, pkcs11:token=TOKEN;object=LABEL."""
    from assay.model.trust import Role
    from assay.pipeline.site_keys import use_key

    key = use_key(session.site, Role(role), uri, public=public, name=name, make=make, production=production)
    return Answer("\n".join(_lines([key])), {"key": {**_json(key), "uri": uri}})


@command.command("token")
@click.argument("label")
@click.option("--module", required=True, help="Path of the PKCS#11 library that its maker gives for it.")
@click.option("--pin-env", metavar="ASSAY_PIN...", help="The PIN is in this variable.")
@click.option("--pin-file", metavar="FILE", help="The PIN is in this file (mode 600); relative to the folder of keys.")
@click.option("--pin-command", metavar="COMMAND", help="This command prints the PIN.")
@click.option("--pin-prompt", is_flag=True, help="Ask for the PIN on the terminal, once for each verb that signs.")
@click.option("--serial", help="Its serial number, where two have one label.")
@click.option("--timeout-s", type=click.FloatRange(0, 600, min_open=True), help="Seconds for one call [default: 10].")
@verb
def token(
    session: Session,
    label: str,
    module: str,
    pin_env: str | None,
    pin_file: str | None,
    pin_command: str | None,
    pin_prompt: bool,
    serial: str | None,
    timeout_s: float | None,
) -> Answer:
    """Say how the token LABEL is reached, and where its PIN comes from; exactly one --pin-... is needed."""
    import shlex

    from assay.pipeline.site_keys import set_token

    command_words = tuple(shlex.split(pin_command)) if pin_command else None
    pin = {"env": pin_env, "file": pin_file, "command": command_words, "prompt": pin_prompt or None}
    rest = {"serial": serial, "timeout_s": timeout_s}
    value = set_token(session.site, label, {"module": module, "pin": _given(pin), **_given(rest)})
    return Answer(f"token '{label}': {module}", {"token": label, **value.model_dump(mode="json", exclude_none=True)})


@command.command("login")
@click.argument("label")
@verb
def login(session: Session, label: str) -> Answer:
    """Give the token LABEL its PIN once, also after it was wrong. Nothing else gives a wrong PIN a second time."""
    hardware = session.site.keys.login(label)
    kind = "hardware" if hardware else "no hardware, as it says itself"
    return Answer(f"token '{label}': the PIN is right ({kind})", {"token": label, "hardware": hardware})


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
@click.option(
    "--sigstore",
    "services",
    multiple=True,
    metavar="NAME=FILE",
    help="Also a Sigstore instance: its trusted_root.json, or a client trust config.",
)
@click.option(
    "--identity",
    "identities",
    multiple=True,
    metavar="NAME=ROLE,ISSUER,SAN",
    help="Also whom certificates of the Sigstore instance NAME name; `*` in SAN makes it a pattern.",
)
@click.option(
    "--summaries",
    is_flag=True,
    help="Leave the builder out: releases are accepted by their verification summaries (for stations).",
)
@click.option(
    "--summary-policy",
    "policies",
    multiple=True,
    metavar="NAME[@VERSION|@sha256:DIGEST]",
    help="With --summaries: only those of this policy count.",
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
    services: tuple[str, ...],
    identities: tuple[str, ...],
    summaries: bool,
    policies: tuple[str, ...],
    replace: bool,
) -> Answer:
    """Write a trust file with this site's public keys and its log: the anchor of `assay trace`, `verify` and `log
    verify`.
    """
    from assay.formats import trust_file
    from assay.pipeline.trust_file import (
        read_image_key,
        read_summary_policy,
        site_trust,
        without_builders,
        write_trust,
    )
    from assay.pipeline.trust_identities import with_identities

    value = site_trust(
        session.site,
        name,
        allow_development=allow_development,
        allow_emulated=allow_emulated,
        image_keys=tuple(read_image_key(text) for text in image_keys),
    )
    value = with_identities(value, services, identities)
    if policies and not summaries:
        raise UsageFault("--summary-policy limits summaries", remedy="give --summaries, too")
    if summaries:
        value = without_builders(value, tuple(map(read_summary_policy, policies)))
    data: dict[str, Any] = {"trust": value.model_dump(mode="json", by_alias=True)}
    if out is None:
        return Answer(trust_file.encode(value).decode("utf-8").rstrip("\n"), data)
    write_trust(out, value, replace=replace)
    named = f", {len(value.identities)} identities" if value.identities else ""
    images = "".join(f"\n  image key '{key.name}' for {', '.join(key.boards)}" for key in value.image_keys)
    text = f"wrote {out}: {len(value.keys)} keys{named}, log {value.logs[0].origin}{images}"
    for line in _boards_not_here(value):
        session.say(line)
    return Answer(text, {**data, "file": str(out)})


def _boards_not_here(trust: TrustFile) -> Iterator[str]:
    """A line for each board of an image key that this project does not have: another project may, or it is misspelt."""
    from assay.formats.near_names import did_you_mean
    from assay.pipeline.manifest_files import board_names, project_root

    try:
        known = board_names(project_root(Path.cwd()))
    except UsageFault:
        return
    for key in trust.image_keys:
        for board in key.boards:
            if board not in known:
                yield f"caution: there is no boards/{board}.toml here; {did_you_mean(board, known)}".rstrip("; ")


@command.command("keyless")
@click.option("--issuer", metavar="URL", help="Who vouches for the identity (OIDC).")
@click.option(
    "--identity", metavar="NAME", help="Who the builder is: a URI or an e-mail address, or a pattern with a star."
)
@click.option("--trust-config", type=FILE, help="The services [default: the public Sigstore].")
@click.option("--token-file", type=FILE, help="A file with the identity token [default: the CI system gives one].")
@click.option("--token-command", metavar="COMMAND", help="A command that prints the identity token.")
@click.option("--deadline", type=click.IntRange(1, 3600), default=120, show_default=True, help="Seconds, all attempts.")
@click.option("--queue", is_flag=True, help="When the services are away, sign by key, and log later.")
@click.option("--off", is_flag=True, help="Sign by key again.")
@verb
def keyless(
    session: Session,
    issuer: str | None,
    identity: str | None,
    trust_config: Path | None,
    token_file: Path | None,
    token_command: str | None,
    deadline: int,
    queue: bool,
    off: bool,
) -> Answer:
    """Have the builder of this site sign keyless: `assay sign` and `assay publish` use a certificate instead of a key.

    Writes keyless.toml into the site folder. The token itself is never an argument.
    """
    from assay.pipeline.keyless_setup import remove_settings, write_settings

    if off:
        remove_settings(session.site)
        return Answer("the builder signs by key", {"keyless": None})
    if issuer is None or identity is None:
        raise UsageFault("--issuer and --identity say who the builder is", remedy="give both, or --off")
    names = (issuer, identity)
    settings = write_settings(session.site, names, trust_config, token_file, token_command, deadline, queue=queue)
    said = settings.model_dump(mode="json", by_alias=True)
    return Answer(f"the builder signs keyless, with {trust_config or 'the public Sigstore'}", {"keyless": said})


@command.command("roots")
@click.argument("repository", type=click.Path(path_type=Path, file_okay=False))
@click.option("--trust", "trust_path", type=FILE, required=True, envvar="ASSAY_TRUST", help="The file to update.")
@click.option("--name", required=True, help="Which [[sigstore]] of the file.")
@click.option("--root", type=FILE, help="TUF root metadata that came on another way; needed the first time.")
@click.option("--state", type=click.Path(path_type=Path, file_okay=False), help="What was seen [default: in the site].")
@verb
def roots(
    session: Session, repository: Path, trust_path: Path, name: str, root: Path | None, state: Path | None
) -> Answer:
    """Bring the trusted root of a Sigstore instance in a trust file up to date from REPOSITORY: a TUF repository in a
    folder or on a stick. No network is used.

    An older repository than the last one, a changed or expired one, and one of somebody else are refused (status 4).
    """
    from assay.model.identifiers import parse_name
    from assay.pipeline.root_refresh import refresh

    state = state or session.site_dir / "roots" / parse_name(name, "a Sigstore instance")
    changed = refresh(trust_path, name, repository, state, session.site.clock, root)
    text = f"{trust_path}: the trusted root of {name} {'was updated' if changed else 'is the newest already'}"
    return Answer(text, {"file": str(trust_path), "name": name, "changed": changed})


def _all_keys(session: Session) -> list[TrustedKey]:
    signers = session.site.signers
    return [signers.public_key(role) for role in signers.roles()]


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _lines(keys: list[TrustedKey]) -> list[str]:
    """One for each key, that fits a terminal; the whole key ids are in the JSON."""
    return [f"{key.role:<10} {key.algorithm:<11} {key.keyid[:16]}  {key.name}" for key in keys]


def _json(key: TrustedKey) -> dict[str, Any]:
    document: dict[str, Any] = key.model_dump(mode="json")
    return document
