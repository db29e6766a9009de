# SPDX-License-Identifier: Apache-2.0
"""Entries of our log: RFC 8785 JSON of `model.record.LogEntry`.

Guards: an entry has one spelling. Leaves to others: the log (`tlog_tiles`), the record that the entry names.
"""

from __future__ import annotations

from pydantic import ValidationError

from assay.errors import NotVerified
from assay.formats import canonical_json, strict_json
from assay.model.record import LogEntry


def encode(entry: LogEntry) -> bytes:
    """The entry's bytes."""
    return canonical_json.encode_value(entry)


def decode(data: bytes, what: str) -> LogEntry:
    """The entry in `data`; `NotVerified` names `what` when it is none, or not in its one spelling."""
    strict_json.loads_object(data, what)
    try:
        entry = LogEntry.model_validate_json(data)
    except ValidationError as error:
        raise NotVerified(
            f"{what} is not an entry of an assay log", remedy="use the version of assay that wrote it"
        ) from error
    if encode(entry) != data:
        raise NotVerified(f"{what} is not in canonical form", remedy="restore the log from a copy")
    return entry
