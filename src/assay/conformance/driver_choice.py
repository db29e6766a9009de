# SPDX-License-Identifier: Apache-2.0
"""Which driver a conformance suite is about: from pytest's options.

Guards: an option is the value that it would be in bench.toml (`2`, `true`, `["a", "b"]`), else a text.
"""

from __future__ import annotations

import contextlib
import importlib
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from assay.errors import AssayError, InfrastructureError, UsageFault

NO_DRIVER = "no driver: name one with --assay-driver=NAME, or --assay-driver=module:function"

LOADS = "name a function of a module that Python finds (PYTHONPATH)"


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
        if not colon:
            return None
        try:
            found: Callable[..., Any] = getattr(importlib.import_module(module), function)
        except (ImportError, AttributeError) as error:
            pytest.fail(f"--assay-driver={self.name}: {error}: {LOADS}", pytrace=False)
        return found


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


@contextlib.contextmanager
def told_as_ours(*kinds: type[AssayError]) -> Iterator[None]:
    """The block has to end in an error of ours with a remedy (of `kinds`; else InfrastructureError or UsageFault); what
    else it does is told in words for who writes the driver.
    """
    wanted = kinds or (InfrastructureError, UsageFault)
    names = " or ".join(kind.__name__ for kind in wanted)
    try:
        yield
    except wanted as error:
        assert error.message and error.remedy, f"{type(error).__name__} without a message, or without a remedy"
    except Exception as error:
        pytest.fail(f"{type(error).__name__} got out of the driver ({error}): catch it, and raise {names} from it")
    else:
        pytest.fail(f"the driver said nothing: {names} is what the person should see")
