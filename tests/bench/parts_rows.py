# SPDX-License-Identifier: Apache-2.0
"""Rows about parts and bundles: who is affected among a million units, and a bundle against `tar`."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path

from measuring import ROOT, in_turn, row

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from published_release import MODULE, Published

from assay.backends.records.parts_database import PartsDatabase
from assay.formats.checkpoint import Checkpoint
from assay.formats.component_query import parse_query
from assay.model.parts import Holding, Part
from assay.pipeline.bundle_export import export_bundle
from assay.pipeline.bundle_import import import_bundle
from assay.pipeline.image_signing import sign_artifact
from assay.pipeline.parts_index import ask_index
from assay.pipeline.publishing import publish_signed
from assay.pipeline.site import Site

UNITS = 1_000_000
RELEASES = 100
PARTS = 30
VERSIONS = 4
PAYLOAD = "import sys; open(sys.argv[1] + '/payload.bin', 'wb').write(bytes(range(256)) * 1200 + sys.argv[2].encode())"


def affected_units(rounds: int) -> None:
    """Row: seconds from the question to the last of 10,000 serial numbers, of a million units; and a whole walk."""
    with tempfile.TemporaryDirectory(prefix="assay-bench-parts-") as folder:
        site, begun_s = Site(Path(folder)), time.perf_counter()
        database = PartsDatabase(site.cache_dir / "parts.sqlite")
        _fill(database)
        made_s = time.perf_counter() - begun_s
        head, query = Checkpoint("bench", UNITS, bytes(32)), parse_query("openssl@3.0.7")

        def ask() -> None:
            found = ask_index(site, database, head, query)
            assert sum(1 for _ in found.units()) == UNITS // RELEASES

        def walk() -> None:
            held = (unit for image in range(1, RELEASES + 1) for unit in database.units(image))
            assert sum(unit.image_hash == _hash(7) for unit in held) == UNITS // RELEASES

        taken = in_turn(min(rounds, 3), ask=ask, walk=walk)
        database.close()
    what = f"affected: {UNITS // RELEASES} of {UNITS} units"
    row(what, f"{taken['ask'] * 1e3:.0f} ms", f"{taken['walk']:.1f} s (looking at each)", taken["ask"] / taken["walk"])
    row(f"index over {UNITS} units, made of what records say", f"{made_s:.1f} s", f"{UNITS / made_s:.0f}/s", None)


def _fill(database: PartsDatabase) -> None:
    with database.batch():
        for number in range(RELEASES):
            facts = (_hash(number), f"app@1.0.{number}", "board", "app")
            image = database.image(_hash(number), facts)
            parts = [Part(f"part-{each}", "1.0", ref=f"part-{each}") for each in range(PARTS)]
            database.put_parts(image, [*parts, Part("openssl", f"3.0.{number}", ref="openssl")])
        database.hold(Holding(f"UNIT-{number:07d}", "app", _hash(number % RELEASES), number) for number in range(UNITS))


def _hash(number: int) -> str:
    return f"{number:064x}"


def bundle_and_tar(rounds: int) -> None:
    """Rows: a bundle of some releases written, and verified and kept, against `tar` of the same blobs."""
    with _published() as published:
        root, site = published.root, published.site
        trust, out = published.trust(), root / "bundle.tar"
        releases, blobs = site.store.releases(), root / "site" / "store" / "blobs"
        count = iter(range(1_000_000))

        def unpack() -> None:
            folder = root / f"unpacked-{next(count)}"
            folder.mkdir()
            subprocess.run(["tar", "-xf", str(root / "plain.tar"), "-C", str(folder)], check=True)

        taken = in_turn(
            min(rounds, 3),
            export=lambda: export_bundle(site, releases, out),
            pack=lambda: subprocess.run(["tar", "-cf", str(root / "plain.tar"), "-C", str(blobs), "."], check=True),
            bring=lambda: import_bundle(Site(root / f"other-{next(count)}"), out, trust),
            unpack=unpack,
        )
        size = f"{out.stat().st_size / 1e6:.1f} MB"
        site.signers.close()  # type: ignore[attr-defined]
    ours, tar = f"{taken['export'] * 1e3:.0f} ms", f"{taken['pack'] * 1e3:.0f} ms (tar -c)"
    row(f"bundle export, {len(releases)} releases, {size}", ours, tar, taken["export"] / taken["pack"])
    ours, tar = f"{taken['bring'] * 1e3:.0f} ms", f"{taken['unpack'] * 1e3:.0f} ms (tar -x)"
    row("bundle import: all verified, then kept", ours, tar, taken["bring"] / taken["unpack"])


@contextmanager
def _published() -> Iterator[Published]:
    """A project with some releases of 300 KB each."""
    with tempfile.TemporaryDirectory(prefix="assay-bench-bundle-") as folder, chdir(folder):
        root = Path(folder)
        shutil.copytree(ROOT / "boards", root / "boards")
        (root / "mod").mkdir()
        (root / "mod" / "module.toml").write_text(MODULE)
        (root / "mod" / "build.py").write_text(PAYLOAD)
        published = Published(root)
        for number in range(VERSIONS):
            published.build(root / f"artifact-{number}", f"1.0.{number}")
            sign_artifact(root / f"artifact-{number}", published.site, root / f"signed-{number}")
            publish_signed(root / f"signed-{number}", published.site)
        yield published
