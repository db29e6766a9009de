# SPDX-License-Identifier: Apache-2.0
"""What a driver of somebody's throws, and what never comes back from it: an error that names the driver, never a fault
of assay and never a hang.

Guards: whatever leaves a transport, a power driver or a flasher, or comes from it in a wrong kind, is an
InfrastructureError with the line of the driver's file and the cause kept (of a transport a LinkError); a call has a
limit. Leaves to others: which driver it is (`driver_doors`); how a call is ended (`driver_limits`); the conformance
suites, which look at drivers without this, so that what gets out of one is seen there.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from assay.errors import AssayError, InfrastructureError, Layer, LinkError
from assay.interfaces.flasher import FlashPlan, Identity
from assay.pipeline import driver_limits
from assay.pipeline.driver_limits import Limit, NotBack

if TYPE_CHECKING:
    from assay.interfaces.flasher import Flasher
    from assay.interfaces.power import Power
    from assay.interfaces.transport import Transport

CALL_LIMIT_S = 60.0
"""Seconds for a call: a relay in a network, a probe that starts. A driver that takes longer says so, by an attribute
`call_limit_s`.
"""
STEP_LIMIT_S = 300.0
"""Seconds between two words to `progress` while memory is written or read: a whole chip is erased in some 100."""
CLOSE_LIMIT_S = 10.0
LIMIT_ATTRIBUTE = "call_limit_s"

_GIVES: Mapping[str, type] = {"identify": Identity, "plan": FlashPlan, "read_back": tuple, "is_on": bool, "read": bytes}
"""What a call has to give, where assay goes on with it."""
_LONG = frozenset({"write", "read_back"})
"""Calls of a flasher that tell their progress."""


def answerable_power(name: str, open_now: Callable[[], Power], *, bounded: bool = True) -> Power:
    """The switch that `open_now` opens by the driver `name`; whatever it throws is told as the driver's. Not `bounded`:
    the driver has limits of its own, as those that come with assay have.
    """
    return cast("Power", _Answerable("power", f"the power driver '{name}'", open_now, bounded=bounded))


def answerable_flasher(name: str, open_now: Callable[[], Flasher], *, bounded: bool = True) -> Flasher:
    """The flasher that `open_now` opens by the driver `name`, as `answerable_power`."""
    return cast("Flasher", _Answerable("flasher", f"the flasher '{name}'", open_now, bounded=bounded))


def answerable_transport(name: str, open_now: Callable[[], Transport]) -> Transport:
    """The link that `open_now` opens by the driver `name`, as `answerable_power`."""
    return cast("Transport", _Answerable("port", f"the transport '{name}'", open_now, bounded=True))


class _Answerable:
    """A driver's object, whose calls end, in errors of ours."""

    def __init__(self, layer: Layer, word: str, open_now: Callable[[], Any], *, bounded: bool) -> None:
        self._layer, self._word, self._bounded = layer, word, bounded
        self._hung = False
        self._driver: Any = None
        with self._told("opening it", CALL_LIMIT_S):
            self._driver = open_now()

    def __getattr__(self, name: str) -> Any:
        if name in _OPTIONAL:
            return getattr(self._driver, name)
        with self._told(name, CALL_LIMIT_S):
            found = getattr(self._driver, name)
        return self._call(name, found) if callable(found) else found

    def _call(self, name: str, do: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            given: Any = None
            with self._told(name, self._limit_s(name, args, options)) as limit:
                given = do(*_with_signs_of_life(args, limit), **_named_signs(options, limit))
                if not isinstance(given, wanted := _GIVES.get(name, object)):
                    raise TypeError(f"expected {wanted.__name__}, not {type(given).__name__}")
            return given

        return call

    def _limit_s(self, name: str, args: tuple[Any, ...], options: Mapping[str, Any]) -> float:
        asked = getattr(self._driver, LIMIT_ATTRIBUTE, None)
        if name == "close":
            return CLOSE_LIMIT_S
        if self._layer == "flasher" and name in _LONG:
            usual_s = STEP_LIMIT_S
        else:  # how long it may take by its own arguments: `timeout_s` of a read, `off_s` of a cycle
            usual_s = CALL_LIMIT_S + sum(each for each in (*args, *options.values()) if isinstance(each, float))
        return max(usual_s, asked) if isinstance(asked, int | float) else usual_s

    @contextmanager
    def _told(self, what: str, limit_s: float) -> Iterator[Limit | None]:
        try:
            if not self._bounded:
                yield None
                return
            with Limit(limit_s, lambda: self._not_back(what, limit_s, " and cannot be interrupted")) as limit:
                yield limit
        except AssayError:
            raise
        except NotBack as late:
            if what == "close" and self._hung:
                return  # what hangs once is told once
            self._hung = True
            raise self._not_back(what, limit_s, _where(late)) from late
        except Exception as error:
            raise self._fault(
                f"failed in {what}: {type(error).__name__}: {error}{_where(error)}", "mend the driver"
            ) from error

    def _not_back(self, what: str, limit_s: float, where: str) -> InfrastructureError:
        return self._fault(f"did not come back from {what} within {limit_s:g} s{where}", "look at what it waits for")

    def _fault(self, words: str, remedy: str) -> InfrastructureError:
        kind = LinkError if self._layer == "port" else InfrastructureError
        fault = kind(
            f"{self._word} {words}",
            remedy=f"{remedy}, or tell its maker; pytest --pyargs assay.conformance.{_SUITES[self._layer]} "
            "shows what else it does not keep",
        )
        fault.blame(self._layer)
        return fault


_OPTIONAL = frozenset({"set_line", "breaks", "away", LIMIT_ATTRIBUTE})
"""What some transports have; who asks for it looks whether it is there."""


def _with_signs_of_life(args: tuple[Any, ...], limit: Limit | None) -> tuple[Any, ...]:
    """A function among the arguments is told of progress: the limit begins anew with it."""
    return args if limit is None else tuple(_sign(each, limit) for each in args)


def _named_signs(options: Mapping[str, Any], limit: Limit | None) -> dict[str, Any]:
    return {key: each if limit is None else _sign(each, limit) for key, each in options.items()}


def _sign(value: Any, limit: Limit) -> Any:
    if not callable(value):
        return value

    def told(*words: Any, **named: Any) -> Any:
        limit.more()
        return value(*words, **named)

    return told


_SUITES: Mapping[Layer, str] = {"power": "power", "flasher": "flashers", "port": "transports"}


def _where(error: BaseException) -> str:
    """The line nearest to the fault; none for what is only seen from here."""
    frames = [each for each in traceback.extract_tb(error.__traceback__) if each.filename != driver_limits.__file__]
    frame = frames[-1]
    return "" if frame.filename == __file__ else f" ({Path(frame.filename).name}, line {frame.lineno})"
