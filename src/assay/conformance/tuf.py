# SPDX-License-Identifier: Apache-2.0
"""assay as a client in the public conformance suite of TUF clients: `python -m assay.conformance.tuf`.

    --metadata-dir DIR init ROOT
    --metadata-dir DIR --metadata-url URL refresh
    --metadata-dir DIR --metadata-url URL --target-name NAME [--target-name NAME ...] --target-dir DIR
                --target-base-url URL download

Exit status 0 or 1, as the contract has it. It is the client of `assay fetch`, with its floor in `DIR/.floor`; only the
check of the clock is left out, since the suite plays with it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from assay.backends.durable_file import make_folder, write_durably
from assay.backends.repository.sources import HttpSource
from assay.backends.repository.tuf_client import BASE, TufClient, source_fetcher
from assay.errors import AssayError, NotVerified, UsageFault

FLOOR = ".floor"


class _TwoBases:
    """A repository whose metadata and targets are at two URLs."""

    def __init__(self, metadata: str, targets: str) -> None:
        self._sources = {"metadata": HttpSource(metadata), "targets": HttpSource(targets)}

    def read(self, path: str, offset: int = 0) -> Iterator[bytes]:
        """As `RepositorySource` says."""
        which, _, rest = path.partition("/")
        return self._sources[which].read(rest, offset)

    def resumes(self) -> bool:
        """Nothing is resumed here."""
        return False


def main(words: Sequence[str] | None = None) -> int:
    """Do what `words` ask; answers the exit status."""
    asked = _parser().parse_args(words)
    try:
        if asked.command == "init":
            make_folder(asked.metadata_dir)
            write_durably(asked.metadata_dir / "root.json", asked.root.read_bytes())
        else:
            _download(_refreshed(asked), asked)
    except (AssayError, OSError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m assay.conformance.tuf")
    parser.add_argument("--metadata-dir", type=Path, required=True)
    parser.add_argument("--metadata-url")
    parser.add_argument("--target-name", action="append", default=[])
    parser.add_argument("--target-dir", type=Path)
    parser.add_argument("--target-base-url")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("init").add_argument("root", type=Path)
    commands.add_parser("refresh")
    commands.add_parser("download")
    return parser


def _refreshed(asked: argparse.Namespace) -> TufClient:
    if not asked.metadata_url:
        raise UsageFault("no --metadata-url is given", remedy="give it")
    folder = asked.metadata_dir
    client = TufClient(folder, folder / FLOOR, _TwoBases(asked.metadata_url, asked.target_base_url or ""))
    client.refresh((folder / "root.json").read_bytes(), datetime.now(UTC))
    return client


def _download(client: TufClient, asked: argparse.Namespace) -> None:
    """The targets in their order; one that is there with the right bytes is not fetched again."""
    if asked.command != "download":
        return
    if not asked.target_name or not asked.target_dir or not asked.target_base_url:
        raise UsageFault("one of --target-name, --target-dir, --target-base-url is missing", remedy="give all three")
    source = source_fetcher(_TwoBases(asked.metadata_url, asked.target_base_url))
    for name in asked.target_name:
        with client.told():
            info = client.updater.get_targetinfo(name)
            if info is None:
                raise NotVerified(f"the repository has no target {name}", remedy="check the name")
            path = asked.target_dir / quote(name, "")
            if client.updater.find_cached_target(info, str(path)) is not None:
                continue
            folder, slash, last = name.rpartition("/")
            prefix = f"{next(iter(info.hashes.values()))}." if client.consistent else ""
            data = source.download_bytes(f"{BASE}targets/{folder}{slash}{prefix}{last}", info.length)
            info.verify_length_and_hashes(data)
            make_folder(asked.target_dir)
            write_durably(path, data)


if __name__ == "__main__":
    sys.exit(main())
