# SPDX-License-Identifier: Apache-2.0
"""How a site signs keyless (`keyless.toml`): with which services, and where the identity token comes from."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from assay.model.value import Value


class KeylessSettings(Value):
    """`keyless.toml` of a site folder: the role `builder` signs by a certificate instead of a key.

    `issuer` and `identity` (a name, or a pattern with `*`): who we are to the services; a certificate of somebody else
    is refused. `trust_config`: a ClientTrustConfig, relative to the site folder; without it the public Sigstore is
    used. The token comes from a file or from a command's standard output, else from the CI system that runs us; never
    from an argument.
    `deadline_s`: seconds for one statement with all attempts, of which each has `attempt_s`. `when_away`: what happens
    when the services do not answer in that time: `refuse`, or `queue`: sign with the builder's key, to be logged later.
    """

    schema_: Literal["assay.keyless/1"] = Field(alias="schema")
    issuer: str = Field(min_length=1)
    identity: str = Field(min_length=1)
    trust_config: str | None = None
    token_file: str | None = None
    token_command: tuple[str, ...] = ()
    deadline_s: int = Field(default=120, ge=1, le=3600)
    attempt_s: int = Field(default=40, ge=1, le=3600)
    when_away: Literal["refuse", "queue"] = "refuse"

    @model_validator(mode="after")
    def _one_source(self) -> KeylessSettings:
        if self.token_file is not None and self.token_command:
            raise ValueError("expected at most one of token_file and token_command")
        return self
