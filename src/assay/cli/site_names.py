# SPDX-License-Identifier: Apache-2.0
"""Names of boards, releases and serial numbers for the completion of a command line.

Guards: completion says nothing of its own and makes no files: what cannot be read has no names here.
Leaves to others: whether a name may be used.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from assay.cli.session import find_site


def complete_board(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The boards of the project around here."""
    from assay.errors import AssayError
    from assay.pipeline.manifest_files import board_names, project_root

    try:
        return _items(board_names(project_root(Path.cwd())), incomplete)
    except AssayError:
        return []


def complete_release(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The releases in the site's store, `NAME@VERSION`."""
    from assay.backends.stores.oci_layout import OciLayoutStore
    from assay.errors import AssayError

    store = _site(context) / "store"
    try:
        releases = OciLayoutStore(store).releases() if store.is_dir() else ()
        return _items((release.reference for release in releases), incomplete)
    except AssayError:
        return []


def complete_serial(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The serial numbers that the site gave."""
    from assay.backends.ledgers.serial_ledger import SerialLedger
    from assay.errors import AssayError

    ledger = _site(context) / "serials.sqlite"
    try:
        return _items(SerialLedger(ledger).serials() if ledger.is_file() else (), incomplete)
    except AssayError:
        return []


def _site(context: click.Context) -> Path:
    return Path(context.params.get("site") or find_site(Path.cwd()))


def _items(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in sorted(set(names)) if name.startswith(incomplete)]
