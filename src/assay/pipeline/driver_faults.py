# SPDX-License-Identifier: Apache-2.0
"""What a driver of somebody's throws: an error that names the driver, never a fault of assay.

Guards: whatever leaves a power driver or a flasher, or comes from it in a wrong kind, is an InfrastructureError with
the line of the driver's file and the cause kept. Leaves to others: which driver it is (`driver_doors`); the conformance
suites, which look at drivers without this, so that what gets out of one is seen there.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from assay.errors import AssayError, InfrastructureError, Layer
from assay.interfaces.flasher import FlashPlan, Identity

if TYPE_CHECKING:
    from assay.interfaces.flasher import Flasher
    from assay.interfaces.power import Power

_GIVES: Mapping[str, type] = {"identify": Identity, "plan": FlashPlan, "read_back": tuple, "is_on": bool}
"""What a call has to give, where assay goes on with it."""


def answerable_power(name: str, open_now: Callable[[], Power]) -> Power:
    """The switch that `open_now` opens by the driver `name`; whatever it throws is told as the driver's."""
    return cast("Power", _Answerable("power", f"the power driver '{name}'", open_now))


def answerable_flasher(name: str, open_now: Callable[[], Flasher]) -> Flasher:
    """The flasher that `open_now` opens by the driver `name`; whatever it throws is told as the driver's."""
    return cast("Flasher", _Answerable("flasher", f"the flasher '{name}'", open_now))


class _Answerable:
    """A driver's object, whose calls end in errors of ours."""

    def __init__(self, layer: Layer, word: str, open_now: Callable[[], Any]) -> None:
        self._layer, self._word = layer, word
        with self._told("opening it"):
            self._driver = open_now()

    def __getattr__(self, name: str) -> Any:
        with self._told(name):
            found = getattr(self._driver, name)
        return self._call(name, found) if callable(found) else found

    def _call(self, name: str, do: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            with self._told(name):
                given = do(*args, **options)
                if not isinstance(given, wanted := _GIVES.get(name, object)):
                    raise TypeError(f"expected {wanted.__name__}, not {type(given).__name__}")
            return given

        return call

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except AssayError:
            raise
        except Exception as error:
            fault = InfrastructureError(
                f"{self._word} failed in {what}: {type(error).__name__}: {error}{_where(error)}",
                remedy=f"mend the driver, or tell its maker; pytest --pyargs assay.conformance.{_SUITES[self._layer]} "
                "shows what else it does not keep",
            )
            fault.blame(self._layer)
            raise fault from error


_SUITES: Mapping[Layer, str] = {"power": "power", "flasher": "flashers"}


def _where(error: Exception) -> str:
    """The line nearest to the fault; none for what is only seen from here."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return "" if frame.filename == __file__ else f" ({Path(frame.filename).name}, line {frame.lineno})"
