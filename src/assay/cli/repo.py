# SPDX-License-Identifier: Apache-2.0
"""`assay repo`: the TUF repository that this site publishes to, in a folder that any file server serves."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from assay.cli.near_commands import NearCommands
from assay.cli.session import Answer, Session, verb
from assay.cli.working import working
from assay.errors import ExitStatus, UsageFault

if TYPE_CHECKING:
    from assay.model.repository import RepositoryRole
    from assay.pipeline.repository_setup import RepositoryState

KEY = "ROLE=URI"
ROLE_NAMES = "root, targets, releases, snapshot, timestamp"


@click.group(cls=NearCommands, short_help="The repository of releases: begin, rotate keys, refresh, status.")
def command() -> None:
    """The TUF repository of this site: begin it, change its keys, keep it fresh, see how it is."""


@command.command("init")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--key", "keys", multiple=True, metavar=KEY, help=f"A key; ROLE: {ROLE_NAMES} [default: development].")
@click.option("--threshold", "thresholds", multiple=True, metavar="ROLE=N", help="How many keys sign [default: 1].")
@click.option("--expires", "days", multiple=True, metavar="ROLE=DAYS", help="How long its metadata is good.")
@click.option("--bins", type=int, default=16, show_default=True, help="Hash bins, a power of two.")
@click.option("--production", is_flag=True, help="The keys are no development keys, although they are in files.")
@verb
def init(
    session: Session,
    folder: Path,
    keys: tuple[str, ...],
    thresholds: tuple[str, ...],
    days: tuple[str, ...],
    bins: int,
    production: bool,
) -> Answer:
    """Begin a repository in FOLDER. Give its metadata/1.root.json to stations on a way that you trust."""
    from assay.pipeline import repository_setup

    wanted = repository_setup.NewRepository(
        tuple(_pairs(keys)), dict(_numbers(thresholds)), dict(_numbers(days)), bins, production
    )
    with working(session, f"beginning a repository in {folder}"):
        return _answer(repository_setup.init(session.site, folder, wanted))


@command.command("rotate")
@click.option("--add", multiple=True, metavar=KEY, help="A key that signs from now on.")
@click.option("--remove", multiple=True, metavar="ROLE=KEYID", help="A key that counts no more; 8 digits are enough.")
@click.option("--threshold", "thresholds", multiple=True, metavar="ROLE=N", help="How many keys sign from now on.")
@click.option("--production", is_flag=True, help="The keys are no development keys, although they are in files.")
@verb
def rotate(
    session: Session, add: tuple[str, ...], remove: tuple[str, ...], thresholds: tuple[str, ...], production: bool
) -> Answer:
    """Change keys and thresholds; without options sign the root anew, for as long as roots are good."""
    from assay.pipeline import repository_setup

    change = repository_setup.KeyChange(
        tuple(_pairs(add)), tuple(_pairs(remove)), dict(_numbers(thresholds)), production
    )
    with working(session, "changing the keys of the repository"):
        return _answer(repository_setup.rotate(session.site, change))


@command.command("refresh")
@click.option("--all", "everything", is_flag=True, help="Also what offline keys sign: targets and bins.")
@click.option("--prune", is_flag=True, help="Remove metadata that newer took the place of more than a day ago.")
@verb
def refresh(session: Session, everything: bool, prune: bool) -> Answer:
    """Sign that the repository is still the newest: from a timer, before its time stamp expires."""
    from assay.pipeline import repository_setup

    with working(session, "refreshing the repository"):
        return _answer(repository_setup.refresh(session.site, everything=everything, prune=prune))


@command.command("status")
@verb
def status(session: Session) -> Answer:
    """Verify the repository and show its roles; FAIL when one has expired, or a change of keys was cut short."""
    from assay.pipeline import repository_setup

    return _answer(repository_setup.status(session.site))


def _answer(state: RepositoryState) -> Answer:
    lines = [f"{state.folder}: {state.targets} targets in {state.bins} bins"]
    for role in state.roles:
        left = (role.expires - state.now).days
        until = f"{role.expires:%Y-%m-%d}" + (" EXPIRED" if role.role in state.expired else f" ({left} days)")
        lines.append(
            f"  {role.role:<10} version {role.version:<5} until {until}, {role.threshold} of {len(role.keys)}:"
        )
        lines += [f"    {key}" for key in role.keys]
    lines += ["a change of keys was cut short: assay repo refresh ends it"] if state.unfinished else []
    lines += ["UNSAFE-DEVELOPMENT: whoever can read the folder of keys can sign"] if state.development else []
    data: dict[str, Any] = {
        "folder": state.folder,
        "targets": state.targets,
        "bins": state.bins,
        "development": state.development,
        "unfinished": state.unfinished,
        "roles": [
            {
                "role": role.role,
                "version": role.version,
                "expires": role.expires.isoformat(),
                "expired": role.role in state.expired,
                "threshold": role.threshold,
                "keys": list(role.keys),
            }
            for role in state.roles
        ],
    }
    return Answer("\n".join(lines), data, ExitStatus.FAIL if state.expired or state.unfinished else ExitStatus.PASS)


def _pairs(words: Iterable[str]) -> Iterable[tuple[RepositoryRole, str]]:
    from assay.model.repository import RepositoryRole

    for word in words:
        role, found, rest = word.partition("=")
        if role not in set(RepositoryRole) or not found or not rest:
            raise UsageFault(f"{word!r} names no role and value", remedy=f"write ROLE=..., ROLE one of {ROLE_NAMES}")
        yield RepositoryRole(role), rest


def _numbers(words: Iterable[str]) -> Iterable[tuple[RepositoryRole, int]]:
    for role, text in _pairs(words):
        if not text.isdecimal() or not 0 < int(text) <= 3650:
            raise UsageFault(f"{text!r} is no number for {role}", remedy="write a number from 1 to 3650")
        yield role, int(text)
