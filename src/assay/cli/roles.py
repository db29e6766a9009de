# SPDX-License-Identifier: Apache-2.0
"""The roles of keys, for choices on the command line."""

from __future__ import annotations

ROLES = (
    "image",
    "builder",
    "bench",
    "station",
    "field",
    "policy",
    "verifier",
    "device-ca",
    "log",
    "rauc",
    "witness",
)
"""`model.trust.Role`, written out so that `--help` needs no model; a test holds them together."""
