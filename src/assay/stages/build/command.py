# SPDX-License-Identifier: Apache-2.0
"""The build command of a module, with its placeholders filled in.

Guards: `{defines}` becomes arguments of their own, so that no value is split or joined by a shell; a declared public
key that the command asks for and nobody gave is told with the line to type.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from assay.errors import UsageFault
from assay.model.build_recipe import BRACED_NAME, KEY_NAME

_DEFINE = re.compile(r"([A-Z][A-Z0-9_]{0,63})=([A-Za-z0-9_.,:+-]{0,256})")


def parse_defines(texts: tuple[str, ...]) -> dict[str, str]:
    """`NAME=VALUE` texts as a table. Raises `UsageFault`."""
    defines: dict[str, str] = {}
    for text in texts:
        match = _DEFINE.fullmatch(text)
        if match is None:
            raise UsageFault(
                f"{text!r} is not a define", remedy="write NAME=VALUE, NAME in capitals, VALUE without spaces"
            )
        name, value = match.groups()
        if defines.setdefault(name, value) != value:
            raise UsageFault(f"{name} is defined twice", remedy="define it once")
    return defines


def expand(
    command: tuple[str, ...], values: Mapping[str, str], defines: Mapping[str, str], form: str | None = None
) -> tuple[str, ...]:
    """`command` with `{name}` replaced from `values`, and `{defines}` by `--define NAME=VALUE` for each; with `form`,
    such as `-D{name}={value}`, by one word of that form for each.
    """
    arguments: list[str] = []
    for argument in command:
        if argument == "{defines}":
            for name, value in sorted(defines.items()):
                arguments += ["--define", f"{name}={value}"] if form is None else [form.format(name=name, value=value)]
        else:
            arguments.append(BRACED_NAME.sub(lambda found: _value(found.group(1), values), argument))
    return tuple(arguments)


def _value(name: str, values: Mapping[str, str]) -> str:
    if name in values:
        return values[name]
    key = KEY_NAME.fullmatch(name)
    role = key.group(1) if key else name
    raise UsageFault(
        f"this module has a public key built in that was not declared: '{role}'",
        remedy=f"assay keys show {role} --format pem > {role}.pem, then add --declare-key {role}={role}.pem",
    )
