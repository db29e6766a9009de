# SPDX-License-Identifier: Apache-2.0
"""Names of places for the completion of a command line: twins of the site, and places of the bench file.

Guards: completion says nothing of its own, so a bench file with a fault has no places here. Leaves to others: what a
place is.
"""

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import CompletionItem

from assay.cli.session import find_site


def complete_place(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The places that begin with `incomplete`; `--site` and `--bench` of the line so far count."""
    from assay.drivers.twin.twin_folder import twin_names

    site = context.params.get("site") or find_site(Path.cwd())
    names = [*_bench_names(context.params.get("bench")), *twin_names(Path(site) / "twins")]
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def _bench_names(bench: Path | None) -> list[str]:
    from assay.cli.bench import bench_places
    from assay.errors import AssayError

    try:
        return [place.name for place in bench_places(bench)]
    except AssayError:
        return []
