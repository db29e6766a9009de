# SPDX-License-Identifier: Apache-2.0
"""Variables of a pipeline: `{name}` in arguments, and values taken from a verb's answer. No file or process here.

Guards: a name that nobody sets is found before the first step runs. Leaves to others: running (`pipeline.engine`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from assay.errors import InfrastructureError, UsageFault
from assay.model.pipeline import Pipeline, PipelineStep

BUILT_IN = ("name", "number", "pid", "results", "run")
"""Set by the engine: the pipeline's name, the count of all pipeline runs of this site, the engine's process id, the
folder of results, and a short name of this run that no other run has."""

_TOKEN = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_-]*)\}|[{}]")


def expand(text: str, values: Mapping[str, str]) -> str:
    """`text` with each `{name}` replaced. `UsageFault` names a variable that is not there."""

    def replace(match: re.Match[str]) -> str:
        if match[0] in ("{{", "}}"):
            return match[0][0]
        if match[1] is None:
            raise UsageFault(f"a lone brace in {text!r}", remedy="write {{ or }} for a brace")
        if match[1] not in values:
            raise _unknown(match[1], text, values)
        return values[match[1]]

    return _TOKEN.sub(replace, text)


def start_values(pipeline: Pipeline, built_in: Mapping[str, str], chosen: Mapping[str, str]) -> dict[str, str]:
    """The variables before the first step: built-in ones, then the pipeline's with `chosen` in their place.

    A pipeline's variable may use those above it. `UsageFault` for a choice that the pipeline does not have.
    """
    values = dict(built_in)
    for name in chosen:
        if name not in pipeline.variables:
            raise _unknown(name, f"--set {name}=", pipeline.variables)
    for name, text in pipeline.variables.items():
        if name in BUILT_IN:
            raise UsageFault(f"the variable {name} is set by assay", remedy="use another name")
        values[name] = chosen.get(name) or expand(text, values)
    return values


def check(pipeline: Pipeline) -> None:
    """Every variable that a step uses is set before it, and no two steps share a name. `UsageFault` names the step."""
    known = {*BUILT_IN, *pipeline.variables}
    seen: set[str] = set()
    for group in groups(pipeline.steps):
        for step in group:
            if step.name in seen:
                raise UsageFault(f"two steps are called {step.name}", remedy="give each step a name of its own")
            seen.add(step.name)
            for text in (*step.run, *step.creates, step.stdout or "", step.title):
                _check_text(step, text, known)
        known |= {name for step in group for name in step.capture}


def groups(steps: Iterable[PipelineStep]) -> list[list[PipelineStep]]:
    """The steps in order, those that run at the same time side by side."""
    found: list[list[PipelineStep]] = []
    for step in steps:
        if found and step.together is not None and found[-1][0].together == step.together:
            found[-1].append(step)
        else:
            found.append([step])
    return found


def capture(step: PipelineStep, answer: Mapping[str, Any]) -> dict[str, str]:
    """The variables that `step` takes from its verb's answer. `InfrastructureError` when the answer lacks one."""
    found = {}
    for name, path in step.capture.items():
        value = _walk(answer, path)
        if not isinstance(value, str | int | float):
            raise InfrastructureError(
                f"step {step.name}: the answer of assay {step.run[0]} has no {path!r}",
                remedy="correct `capture` in the pipeline",
            )
        found[name] = str(value)
    return found


def _walk(value: Any, path: str) -> Any:
    """What stands at `path` (`a.b.0`) in a JSON value; None when there is nothing."""
    for part in path.split("."):
        try:
            value = value[int(part)] if isinstance(value, list) else value[part]
        except (KeyError, IndexError, ValueError, TypeError):
            return None
    return value


def _check_text(step: PipelineStep, text: str, known: set[str]) -> None:
    try:
        expand(text, dict.fromkeys(known, ""))
    except UsageFault as fault:
        raise UsageFault(f"step {step.name}: {fault.message}", remedy=fault.remedy) from fault


def _unknown(name: str, where: str, values: Iterable[str]) -> UsageFault:
    known = sorted(values)
    close = get_close_matches(name, known, n=1)
    meant = f"did you mean {close[0]!r}? " if close else ""
    return UsageFault(f"no variable {name!r} in {where!r}", remedy=f"{meant}known here: {', '.join(known) or 'none'}")
