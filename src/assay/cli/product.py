# SPDX-License-Identifier: Apache-2.0
"""`assay product`: releases that make up a product, and whether a choice still holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from assay.cli.near_commands import NearCommands
from assay.cli.session import Answer, Session, verb
from assay.cli.site_names import complete_board
from assay.errors import ExitStatus, UsageFault

if TYPE_CHECKING:
    from datetime import date

    from assay.model.product import LockedRelease
    from assay.model.trust import TrustFile

LOCK = "product.lock.json"

product_argument = click.argument("product", type=click.Path(path_type=Path), default=Path())
lock_option = click.option(
    "--lock", type=click.Path(path_type=Path, dir_okay=False), help=f"The lock [default: {LOCK} beside the product]."
)
trust_option = click.option(
    "--trust",
    "trust_path",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="ASSAY_TRUST",
    help="Whom to trust [ASSAY_TRUST, else this site's own keys].",
)


@click.group(cls=NearCommands, short_help="Choose releases that make up a product.")
def command() -> None:
    """Products: sets of modules (product.toml), and the releases that fit together (docs: reference/products)."""


@command.command("resolve")
@product_argument
@click.option("--board", metavar="BOARD", shell_complete=complete_board, help="Where modules go that name no board.")
@click.option("--revision", type=click.IntRange(min=0), help="Of BOARD [default: as its file says].")
@click.option("--at", "day", metavar="DATE", help="The day for deprecations, 2026-11-26 [default: today, UTC].")
@click.option("--dry-run", is_flag=True, help="Show the choice, and write no lock.")
@lock_option
@trust_option
@verb
def resolve(
    session: Session,
    product: Path,
    board: str | None,
    revision: int | None,
    day: str | None,
    dry_run: bool,
    lock: Path | None,
    trust_path: Path | None,
) -> Answer:
    """Choose a release for each module of PRODUCT (product.toml, or its folder) that fit together on the hardware.

    The newest that fit are taken; deprecated ones only where no other fits; withdrawn ones never. Each is verified.
    The choice goes to the lock. If none fit, the answer says who needs what (status 4).
    """
    from assay.pipeline.product_resolve import hardware_for, load_product, resolve_product, write_lock

    model, sha256 = load_product(product)
    hardware = hardware_for(model, _folder(product), board, revision)
    found = resolve_product(
        model, sha256, hardware, session.site.store, _trust(session, trust_path), parse_day(session, day)
    )
    path = lock or _folder(product) / LOCK
    changed = False if dry_run else write_lock(path, found.lock)
    where = "not written" if dry_run else f"{path}{'' if changed else ', unchanged'}"
    text = "\n".join(
        (
            f"{model.name} on {' and '.join(f'{each.name} revision {each.revision}' for each in found.lock.boards)}",
            *(line for each in found.lock.releases for line in _lines(each)),
            *(f"  left out  {each.reference} for {each.board}: {each.why}" for each in found.left_out),
            f"  lock      {where}",
        )
    )
    left_out = [{"reference": each.reference, "board": each.board, "why": each.why} for each in found.left_out]
    document = found.lock.model_dump(mode="json", by_alias=True, exclude_none=True)
    return Answer(text, {"lock": document, "file": None if dry_run else str(path), "left_out": left_out})


@command.command("check")
@product_argument
@lock_option
@trust_option
@verb
def check(session: Session, product: Path, lock: Path | None, trust_path: Path | None) -> Answer:
    """Say whether the lock of PRODUCT still holds: a release for each module is there, verifies and was not withdrawn,
    they fit together, and the boards are those that were locked.
    """
    from assay.pipeline.product_check import check_lock
    from assay.pipeline.product_resolve import load_product, read_lock

    model, sha256 = load_product(product)
    found = read_lock(lock or _folder(product) / LOCK)
    faults = check_lock(found, model, sha256, _folder(product), session.site.store, _trust(session, trust_path))
    head = f"{model.name}: {len(found.releases)} releases, {'the lock does not hold' if faults else 'all hold'}"
    text = "\n".join((head, *(f"  {fault}" for fault in faults)))
    status = ExitStatus.REFUSED if faults else ExitStatus.PASS
    return Answer(text, {"product": model.name, "faults": list(faults)}, status)


def _lines(each: LockedRelease) -> list[str]:
    lines = [f"  {each.kind:<9} {each.reference} for {each.board}, file {each.file_sha256[:16]}"]
    return [*lines, f"            {each.deprecated}"] if each.deprecated else lines


def _folder(product: Path) -> Path:
    return product if product.is_dir() else product.parent


def parse_day(session: Session, text: str | None) -> date:
    """`text` as a day, today (UTC) without it. Raises `UsageFault`."""
    from datetime import date

    if text is None:
        return session.site.clock.now().date()
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise UsageFault(f"{text!r} is not a day", remedy="write it as 2026-11-26") from error


def _trust(session: Session, path: Path | None) -> TrustFile:
    from assay.pipeline.trust_file import load_trust, site_trust

    if path is not None:
        return load_trust(path)
    return site_trust(session.site, "this-site", allow_development=True, allow_emulated=True)
