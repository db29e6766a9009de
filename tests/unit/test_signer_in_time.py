# SPDX-License-Identifier: Apache-2.0
"""When the signer of a flash begins: once, when a part of the upload is there (ADR 0326)."""

from __future__ import annotations

from assay.pipeline.flash_run import _with_signer


def test_it_begins_once_with_a_quarter_of_the_first_upload() -> None:
    told: list[object] = []

    def progress_for(what: str) -> object:
        return lambda done, total: told.append((what, done, total))

    displays = _with_signer(lambda: told.append("signer"), progress_for)  # type: ignore[arg-type]
    show = displays("app")
    for done in (0, 24, 25, 60, 100):
        show(done, 100)
    assert told == [("app", 0, 100), ("app", 24, 100), ("app", 25, 100), "signer", ("app", 60, 100), ("app", 100, 100)]


def test_nothing_to_send_begins_nothing_twice() -> None:
    told: list[object] = []
    show = _with_signer(lambda: told.append("signer"), lambda _what: lambda _done, _total: None)("app")
    show(0, 0)
    show(0, 0)
    assert told == ["signer"]
