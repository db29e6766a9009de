# SPDX-License-Identifier: Apache-2.0
"""Where the private key of each role is: `keys.toml` of a site (docs: how-to/sign-with-an-hsm).

Guards: no secret fits in here: a PIN is named by where it comes from. Leaves to others: what a URI means
(`formats.key_uri`), reading and writing the file (`backends.signers.key_folder`).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from assay.model.trust import Role
from assay.model.value import Value

DEVELOPMENT = "UNSAFE-DEVELOPMENT"
"""In the name of every key that anybody could have made or copied: it proves nothing."""

ED25519_ROLES = frozenset({Role.IMAGE, Role.LOG, Role.WITNESS})
"""Image signatures must be deterministic, checkpoints and cosignatures are Ed25519 by C2SP; the others are P-256, which
Rekor v2 takes.
"""

PIN_PREFIX = "ASSAY_PIN"
"""What the name of a variable with a PIN begins with: such variables are taken out of the environment of `assay` before
it starts anything, so it must know them without reading a file.
"""

TOKEN_WITHIN_S = 10.0
"""Seconds that one call of a token may take; hardware signs within one, a token behind a network within a few."""


def algorithm_of(role: Role) -> Literal["ed25519", "ecdsa-p256"]:
    """What a key of `role` has to be."""
    return "ed25519" if role in ED25519_ROLES else "ecdsa-p256"


class PinSource(Value):
    """Where the PIN of a token comes from; exactly one. `file`: relative to the folder of keys, its owner's alone;
    `command`: its first line of output; `prompt`: asked for on the terminal.
    """

    env: Annotated[str, Field(pattern=rf"^{PIN_PREFIX}[A-Z0-9_]*$")] | None = None
    file: str | None = Field(default=None, min_length=1)
    command: tuple[str, ...] | None = Field(default=None, min_length=1)
    prompt: Literal[True] | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> PinSource:
        if sum(value is not None for value in (self.env, self.file, self.command, self.prompt)) != 1:
            raise ValueError('expected one of env = "ASSAY_PIN...", file = "...", command = ["..."], prompt = true')
        return self


class Token(Value):
    """A PKCS#11 token, by its label in the table: the module (library) that speaks for it, and its PIN."""

    module: str = Field(pattern="^/", description="path of the PKCS#11 library")
    pin: PinSource
    serial: str | None = None
    timeout_s: float = Field(default=TOKEN_WITHIN_S, gt=0, le=600, description="seconds")


class RoleKey(Value):
    """Where the private key of a role is, and its public part in PEM. `file2:` paths are relative to the folder."""

    uri: str
    public: str
    name: str
    development: bool = False


class KeyTable(Value):
    """`keys.toml`. With `development` roles without a key get one when they are first asked for."""

    schema_: Literal["assay.keys/1"] = Field(default="assay.keys/1", alias="schema")
    development: bool = False
    tokens: dict[str, Token] = Field(default={})
    roles: dict[Role, RoleKey] = Field(default={})
