# SPDX-License-Identifier: Apache-2.0
"""Which driver a conformance suite is about: from pytest's options.

Guards: an option is the value that it would be in bench.toml (`2`, `true`, `["a", "b"]`), else a text.
"""

from __future__ import annotations

import importlib
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

NO_DRIVER = "no driver: name one with --assay-driver=NAME, or --assay-driver=module:function"


@dataclass(frozen=True)
class DriverChoice:
    """A driver and where its device is; `absent` is an address where none is."""

    name: str
    address: str
    options: dict[str, Any]
    absent: str | None

    @property
    def function(self) -> Callable[..., Any] | None:
        """The driver itself, when it was named as `module:function`."""
        module, colon, function = self.name.partition(":")
        return getattr(importlib.import_module(module), function) if colon else None


def choice_of(config: pytest.Config) -> DriverChoice:
    """The driver that the command line names; fails when it names none: skipped tests would look like a driver that
    conforms.
    """
    name = config.getoption("--assay-driver")
    if not name:
        pytest.fail(NO_DRIVER, pytrace=False)
    options = dict(_option(text) for text in config.getoption("--assay-driver-option") or ())
    return DriverChoice(
        name, config.getoption("--assay-driver-address") or "", options, config.getoption("--assay-driver-absent")
    )


def _option(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise pytest.UsageError(f"--assay-driver-option {text}: expected KEY=VALUE")
    try:
        found = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value
    return key, tuple(found) if isinstance(found, list) else found
