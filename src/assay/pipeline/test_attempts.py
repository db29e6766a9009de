# SPDX-License-Identifier: Apache-2.0
"""Tests that are tried again, alone or as a group, from a known power state: how pytest is led through the attempts.

Guards: each attempt has fixtures of its own, and is watched, judged and written down like any test; what is tried again
was declared before the first test began. Leaves to others: what counts (`model.attempts`), the power (`test_place`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from assay.errors import UsageFault
from assay.model.attempts import RetryRule
from assay.model.outcome import Outcome

if TYPE_CHECKING:
    from assay.pipeline.test_session import SuiteSession
    from assay.stages.hil.case_watch import CaseWatch
    from assay.stages.hil.faults import Fault

MARKER = "retry"


def rule_of(item: pytest.Item) -> RetryRule | None:
    """The rule of a test. Raises pytest.UsageError for a marker that means nothing."""
    marker = item.get_closest_marker(MARKER)
    if marker is None:
        return None
    try:
        if marker.args:
            raise ValueError("its words have names: retry(attempts=2)")
        return RetryRule(**marker.kwargs)
    except ValidationError as error:
        found = error.errors()[0]
        known = ", ".join(RetryRule.model_fields)
        where = ".".join(str(part) for part in found["loc"])
        raise pytest.UsageError(f"{item.nodeid}: retry({where}=...): {found['msg']}; it has {known}") from error
    except ValueError as error:
        raise pytest.UsageError(f"{item.nodeid}: {error}") from error


@dataclass
class _Group:
    """Tests that are tried together, in order; most have one."""

    rule: RetryRule
    items: list[pytest.Item] = field(default_factory=list)
    done: bool = False

    @property
    def base(self) -> pytest.Collector:
        """What stays set up between attempts: the file, or what is around the class of the group."""
        parent = self.items[0].getparent(pytest.Class) if self.rule.group else None
        found = parent.parent if parent is not None else self.items[0].parent
        assert isinstance(found, pytest.Collector)
        return found


class Attempts:
    """The plug-in of one process; `watch_of` gives what is known of the newest attempt at a test."""

    def __init__(self, session: SuiteSession, watch_key: pytest.StashKey[CaseWatch]) -> None:
        self._session = session
        self._watch_key = watch_key
        self._groups: dict[str, _Group] = {}
        self._running: _Group | None = None
        self._attempt = 1
        self._shared_out = False

    def declare(self, items: Iterable[pytest.Item], *, shared_out: bool) -> dict[str, RetryRule]:
        """The rules of `items`, before any of them begins; `shared_out` in a worker of xdist.

        Raises pytest.UsageError for a rule that cannot be kept.
        """
        self._shared_out = shared_out
        groups: dict[tuple[str, str], _Group] = {}
        for item in items:
            rule = rule_of(item)
            if rule is None:
                continue
            key = (str(item.path), f"group {rule.group}" if rule.group else item.nodeid)
            group = groups.setdefault(key, _Group(rule))
            if group.rule != rule:
                raise pytest.UsageError(f"{item.nodeid}: the group {rule.group!r} has two rules; give it one")
            group.items.append(item)
            self._groups[item.nodeid] = group
        return {name: group.rule for name, group in self._groups.items()}

    def will_try_again(self, watch: CaseWatch, fault: Fault | None) -> bool:
        """True when `fault` ends this attempt, and neither test nor verdict."""
        group = self._running
        if group is None or fault is None or group.rule.counts != "last":
            return False
        return self._attempt < group.rule.attempts and _may_retry(group.rule, watch)

    def leads(self, item: pytest.Item) -> bool:
        """True when `item` has a rule, and this is not one of its attempts."""
        group = self._groups.get(item.nodeid)
        return group is not None and group is not self._running and not self._split(group)

    def _split(self, group: _Group) -> bool:
        return group.rule.group is not None and self._shared_out

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """A worker of xdist reports one test at a time, and may have only a part of a group."""
        group = self._groups.get(item.nodeid)
        if group is not None and self._split(group):
            raise UsageFault(f"workers cannot run the group {group.rule.group!r}", remedy="run this file without -n")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """A test with a rule is led through its attempts, with its group; all others are pytest's."""
        if not self.leads(item):
            return None
        group = self._groups[item.nodeid]
        if not group.done:
            self._run(group)
            group.done = True
        if item is group.items[-1]:
            self._tear_down(item, nextitem)
        return True

    def _run(self, group: _Group) -> None:
        self._running = group
        try:
            for attempt in range(1, group.rule.attempts + 1):
                self._attempt = attempt
                self._session.trying(attempt, group.rule if attempt > 1 else None)
                if self._passes(group, last=attempt == group.rule.attempts):
                    return
        finally:
            self._running = None
            self._session.trying(1, None)

    def _passes(self, group: _Group, *, last: bool) -> bool:
        """One attempt; it ends with the first test that is to be tried again. True when there is nothing to try."""
        for index, item in enumerate(group.items):
            following = group.items[index + 1] if index + 1 < len(group.items) else group.base
            item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
            if last or not self._again(group, item):
                continue
            self._tear_down(item, group.base)
            return False
        return True

    def _again(self, group: _Group, item: pytest.Item) -> bool:
        watch = item.stash.get(self._watch_key, None)
        stopped = item.session.shouldstop or (item.session.shouldfail and group.rule.counts == "last")
        return watch is not None and not stopped and _may_retry(group.rule, watch)

    def _tear_down(self, item: pytest.Item, following: Any) -> None:
        """End the fixtures that are wider than a test; pytest tells what goes wrong there."""
        stack = item.session._setupstate
        stop = (pytest.exit.Exception, KeyboardInterrupt)
        call = pytest.CallInfo.from_call(lambda: stack.teardown_exact(following), when="teardown", reraise=stop)
        if call.excinfo is not None:
            report = item.ihook.pytest_runtest_makereport(item=item, call=call)
            item.ihook.pytest_runtest_logreport(report=report)


def _may_retry(rule: RetryRule, watch: CaseWatch) -> bool:
    if not watch.faults or watch.skip_reason is not None:
        return False
    allowed = {Outcome.ERROR, Outcome.TIMEOUT} if rule.on == "error" else {Outcome.ERROR, Outcome.TIMEOUT, Outcome.FAIL}
    silent_only = rule.on == "error" and watch.device_answers
    return all(
        fault.outcome in allowed and not (silent_only and fault.outcome is Outcome.TIMEOUT) for fault in watch.faults
    )
