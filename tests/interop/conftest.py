# SPDX-License-Identifier: Apache-2.0
"""Fixtures of tests/unit: a release that is published, and a repository of releases."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from published_release import made_release, made_trust, published
from repository_pair import made_repository, served

__all__ = ["made_release", "made_repository", "made_trust", "published", "served"]
