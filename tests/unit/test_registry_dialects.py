# SPDX-License-Identifier: Apache-2.0
"""What registries answer that is not what the specification says, and does no harm; `tests/interop` has a real one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mock_registry import MockRegistry, Request
from published_release import Published
from registry_bench import BOARD, new_mock, no_passwords, other_site, published, pull, push

from assay.formats import oci_layout

__all__ = ["new_mock", "no_passwords", "published"]


@pytest.mark.parametrize(
    ("told", "is_called"), [(None, {"artifactType": "text/x-note"}), (oci_layout.EMPTY_TYPE, {}), (None, {})]
)
def test_statements_are_listed_as_what_their_config_is(
    published: Published, new_mock: MockRegistry, tmp_path: Path, told: str | None, is_called: dict[str, str]
) -> None:
    """What a statement is says its own manifest; something else that is listed so, or has no type, is left alone."""
    push(published, new_mock)
    subject = json.loads(next(data for data in new_mock.manifests.values() if b'"subject"' in data))["subject"]
    config = oci_layout.describe(oci_layout.EMPTY, oci_layout.EMPTY_TYPE).model_dump(exclude_none=True)
    note = {"schemaVersion": 2, "mediaType": oci_layout.MANIFEST_TYPE, "config": config, **is_called}
    data = json.dumps({**note, "layers": [], "subject": subject}).encode()
    new_mock.manifests[oci_layout.describe(data, oci_layout.MANIFEST_TYPE).digest] = data
    index = new_mock._index

    def listed(digest: str) -> dict[str, Any]:
        found = index(digest)
        for each in found["manifests"]:
            each["artifactType"] = told
        return found

    new_mock._index = listed  # type: ignore[method-assign]
    site = other_site(tmp_path)
    assert pull(published, new_mock, site).statements == 2
    assert [each.board for each in site.store.releases()] == [BOARD]


def test_a_piece_of_a_blob_is_taken_with_another_number(
    published: Published, new_mock: MockRegistry, tmp_path: Path
) -> None:
    def taken(request: Request) -> bool:
        if request.command != "PATCH":
            return False
        new_mock._uploads[request.path] += request.body
        request.answer(204, headers={"Location": request.path})
        return True

    new_mock.twist = taken
    push(published, new_mock)
    assert pull(published, new_mock, other_site(tmp_path)).statements == 2
