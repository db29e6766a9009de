# SPDX-License-Identifier: Apache-2.0
"""Whether a CycloneDX document keeps to the schema of its own version, by the standard's own library.

Leaves to others: whether what it says is true.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from assay.errors import NotVerified, ToolMissing
from assay.formats import strict_json

if TYPE_CHECKING:
    from cyclonedx.validation.json import JsonStrictValidator

FAULTS_SHOWN_MAX = 10


def schema_faults(data: bytes) -> tuple[str, list[str]]:
    """Version and faults, the first ones. Raises `NotVerified` for what is no CycloneDX, `ToolMissing`."""
    document = strict_json.loads_object(data, "the document")
    version = document.get("specVersion")
    if document.get("bomFormat") != "CycloneDX" or not isinstance(version, str):
        raise NotVerified("this is no CycloneDX document in JSON", remedy="name one")
    from cyclonedx.exception import MissingOptionalDependencyException

    try:
        found = _validator(version).validate_str(data.decode("utf-8"), all_errors=True)
    except MissingOptionalDependencyException as error:
        raise ToolMissing("validation needs jsonschema", remedy="pip install 'assay[parts]'") from error
    except (ValueError, KeyError, AttributeError) as error:
        raise NotVerified(f"CycloneDX {version[:20]} is not known here", remedy="use 1.6") from error
    return version, [_told(str(each.data)) for each in list(found or ())[:FAULTS_SHOWN_MAX]]


@functools.cache
def _validator(version: str) -> JsonStrictValidator:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    return JsonStrictValidator(SchemaVersion.from_version(version))


def _told(text: str) -> str:
    """The first line of what the validator says: the rest repeats document and schema."""
    return text.splitlines()[0][:300]
