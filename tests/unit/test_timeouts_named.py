# SPDX-License-Identifier: Apache-2.0
"""No time-out without the name of what was waited for: in every place of the source that waits with a limit.

A program's time-out (`subprocess.TimeoutExpired`) is caught where the program was started, since only there it is known
what it was for; and a `DeviceTimeout` says what it waited for, and how long or what came instead.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from assay import errors

SOURCE = Path(__file__).parents[2] / "src" / "assay"
WAITS = ("run", "communicate", "check_output", "wait")
CAUGHT = ("TimeoutExpired", "SubprocessError", "Exception", "BaseException")
OURS = ("conformance/", "pytest_plugin.py")
"""A suite's failing says enough; and the plugin repeats the words of pytest-timeout."""
ERRORS = tuple(name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception))
WAITED = re.compile(
    r"\bdid not (end|answer|come|start|stop|finish)|\bdoes not answer|\bwaited\b|timed? ?out|\bno answer|\bwithin\b",
)
TIME = re.compile(r"(_s|_S|_ms|timeout|limit|seconds|round|self|max|min)$")
"""Names of times, and what makes them readable."""
NO_NAME = re.compile(r"(it|he|this|that|waited|timed out|no answer)\b", re.IGNORECASE)
"""How a message begins that names nothing by its words; "imgtool did not end" does."""
SHORTEST = 15  # characters of a message besides what is put into it


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path in sorted(SOURCE.rglob("*.py")):
        name = str(path.relative_to(SOURCE))
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not name.startswith(OURS):
                yield f"{name}:{node.lineno} {node.name}", node


def waits_for_a_program(call: ast.Call) -> bool:
    """`subprocess.run(..., timeout=...)`, `process.communicate(timeout=...)`, `process.wait(timeout=...)`."""
    return (
        isinstance(call.func, ast.Attribute)
        and call.func.attr in WAITS
        and any(keyword.arg == "timeout" for keyword in call.keywords)
    )


def names_in(node: ast.AST) -> set[str]:
    found = {each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute)}
    return found | {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}


def catches(function: ast.AST) -> bool:
    handlers = [each.type for each in ast.walk(function) if isinstance(each, ast.ExceptHandler) and each.type]
    withs = [item.context_expr for each in ast.walk(function) if isinstance(each, ast.With) for item in each.items]
    return any(names_in(each) & set(CAUGHT) for each in [*handlers, *withs])


def test_a_programs_time_out_is_caught_where_it_was_started() -> None:
    leaking = [
        where
        for where, function in functions()
        if any(isinstance(each, ast.Call) and waits_for_a_program(each) for each in ast.walk(function))
        and not catches(function)
    ]
    assert leaking == []


def test_the_message_of_a_device_timeout_says_what_was_waited_for() -> None:
    seen, bare = 0, []
    for where, function in functions():
        for call in (each for each in ast.walk(function) if isinstance(each, ast.Call)):
            if "DeviceTimeout" in names_in(call.func) and call.args:
                seen += 1
                words = [each.value for each in ast.walk(call.args[0]) if isinstance(each, ast.Constant)]
                filled = any(isinstance(each, ast.FormattedValue) for each in ast.walk(call.args[0]))
                if not filled or sum(len(word) for word in words if isinstance(word, str)) < SHORTEST:
                    bare.append(where)
    assert seen > 10 and bare == []


def called(call: ast.Call) -> str:
    """The name of what is called: `LinkError` of `errors.LinkError(...)`."""
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def says_that_it_waited(message: ast.AST) -> bool:
    text = " ".join(each.value for each in ast.walk(message) if isinstance(each, ast.Constant) and _is_text(each))
    return WAITED.search(text) is not None


def names_something(message: ast.AST) -> bool:
    """Its words do, or something is put into it, besides a time: `f"{what} did not end in {LIMIT_S:g} s"`."""
    first = message.values[0] if isinstance(message, ast.JoinedStr) and message.values else message
    if isinstance(first, ast.Constant) and _is_text(first) and not NO_NAME.match(first.value):
        return True
    put_in = [each.value for each in ast.walk(message) if isinstance(each, ast.FormattedValue)]
    return any(not (names := names_in(each)) or not all(TIME.search(name) for name in names) for each in put_in)


def _is_text(each: ast.Constant) -> bool:
    return isinstance(each.value, str)


def test_whoever_says_that_it_waited_names_what_for() -> None:
    """Every error of ours, whatever its class, whose words are those of a wait that ended."""
    seen, bare = 0, []
    for where, function in functions():
        for call in (each for each in ast.walk(function) if isinstance(each, ast.Call) and each.args):
            if called(call) in ERRORS and says_that_it_waited(call.args[0]):
                seen += 1
                if not names_something(call.args[0]):
                    bare.append(where)
    assert seen > 25 and bare == []


@pytest.mark.parametrize(
    ("message", "named"),
    [
        ('f"{tool} did not end in {LIMIT_S:g} s"', True),
        ('f"waited {wait_s:g} s"', False),
        ('f"it did not end within {self.limit_s:g} s"', False),
        ('"no answer came"', False),
        ('f"{LIMIT_S:g} s were waited"', False),
        ('"imgtool did not end"', True),
        ('f"waited {timeout_s:g} s for {what} on {address}"', True),
    ],
)
def test_the_test_sees_a_wait_without_a_name(message: str, named: bool) -> None:
    parsed = ast.parse(message, mode="eval").body
    assert says_that_it_waited(parsed) and names_something(parsed) is named


@pytest.mark.parametrize(
    ("source", "leaks"),
    [
        ("def f():\n    subprocess.run(words, timeout=3)", True),
        ("def f():\n    try:\n        p.wait(timeout=3)\n    except subprocess.TimeoutExpired:\n        pass", False),
        ("def f():\n    with contextlib.suppress(subprocess.TimeoutExpired):\n        p.communicate(timeout=3)", False),
        ("def f():\n    try:\n        p.wait(timeout=3)\n    except OSError:\n        pass", True),
    ],
)
def test_the_test_sees_a_leak(source: str, leaks: bool) -> None:
    (function,) = ast.parse(source).body
    assert any(isinstance(each, ast.Call) and waits_for_a_program(each) for each in ast.walk(function))
    assert catches(function) is not leaks
