# SPDX-License-Identifier: Apache-2.0
"""Fixtures of several test files."""

from published_release import made_release, made_trust, published
from repository_pair import made_repository, pair, served
from tuf_simulator import simulated, tuf_client

__all__ = ["made_release", "made_repository", "made_trust", "pair", "published", "served", "simulated", "tuf_client"]
