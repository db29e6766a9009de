# SPDX-License-Identifier: Apache-2.0
"""Which Debian package a program comes from, and every package that it needs, each with version and digest.

The digest of a package is the SHA-256 of the list of its files with their MD5 sums, as dpkg keeps it: what Debian
built, not what lies on this disk now. The program that a build calls is hashed itself (`toolchain`).

Guards: the closure follows what is installed, also through virtual packages; a system without dpkg has no packages, and
nobody makes some up. Leaves to others: what is asked for.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from assay.model.artifact import ToolIdentity

DPKG = Path("/var/lib/dpkg")
_RELATION = re.compile(r"^([a-z0-9][a-z0-9+.-]*)")
_MERGED = re.compile(r"^/usr(/(?:s?bin|lib\w*)/)")


class DebianPackages:
    """The packages of this system. `folder` is dpkg's."""

    def __init__(self, folder: Path = DPKG) -> None:
        self._folder = folder

    @property
    def state(self) -> str:
        """Changes whenever a package is installed or removed; empty where there is no dpkg."""
        try:
            status = (self._folder / "status").stat()
        except OSError:
            return ""
        return f"{status.st_mtime_ns}-{status.st_size}"

    def owners(self, programs: Iterable[Path]) -> set[str]:
        """The packages that brought the files `programs`, or their links; nothing for what no package brought."""
        wanted = {spelling for path in programs for spelling in (str(path), _MERGED.sub(r"\1", str(path)))}
        found = set()
        for listing in (self._folder / "info").glob("*.list"):
            if wanted.intersection(listing.read_text(encoding="utf-8", errors="replace").splitlines()):
                found.add(listing.name.removesuffix(".list").partition(":")[0])
        return found

    def closure(self, names: set[str]) -> tuple[ToolIdentity, ...]:
        """`names` and every package that they need, by name."""
        found: set[str] = set()
        waiting = sorted(names)
        while waiting:
            name = waiting.pop()
            if name in found or name not in self._installed:
                continue
            found.add(name)
            waiting += self._needs(name)
        return tuple(self._identity(name) for name in sorted(found))

    @cached_property
    def _installed(self) -> dict[str, dict[str, str]]:
        """Fields of the installed packages by name. Of several architectures the last one stands."""
        try:
            text = (self._folder / "status").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return {}
        tables = (dict(_fields(paragraph)) for paragraph in text.split("\n\n"))
        return {table["Package"]: table for table in tables if table.get("Status", "").endswith(" installed")}

    @cached_property
    def _providers(self) -> dict[str, str]:
        return {
            provided: name for name, table in self._installed.items() for provided in _names(table.get("Provides", ""))
        }

    def _needs(self, name: str) -> list[str]:
        table = self._installed[name]
        needed = []
        for relation in f"{table.get('Pre-Depends', '')},{table.get('Depends', '')}".split(","):
            known = (self._providers.get(each, each) for each in _alternatives(relation))
            needed += [each for each in known if each in self._installed][:1]
        return needed

    def _identity(self, name: str) -> ToolIdentity:
        table = self._installed[name]
        info = self._folder / "info"
        stems = (name, f"{name}:{table.get('Architecture', '')}")
        kept = [info / f"{stem}.{kind}" for kind in ("md5sums", "list") for stem in stems]
        file = next((path for path in kept if path.is_file()), None)
        data = file.read_bytes() if file is not None else b""
        return ToolIdentity(
            name=f"deb:{name}", version=table.get("Version", ""), sha256=hashlib.sha256(data).hexdigest()
        )


def _fields(paragraph: str) -> list[tuple[str, str]]:
    rows = (line.partition(": ") for line in paragraph.splitlines() if line and not line.startswith(" "))
    return [(name, value) for name, _, value in rows]


def _alternatives(relation: str) -> list[str]:
    return [match[1] for each in relation.split("|") if (match := _RELATION.match(each.strip()))]


def _names(text: str) -> list[str]:
    return [name for relation in text.split(",") for name in _alternatives(relation)]
