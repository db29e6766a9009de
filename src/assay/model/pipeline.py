# SPDX-License-Identifier: Apache-2.0
"""A pipeline, as people write it (`pipelines/*.toml`): verbs in order.

Leaves to others: reading TOML, with file and line (`stages.manifest`), variables and the run (`pipeline.engine`).
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from assay.model.identifiers import Name
from assay.model.value import Value


class PipelineStep(Value):
    """One verb with its arguments, exactly as a user would type them after `assay`.

    `{name}` in an argument is replaced by a variable (`{{` is a brace); `capture` takes variables from the verb's
    `--json` answer (`a.b.0` walks into it); `expect` is the outcome without which the pipeline stops.
    """

    name: Name
    title: str
    run: tuple[str, ...] = Field(min_length=1)
    expect: Literal["PASS", "FAIL"] = "PASS"
    capture: dict[str, str] = Field(default={})
    together: Name | None = Field(default=None, description="neighbours with the same word run at the same time")
    stdout: str | None = Field(default=None, description="file that keeps what the verb prints, as `>` does")
    show: bool = Field(default=False, description="with `stdout`: print what was kept, too")
    creates: tuple[str, ...] = Field(default=(), description="files without which a step that was done is run again")
    again: bool = Field(default=False, description="run again each time that the pipeline is taken up again")

    @model_validator(mode="after")
    def _capture_needs_json(self) -> Self:
        if self.stdout is not None and self.capture and "--json" not in self.run:
            raise ValueError("a step with both `stdout` and `capture` has --json in `run`")
        return self


class Pipeline(Value):
    """Steps in order (`pipelines/*.toml`)."""

    schema_: Literal["assay.pipeline/1"] = Field(alias="schema")
    name: Name
    description: str = ""
    variables: dict[str, str] = Field(default={})
    steps: tuple[PipelineStep, ...] = Field(min_length=1)
