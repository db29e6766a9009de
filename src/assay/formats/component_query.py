# SPDX-License-Identifier: Apache-2.0
"""What somebody asks for: `NAME`, `NAME@VERSION`, a purl, or a range of versions of either.

Guards: which versions a range holds is decided by the rules of the package's kind (`univers`), never by comparing text;
a version that these rules cannot read counts as inside, and is said to be uncertain, since a question about a
vulnerability must not lose a part. Leaves to others: where parts are looked up (`pipeline.parts_index`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from assay.errors import ToolMissing, UsageFault
from assay.model.parts import Part

_BOUND = r"(?:>=|<=|!=|>|<|=)[0-9A-Za-z][^,\s|]*"
_RANGE = re.compile(rf"{_BOUND}(?:,\s*{_BOUND})*")
_PLAIN = re.compile(r"[A-Za-z0-9._-]+")
"""What purls write as it is, without `%`."""
_SCHEMES = {"deb": "deb", "rpm": "rpm", "pypi": "pypi", "npm": "npm", "cargo": "cargo", "golang": "golang"}
"""Kinds of purl whose rules are asked for; everything else is compared as `generic`."""
_REMEDY = "write NAME@1.2.3, NAME@'>=1.2,<2', NAME@vers:generic/>=1.2|<2, or a purl (pkg:pypi/NAME@1.2.3)"


@dataclass(frozen=True)
class ComponentQuery:
    """A name or a purl without its version, and a version or a range (empty: any version)."""

    text: str
    name: str
    purl: str = ""
    version: str = ""
    range: str = ""

    @property
    def search(self) -> str:
        """A text that every part of that name has in its name or purl; empty where that cannot be said."""
        return self.name if not self.purl and _PLAIN.fullmatch(self.name) else ""

    def names(self, part: Part) -> bool:
        """Whether `part` is the component, of whatever version: by its purl, or by a name that it has in either."""
        if self.purl:
            return purl_without_version(part.purl).casefold() == self.purl.casefold()
        return self.name.casefold() in (name.casefold() for name in names_of(part))

    def holds(self, part: Part) -> bool:
        """Whether the version of `part` is asked for. Raises `UsageFault` for a range that is none, `ToolMissing`."""
        if self.range:
            return not part.version or _inside(self.range, part)
        return not part.version or self.version in ("", part.version)


def parse_query(text: str) -> ComponentQuery:
    """The query in `text`. Raises `UsageFault`."""
    if text.startswith("pkg:"):
        base, _, version = text.partition("?")[0].partition("#")[0].rpartition("@") if "@" in text else (text, "", "")
        purl = purl_without_version(base)
        if purl.count("/") < 1 or not purl.rpartition("/")[2]:
            raise UsageFault(f"{text!r} is no purl", remedy=_REMEDY)
        return _with_version(text, purl.rpartition("/")[2], purl, unquote(version))
    scope = "@" if text.startswith("@") and "/" in text else ""  # as npm writes it
    name, _, version = text.removeprefix(scope).partition("@")
    name = scope + name if name else ""
    if not name or text.endswith("@"):
        raise UsageFault(f"{text!r} names no component", remedy=_REMEDY)
    return _with_version(text, name, "", version)


def names_of(part: Part) -> tuple[str, ...]:
    """What people may call `part`: its name, and the name in its purl, alone and with its namespace."""
    _, _, path = purl_without_version(part.purl).partition("/")
    return tuple(dict.fromkeys(name for name in (part.name, path.rpartition("/")[2], path) if name))


def purl_without_version(purl: str) -> str:
    """`pkg:type/namespace/name`, its type in lower case, without version, qualifiers and subpath."""
    bare = purl.partition("?")[0].partition("#")[0]
    head, at, _ = bare.rpartition("@")
    kind, slash, rest = (head if at else bare).partition("/")
    return kind.lower() + slash + unquote(rest)


def _with_version(text: str, name: str, purl: str, version: str) -> ComponentQuery:
    if version.startswith("vers:"):
        _parse_range(version)
        return ComponentQuery(text, name, purl, range=version)
    if _RANGE.fullmatch(version):
        return ComponentQuery(text, name, purl, range=version)
    if version.startswith(tuple("<>=![(")) or "," in version or "|" in version:
        raise UsageFault(f"{version!r} is no range of versions", remedy=_REMEDY)
    return ComponentQuery(text, name, purl, version)


def _inside(wanted: str, part: Part) -> bool:
    scheme = _SCHEMES.get(part.purl.partition(":")[2].partition("/")[0], "generic")
    spelled = wanted if wanted.startswith("vers:") else f"vers:{scheme}/{_as_vers(wanted)}"
    found = _parse_range(spelled)
    try:
        return bool(found.version_class(part.version) in found)
    except (ValueError, TypeError):  # univers: InvalidVersion is a ValueError
        return True


def _as_vers(text: str) -> str:
    """`>=1,<2` as `>=1|<2`; `=1` is `1` there."""
    return "|".join(each.strip().removeprefix("=") for each in text.split(","))


def _parse_range(text: str) -> Any:
    try:
        from univers.version_range import VersionRange
    except ImportError as error:
        raise ToolMissing("ranges of versions need the package univers", remedy="pip install 'assay[parts]'") from error
    try:
        return VersionRange.from_string(text)  # type: ignore[no-untyped-call]
    except Exception as error:  # it raises bare and own errors for what it cannot read
        raise UsageFault(f"{text!r} is no range of versions: {error}", remedy=_REMEDY) from error
