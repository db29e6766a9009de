# SPDX-License-Identifier: Apache-2.0
"""Drivers by name: the built-in ones come through the same door as anyone's, the entry points of installed packages.

Guards: a name that nobody offers, or that two packages offer, is told with what there is. Leaves to others: what a
driver does (`interfaces`).
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from assay.errors import ToolMissing, UsageFault
from assay.formats.near_names import did_you_mean


def installed_driver(kind: str, name: str) -> Any:
    """The driver `name` of the group `assay.KIND`. Raises `UsageFault`, `ToolMissing`."""
    offered = list(entry_points(group=f"assay.{kind}"))
    found = [entry for entry in offered if entry.name == name]
    if len(found) != 1:
        says = "two installed packages offer" if found else "no installed package offers"
        known = ", ".join(sorted({entry.name for entry in offered})) or "none (install assay again: pip install -e .)"
        meant = "" if found else did_you_mean(name, {entry.name for entry in offered})
        raise UsageFault(f"{says} the driver '{name}' of assay.{kind}", remedy=f"{meant}installed: {known}")
    try:
        return found[0].load()
    except Exception as error:  # whatever somebody's module does while it is imported
        raise ToolMissing(
            f"the driver '{name}' of assay.{kind} does not load: {_said(error)}",
            remedy="install the package that it needs, or mend its entry point",
        ) from error


def offered_names(kind: str) -> frozenset[str]:
    """The drivers of the group `assay.KIND` that installed packages offer."""
    return frozenset(entry.name for entry in entry_points(group=f"assay.{kind}"))


def comes_with_assay(kind: str, name: str) -> bool:
    """True for a driver of ours, which has limits of its own."""
    return any(entry.name == name and entry.value.startswith("assay.") for entry in entry_points(group=f"assay.{kind}"))


def _said(error: Exception) -> str:
    plain = isinstance(error, ImportError | AttributeError)  # these say it in a sentence
    return str(error) if plain else f"{type(error).__name__}: {error}"
