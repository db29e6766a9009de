# SPDX-License-Identifier: Apache-2.0
"""What a provenance says of where the sources lie: an address for strangers, no secret, no path of this machine."""

from __future__ import annotations

import pytest

from assay.backends.builders.git_state import _published


@pytest.mark.parametrize(
    ("origin", "published"),
    [
        ("https://user:token@example.org/a.git?x=1#y", "https://example.org/a.git"),
        ("ssh://git@example.org/a.git", "ssh://example.org/a.git"),
        ("git@example.org:team/a.git", "example.org:team/a.git"),
        ("/home/somebody/a", None),
        ("../a", None),
        ("file:///home/somebody/a", None),
    ],
)
def test_an_origin_is_published_without_secrets_and_paths(origin: str, published: str | None) -> None:
    assert _published(origin) == published
