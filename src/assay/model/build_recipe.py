# SPDX-License-Identifier: Apache-2.0
"""How a module is built, as its manifest declares it (`[build]` of `module.toml`).

Guards: paths stay inside the project, every placeholder is known, the payload is an output. Leaves to others: filling
in the placeholders and the commands of the build systems (`stages.build`).
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from assay.model.value import FieldFault, Value


def _inside_project(path: str) -> str:
    parts = path.split("/")
    if not path or path.startswith("/") or "\\" in path or any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"{path!r} is not a path inside the project (relative, with '/', without '.' and '..')")
    return path


ProjectPath = Annotated[str, AfterValidator(_inside_project)]
"""A path below the project's root; as a source it may hold the wildcards `*`, `?`, `[...]` and `**`."""

BRACED_NAME = re.compile(r"\{([a-z][a-z0-9_]*)\}")
KEY_NAME = re.compile(r"([a-z]+)_pubkey")
COMMAND_VALUES = ("python", "board_toml", "out", "version", "name", "cache", "source", "work", "jobs")
"""What `{...}` in a build command stands for, besides `{defines}` and `{ROLE_pubkey}` (the file of a declared key)."""

SystemName = Literal["command", "make", "cmake", "west", "platformio", "cargo", "esp-idf"]
"""How a module is built: by a command of its own, or by the build system of somebody else's project."""

ToolName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$")]
TreeName = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]{0,63}$")]
IMAGE_DIGEST = re.compile(r"([a-z0-9][A-Za-z0-9._:/-]{0,255}@)?sha256:[0-9a-f]{64}")
ImageDigest = Annotated[str, StringConstraints(pattern=rf"^{IMAGE_DIGEST.pattern}$")]
"""An image of a container, by digest and by nothing else: a tag can mean another one tomorrow."""

PAYLOAD = "payload.bin"
"""The output of every build that becomes an image: flat, without MCUboot header."""


class BuildRecipe(Value):
    """How the module is built: a command line or a build system, its declared inputs and outputs.

    `directory` is the project's folder (with its Makefile, CMakeLists.txt, ...); `arguments` go to the build system;
    `collect` says which file of its build folder becomes which output; `after` are commands that follow. `tools` are
    the programs that are recorded by digest, `trees` variables that name folders of tools, `image` a container's.
    `in_copy`: the build system may write among the sources, which are copied for it.
    `cache_by_content`: what the command keeps in `{cache}` is named by a digest of all that it came from.
    """

    system: SystemName = "command"
    command: tuple[str, ...] = ()
    directory: ProjectPath | None = None
    arguments: tuple[str, ...] = ()
    collect: dict[ProjectPath, ProjectPath] = Field(default={})
    after: tuple[tuple[str, ...], ...] = ()
    tools: tuple[ToolName, ...] | None = None
    trees: tuple[TreeName, ...] = ()
    image: ImageDigest | None = None
    in_copy: bool = False
    cache_by_content: bool = False
    sources: tuple[ProjectPath, ...] = Field(min_length=1)
    outputs: tuple[ProjectPath, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _has_a_command_or_a_system(self) -> Self:
        if self.system == "command" and not self.command:
            raise FieldFault("missing key 'command': the command line, or `system` (make, cmake, ...)")
        if self.system != "command" and self.command:
            raise FieldFault(f"{self.system} has its own command line: use `arguments` and `after`", "command")
        if self.system == "command" and self.in_copy:
            raise FieldFault("a command makes its own copy, in {work}; this is for a `system`", "in_copy")
        return self

    @model_validator(mode="after")
    def _placeholders_are_known(self) -> Self:
        for key, words in (("command", self.command), ("arguments", self.arguments)):
            for index, argument in enumerate(words):
                self._check_braced(argument, key, index)
        for step, words in enumerate(self.after):
            for index, argument in enumerate(words):
                self._check_braced(argument, "after", step, index)
        return self

    def _check_braced(self, argument: str, *path: str | int) -> None:
        if argument == "{defines}":
            return
        for name in BRACED_NAME.findall(argument):
            if name not in COMMAND_VALUES and not KEY_NAME.fullmatch(name):
                known = ", ".join(f"{{{value}}}" for value in COMMAND_VALUES)
                text = f"{{{name}}} is not known here; known: {known}, {{ROLE_pubkey}}, and {{defines}} on its own"
                raise FieldFault(text, *path)

    @model_validator(mode="after")
    def _payload_is_an_output(self) -> Self:
        if PAYLOAD not in self.outputs:
            raise FieldFault(f"{PAYLOAD!r} is missing: it is what becomes the image", "outputs")
        return self
