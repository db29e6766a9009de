# SPDX-License-Identifier: Apache-2.0
"""The folder of a site in which what comes from elsewhere is verified before it is kept.

Guards: it is empty at the beginning and gone afterwards, whatever happened; who brings something in takes turns.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from assay.backends.durable_file import exclusive, make_folder
from assay.pipeline.site import Site

INCOMING = "incoming"


@contextmanager
def incoming_folder(site: Site) -> Iterator[Path]:
    """An empty folder of the site for what is not verified yet. Raises `OSError`."""
    make_folder(site.folder)
    folder = site.folder / INCOMING
    with exclusive(site.folder / f"{INCOMING}.lock"):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
